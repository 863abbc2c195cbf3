"""A folder with a registry of its own, in which lines are typed as a person would type them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Done:
    """How one line ended."""

    code: int
    out: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """Runs lines in `folder`, each in a process of its own; ``lading`` is the one under test."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LADING_")}
        return {
            **clean,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LADING_REGISTRY": str(self.folder / "registry"),
            "DATA": str(DATA),
        }

    def run(self, line: str) -> Done:
        """Run a line of bash and tell how it ended."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, line: str) -> Done:
        """Run a line that has to end well."""
        done = self.run(line)
        assert done.code == 0, f"$ {line}\n{done.out}{done.stderr}"
        return done

    def refused(self, line: str, code: int = 1) -> str:
        """Run a line that has to be refused, in sentences and not in a traceback; return its message."""
        done = self.run(line)
        assert done.code == code, f"$ {line}\n{done.out}{done.stderr}"
        assert done.stderr.splitlines()[0].startswith(("error: ", "evidence ")), done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def write(self, name: str, text: str) -> Path:
        """Put a file into the folder."""
        path = self.folder / name
        path.write_text(text)
        return path


def quoted(path: Path) -> str:
    """Write a path as a shell reads it."""
    return shlex.quote(str(path))
