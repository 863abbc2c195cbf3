"""Builds one environment in a folder: an empty virtual environment, then the wheels of a lock, by uv or pip.

Only wheels whose sha256 the lock names are installed, and nothing that the lock does not name. How an
installer failed becomes one sentence, which holds no address of a package index. Keeps no environment:
`environments` does.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lading.bundle.environment_lock import EnvironmentLock
from lading.errors import EnvironmentFailed
from lading.runtime.python.contents import find_difference, write_marker
from lading.runtime.python.installers import (
    Finished,
    PipSettings,
    find_uv,
    pip_runner,
    read_pip_settings,
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
# 404 is no reason: an index without a package answers so.
_REFUSED = re.compile(
    r"(?<!\d)(40[137]|5\d\d) "
    r"(?:Client Error|Server Error|Unauthorized|Forbidden|Proxy|Internal|Bad|Service|Gateway)"
    r"|too many (5\d\d) error responses"
)
_OFFLINE = re.compile(
    r"Failed to fetch|error sending request|dns error|network connectivity is disabled"
    r"|NewConnectionError|Failed to establish a new connection|Max retries exceeded"
    r"|connection (?:broken|error:)",
    re.IGNORECASE,
)
_ABSENT = (
    re.compile(r"No matching distribution found for (?P<pin>\S+==\S+)"),
    re.compile(r"there (?:is|are) no versions? of (?P<pin>[\w.-]+==[^\s,]+)"),
    re.compile(r"Because (?P<name>[\w.-]+) was not found in"),
    re.compile(r"Because (?P<pin>[\w.-]+==[^\s,]+) has no "),
)
_LONGEST_DETAIL = 300
_ONLY_PINNED = ["--require-hashes", "--only-binary", ":all:"]
_ROOM_HINT = "free some space, or let `LADING_CACHE` name a folder on a larger disk"
_HASH_HINT = "this is another file than the one that was packed with; nothing of it was installed"
_PLATFORM_HINT = "the lock is for the platform and the Python that it was made on"
_ABSENT_HINT = f"{_PLATFORM_HINT}; does `pip config list` name the index that it was made from?"
_INDEX_HINT = "check the network and `pip config list`, or build from a folder of wheels"


@dataclass(frozen=True)
class _Failure:
    """Why there is no environment; a reason that nobody knows may be a damaged cache."""

    error: EnvironmentFailed
    explained: bool = True


@dataclass(frozen=True)
class Build:
    """What to build: the lock, for which Python, from where, and what the process holds while it does."""

    lock: EnvironmentLock
    label: str
    python: str
    interpreter: str
    installer: Installer
    wheels: Path | None
    timeout_s: float
    held: Sequence[int] = ()

    def run(self, folder: Path) -> None:
        """Build the environment in `folder`, which does not exist, and mark it; raises `EnvironmentFailed`.

        The folder may be renamed afterwards: its programs are called through its interpreter.
        """
        settings = PipSettings() if self.wheels is not None else read_pip_settings()
        lock = folder.with_name(f"{folder.name}.txt")
        lock.write_bytes(self.lock.to_bytes())
        try:
            failure = self._install(folder, lock, settings, cached=True)
            if failure is not None and not failure.explained:
                # uv links to the files in its cache: damage to an environment is damage to the cache, which
                # installs it again. Without the cache the files are copied.
                shutil.rmtree(folder, ignore_errors=True)
                failure = self._install(folder, lock, settings, cached=False)
        finally:
            lock.unlink(missing_ok=True)
        if failure is not None:
            raise failure.error
        write_marker(folder, self.lock)

    def _install(self, folder: Path, lock: Path, settings: PipSettings, *, cached: bool) -> _Failure | None:
        """Install the wheels of the lock; return the reason if what is installed then is not the lock."""
        commands = self._with_uv if self.installer == "uv" else self._with_pip
        environ = settings.for_uv(os.environ) if self.installer == "uv" else settings.for_pip(os.environ)
        for command in commands(folder, lock, cached=cached):
            done = run_installer(command, environ, timeout_s=self.timeout_s, held=self.held)
            if done.code != 0:
                return self._failure(done, settings)
        if self.installer == "pip":
            _remove_scripts(folder)
        difference = find_difference(folder, self.lock, self.python)
        if difference is None:
            return None
        error = EnvironmentFailed(self.label, expected="what its lock names", found=difference)
        return _Failure(error, explained=False)

    def _with_uv(self, folder: Path, lock: Path, *, cached: bool) -> list[list[str]]:
        uv = find_uv() or "uv"
        empty = ["--quiet", "--no-project", "--relocatable", "--python", self.interpreter, str(folder)]
        wheels = ["--color", "never", "--python", str(folder / "bin" / "python")]
        wheels += [*_ONLY_PINNED, *([] if cached else ["--no-cache"]), *self._places(), str(lock)]
        return [[uv, "venv", *empty], [uv, "pip", "sync", *wheels]]

    def _with_pip(self, folder: Path, lock: Path, *, cached: bool) -> list[list[str]]:
        # Without a pip of its own, which takes ten times as long as all the rest of it.
        empty = [self.interpreter, "-I", "-m", "venv", "--without-pip", str(folder)]
        install = [str(folder / "bin" / "python"), "-I", str(pip_runner(self.label)), "install"]
        # Very verbose: else pip does not say that it could not reach an index.
        install += ["-vv", "--no-deps", "--no-compile", *([] if cached else ["--no-cache-dir"])]
        return [empty, [*install, *_ONLY_PINNED, *self._places(), "--requirement", str(lock)]]

    def _places(self) -> list[str]:
        return [] if self.wheels is None else ["--no-index", "--find-links", str(self.wheels.absolute())]

    def _failure(self, done: Finished, settings: PipSettings) -> _Failure:
        text = f"{done.messages}\n{done.output}"
        reason = self._reason(text, done)
        if reason is not None:
            expected, actual, hint = reason
            return _Failure(EnvironmentFailed(self.label, expected=expected, found=actual, hint=hint))
        expected, actual = f"{self.installer} to build it", _detail(settings.redact(text), done)
        return _Failure(EnvironmentFailed(self.label, expected=expected, found=actual), explained=False)

    def _reason(self, text: str, done: Finished) -> tuple[str, str, str | None] | None:
        """Return what was expected, what was found and a hint; None for a reason unknown here."""
        if done.code is None:
            return "it to be built", f"no end after {self.timeout_s:g} s", None
        if _DISK_FULL.search(text):
            return "room on the disk", "none left", _ROOM_HINT
        if match := _UV_HASH.search(text) or _PIP_HASH.search(text):
            hashes = re.findall(r"[0-9a-f]{64}", match["expected"])
            computed = match["computed"].removeprefix("sha256:")
            return f"`{match['pin']}` with {_listed(hashes)}", f"sha256:{computed}", _HASH_HINT
        if self.wheels is None and (match := _REFUSED.search(text)):
            return "packages from the package index", f"status {match[1] or match[2]}", _INDEX_HINT
        if self.wheels is None and _OFFLINE.search(text):
            return "packages from the package index", "no connection to it", _INDEX_HINT
        if match := next((match for rule in _ABSENT if (match := rule.search(text))), None):
            place = f"in `{self.wheels}`" if self.wheels is not None else "in the package index"
            wheel = f"a wheel of `{self._pin(match)}` for this Python and platform {place}"
            return wheel, "none", _PLATFORM_HINT if self.wheels is not None else _ABSENT_HINT
        return None

    def _pin(self, match: re.Match[str]) -> str:
        groups = match.groupdict()
        if groups.get("pin"):
            return groups["pin"].rstrip(".,")
        name = groups["name"]
        return f"{name}=={self.lock.versions[name]}" if name in self.lock.versions else name


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
