"""Builds one environment in a folder: an empty virtual environment, then the wheels of a lock, by uv or pip.

Only wheels whose sha256 the lock names are installed, and nothing that the lock does not name. How an
installer failed becomes one sentence, which holds no address of a package index. Keeps no environment:
`environments` does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lading.bundle.environment_lock import EnvironmentLock
from lading.errors import EnvironmentFailed
from lading.runtime.python.contents import find_difference, write_marker
from lading.runtime.python.failures import known_reason, last_words
from lading.runtime.python.installers import (
    Finished,
    Installer,
    PipSettings,
    find_uv,
    pip_runner,
    read_pip_settings,
    run_installer,
)

_ONLY_PINNED = ["--require-hashes", "--only-binary", ":all:"]
_PLATFORM_HINT = "the lock is for the platform and the Python that it was made on"
_TIME_HINT = "where a server builds it, `--load-timeout-s` allows more time"
_ABSENT_HINT = f"{_PLATFORM_HINT}; does `pip config list` name the index that it was made from?"


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
                # installs it again. Without the cache the files are copied. Nor may there be room for one.
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
        wheels += [*_ONLY_PINNED, *self._places(), str(lock)]
        cache = [] if cached else ["--no-cache"]
        return [[uv, "venv", *cache, *empty], [uv, "pip", "sync", *cache, *wheels]]

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
        reason = known_reason(done, self.wheels, self.timeout_s)
        if reason is None:
            expected, actual = f"{self.installer} to build it", last_words(done, settings)
            error = EnvironmentFailed(self.label, expected=expected, found=actual)
            return _Failure(error, explained=False)
        expected, hint = reason.expected, _TIME_HINT if done.code is None else reason.hint
        if reason.absent is not None:
            pin = self._pin(reason.absent)
            expected = expected.replace(f"`{reason.absent}`", f"`{pin}`")
            hint = _PLATFORM_HINT if self.wheels is not None else _ABSENT_HINT
        return _Failure(EnvironmentFailed(self.label, expected=expected, found=reason.found, hint=hint))

    def _pin(self, name: str) -> str:
        """Return the pin of a name that an installer gave without its version."""
        version = self.lock.versions.get(name)
        return name if version is None else f"{name}=={version}"


def _remove_scripts(folder: Path) -> None:
    """Remove the scripts of packages: pip writes the path of the temporary folder into them."""
    for path in (folder / "bin").iterdir():
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                is_script = file.read(2) == b"#!"
            if is_script:
                path.unlink()
