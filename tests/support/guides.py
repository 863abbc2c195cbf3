"""Guides followed as they stand: each block of bash and Python, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
COMMANDS = Path(sys.executable).parent
"""The folder of the commands that belong to the Python of the tests."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the code blocks of a page, each with its language."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def script(page: Path, *, both: str = "") -> str:
    """Return what a reader types; a line that is for both servers is followed by `both`."""
    lines = ["set -eu"]
    for language, text in blocks(page):
        if language == "bash":
            lines.append(text)
            lines += [both] if "# on both servers" in text else []
        elif language == "python":
            lines.append(f"python - <<'PYTHON'\n{text}PYTHON")
    return "\n".join(lines)


def follow(text: str, folder: Path, port: int, *, commands: Path = COMMANDS, **environ: str) -> str:
    """Run what a reader types in an empty folder; return what the terminal shows.

    `commands` is the folder with `python` and `lading`.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("LADING_")}
    own |= {"HOME": str(folder), "LADING_PORT": str(port), "LADING_GRPC_PORT": "0", **environ}
    own["PATH"] = f"{commands}:{COMMANDS}:{os.environ['PATH']}"
    terminal = folder / "terminal.txt"
    # Not a pipe, which the servers of a guide that leaves them running would keep open.
    with terminal.open("w") as out:
        process = subprocess.Popen(
            ["bash", "-c", text.replace(":8000", f":{port}")],
            cwd=folder,
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            process.wait(timeout=200)
        except subprocess.TimeoutExpired:
            pytest.fail(terminal.read_text())
        finally:
            kill_group(process.pid)
    assert process.returncode == 0, terminal.read_text()
    return terminal.read_text()


def kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
