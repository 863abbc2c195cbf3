"""Builds one environment in a folder: an empty virtual environment, then the wheels of a lock, by uv or pip.

Only wheels whose sha256 the lock names are installed, and nothing that the lock does not name. How an
installer failed becomes one sentence, which holds no address of a package index. Keeps no environment:
`environments` does.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lading.bundle.environment_lock import ENVIRONMENT_LOCK_FILE, EnvironmentLock
from lading.errors import EnvironmentFailed
from lading.runtime.python.installers import (
    Finished,
    PipSettings,
    find_uv,
    read_pip_settings,
    require_pip,
    run_installer,
)

Installer = Literal["uv", "pip"]

_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large", re.IGNORECASE)
_UV_HASH = re.compile(
    r"Hash mismatch for `(?P<pin>[^`]+)`\s+Expected:\s+(?P<expected>(?:sha\d+:\w+\s+)+)Computed:\s+"
    r"(?P<computed>sha\d+:\w+)"
)
_PIP_HASH = re.compile(
    r"^\s+(?P<pin>\S+==\S+) (?:from|\().*\n"
    r"(?P<expected>\s+Expected sha256 \w+\n(?:\s+(?:Expected\s+)?or \w+\n)*)\s+Got\s+(?P<computed>\w+)",
    re.MULTILINE,
)
_OFFLINE = re.compile(
    r"Failed to fetch|error sending request|dns error|network connectivity is disabled"
    r"|NewConnectionError|connection broken|Failed to establish a new connection|Max retries exceeded",
    re.IGNORECASE,
)
_ABSENT = (
    re.compile(r"No matching distribution found for (?P<pin>\S+==\S+)"),
    re.compile(r"there (?:is|are) no versions? of (?P<pin>[\w.-]+==[^\s,]+)"),
    re.compile(r"Because (?P<name>[\w.-]+) was not found in"),
    re.compile(r"Because (?P<pin>[\w.-]+==[^\s,]+) has no "),
)
_LONGEST_DETAIL = 300


@dataclass(frozen=True)
class Build:
    """What to build: the lock, for which Python, from where, and what the process holds while it does."""

    lock: EnvironmentLock
    label: str
    interpreter: str
    installer: Installer
    wheels: Path | None
    timeout_s: float
    held: Sequence[int] = ()

    def run(self, folder: Path, *, cached: bool = True) -> None:
        """Build the environment in `folder`, which does not exist; raises `EnvironmentFailed`.

        Without `cached`, nothing is taken from the installer's cache. The folder may be renamed afterwards:
        its programs are called through its interpreter.
        """
        settings = PipSettings() if self.wheels is not None else read_pip_settings()
        lock = folder.with_name(f"{folder.name}.txt")
        lock.write_bytes(self.lock.to_bytes())
        try:
            install = self._with_uv if self.installer == "uv" else self._with_pip
            install(folder, lock, settings, cached=cached)
        finally:
            lock.unlink(missing_ok=True)

    def _with_uv(self, folder: Path, lock: Path, settings: PipSettings, *, cached: bool) -> None:
        uv, environ = find_uv() or "uv", settings.for_uv(os.environ)
        options = ["--quiet", "--no-project", "--relocatable", "--python", self.interpreter]
        self._call([uv, "venv", *options, folder], environ, settings)
        command = [
            uv,
            "pip",
            "sync",
            "--quiet",
            "--color",
            "never",
            "--python",
            str(folder / "bin" / "python"),
        ]
        # Without a cache files are copied; hard links to a damaged one would be damaged again.
        command += ["--require-hashes", "--only-binary", ":all:", *([] if cached else ["--no-cache"])]
        self._call([*command, *self._places(), lock], environ, settings)

    def _with_pip(self, folder: Path, lock: Path, settings: PipSettings, *, cached: bool) -> None:
        pip, environ = require_pip(self.label), settings.for_pip(os.environ)
        # Without a pip of its own, which takes ten times as long as all the rest of it.
        self._call([self.interpreter, "-I", "-m", "venv", "--without-pip", folder], environ, settings)
        command = [
            *pip,
            "--python",
            str(folder / "bin" / "python"),
            "install",
            "--quiet",
            "--no-deps",
            "--no-compile",
        ]
        command += ["--require-hashes", "--only-binary", ":all:", *([] if cached else ["--no-cache-dir"])]
        self._call([*command, *self._places(), "--requirement", lock], environ, settings)
        _remove_scripts(folder)

    def _places(self) -> list[str]:
        return [] if self.wheels is None else ["--no-index", "--find-links", str(self.wheels.absolute())]

    def _call(self, command: Sequence[str | Path], environ: Mapping[str, str], settings: PipSettings) -> None:
        done = run_installer(command, environ, timeout_s=self.timeout_s, held=self.held)
        if done.code != 0:
            raise self.failure(done, settings)

    def failure(self, done: Finished, settings: PipSettings) -> EnvironmentFailed:
        """Return the error for an installer that failed, from what it printed."""
        place = f"in `{self.wheels}`" if self.wheels is not None else "in the package index"
        text = f"{done.messages}\n{done.output}"
        if done.code is None:
            expected, actual, hint = "it to be built", f"no end after {self.timeout_s:g} s", None
        elif _DISK_FULL.search(text):
            expected, actual = "room on the disk", "none left"
            hint = "free some space, or let `LADING_CACHE` name a folder on a larger disk"
        elif match := _UV_HASH.search(text) or _PIP_HASH.search(text):
            hashes = re.findall(r"[0-9a-f]{64}", match["expected"])
            expected = f"`{match['pin']}` with {_listed(hashes)}"
            actual = f"sha256:{match['computed'].removeprefix('sha256:')}"
            hint = "this is another file than the one that was packed with; nothing of it was installed"
        elif self.wheels is None and _OFFLINE.search(text):
            expected, actual = "packages from the package index", "no connection to it"
            hint = "check the network and `pip config list`, or build from a folder of wheels"
        elif match := next((match for rule in _ABSENT if (match := rule.search(text))), None):
            expected, actual = f"a wheel of `{self._pin(match)}` for this Python and platform {place}", "none"
            hint = "the lock is for the platform and the Python that it was made on"
        else:
            expected, actual, hint = (
                f"{self.installer} to build it",
                _detail(settings.redact(text), done),
                None,
            )
        return EnvironmentFailed(self.label, expected=expected, found=actual, hint=hint)

    def _pin(self, match: re.Match[str]) -> str:
        groups = match.groupdict()
        if groups.get("pin"):
            return groups["pin"].rstrip(".,")
        name = groups["name"]
        return f"{name}=={self.lock.versions[name]}" if name in self.lock.versions else name


def write_marker(folder: Path, lock: EnvironmentLock) -> None:
    """State in `folder` that its environment is complete; what has no marker is none."""
    (folder / ENVIRONMENT_LOCK_FILE).write_bytes(lock.to_bytes())


def _remove_scripts(folder: Path) -> None:
    """Remove the scripts of packages: pip writes the path of the temporary folder into them."""
    for path in (folder / "bin").iterdir():
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                is_script = file.read(2) == b"#!"
            if is_script:
                path.unlink()
    for name in ("__pycache__",):
        shutil.rmtree(folder / "bin" / name, ignore_errors=True)


def _listed(hashes: Sequence[str]) -> str:
    first = f"sha256:{hashes[0]}"
    return first if len(hashes) == 1 else f"{first} or one of {len(hashes) - 1} others"


def _detail(text: str, done: Finished) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(?i)(error|cause|caused by|×|╰─▶)", line)] or lines[-1:]
    words = "; ".join(telling)[:_LONGEST_DETAIL]
    return f"`{words}`" if words else f"exit code {done.code}"
