"""Resolves requirements into a lock: their closure for this platform and one Python, wheels with hashes only.

By uv, else by pip without installing. Which requirements these are is decided by others.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lading.bundle.environment_lock import EnvironmentLock, Pin, lock_of, normal_name
from lading.errors import EnvironmentFailed, RequirementsRefused, UsageError
from lading.runtime.python.failures import known_reason, last_words
from lading.runtime.python.installers import (
    Finished,
    Installer,
    PipSettings,
    choose_installer,
    find_uv,
    pip_runner,
    read_pip_settings,
    run_installer,
)
from lading.runtime.python.interpreters import find_interpreter

RESOLVE_TIMEOUT_S = 600.0
_WHERE = "requirements"
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
_ONE_EQUALS_SIGN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*(?:\s*\[[^]]*\])?)\s*=(?!=)\s*")
_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})\b")
_CONFLICT = re.compile(r"requirements are unsatisfiable|conflicting dependencies|ResolutionImpossible")
_ABSENT_HINT = "build one with `pip wheel` into a folder and name that folder, or pack under another version"
_CONFLICT_HINT = "state versions that go together: those installed here hold for all that are not stated"


@dataclass(frozen=True)
class Resolver:
    """Where packages come from, and for which Python; ``wheels`` is a folder in place of the index.

    Without ``dependencies`` nothing but the requirements themselves is locked.
    """

    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheels: Path | None = None
    installer: Installer | None = None
    timeout_s: float = RESOLVE_TIMEOUT_S
    dependencies: bool = True

    def resolve(self, lines: Sequence[str], constraints: Mapping[str, str]) -> EnvironmentLock:
        """Return the lock of the requirements in `lines` and all that they need.

        A distribution in `constraints` gets the version there. Hashes in a line are the only ones that its
        distribution keeps. Raises `RequirementsRefused` for packages without a wheel and for versions that
        contradict each other, `EnvironmentFailed` if packages cannot be reached.
        """
        interpreter = find_interpreter(self.python)
        settings = PipSettings() if self.wheels is not None else read_pip_settings()
        by_uv = choose_installer(self.installer) == "uv"
        with tempfile.TemporaryDirectory(prefix="lading-resolve-") as name:
            folder = Path(name)
            plain = [_HASH.sub("", line).strip() for line in lines]
            (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in plain))
            pins = "".join(f"{name}=={version}\n" for name, version in sorted(constraints.items()))
            (folder / "constraints.txt").write_text(pins)
            command = self._uv(folder, interpreter) if by_uv else self._pip(folder, interpreter)
            environ = settings.for_uv(os.environ) if by_uv else settings.for_pip(os.environ)
            done = run_installer(command, environ, timeout_s=self.timeout_s)
            if done.code != 0:
                raise self._failure(done, settings)
            resolved = _read_uv(done.output) if by_uv else _read_pip(folder / "report.json")
        lock = _narrow(lock_of(resolved), lines)
        if self.dependencies:
            return lock
        # Not by `--no-deps`: uv 0.13 then states no hashes of wheels in a folder.
        names = {requirement_name(line) for line in lines}
        return lock_of([pin for pin in lock.pins if pin.name in names])

    def _uv(self, folder: Path, interpreter: str) -> list[str]:
        # Without extras and markers: what remains is for this platform and this Python.
        options = ["--generate-hashes", "--no-header", "--no-annotate", "--color", "never"]
        options += ["--python", interpreter, "--constraints", str(folder / "constraints.txt")]
        return [find_uv() or "uv", "pip", "compile", *options, *self._sources(folder)]

    def _pip(self, folder: Path, interpreter: str) -> list[str]:
        options = ["--dry-run", "--ignore-installed", "--report", str(folder / "report.json"), "-vv"]
        options += ["--constraint", str(folder / "constraints.txt"), "--requirement"]
        return [interpreter, "-I", str(pip_runner(_WHERE)), "install", *options, *self._sources(folder)]

    def _sources(self, folder: Path) -> list[str]:
        offline = [] if self.wheels is None else ["--no-index", "--find-links", str(self.wheels.absolute())]
        return [str(folder / "requirements.txt"), "--only-binary", ":all:", *offline]

    def _failure(self, done: Finished, settings: PipSettings) -> RequirementsRefused | EnvironmentFailed:
        reason = known_reason(done, self.wheels, self.timeout_s)
        if reason is not None and reason.absent is None:
            return EnvironmentFailed(_WHERE, expected=reason.expected, found=reason.found, hint=reason.hint)
        if reason is not None:
            return RequirementsRefused(_WHERE, expected=reason.expected, found="none", hint=_ABSENT_HINT)
        words = last_words(done, settings)
        if _CONFLICT.search(f"{done.messages}\n{done.output}"):
            expected = "versions that go together"
            return RequirementsRefused(_WHERE, expected=expected, found=words, hint=_CONFLICT_HINT)
        return RequirementsRefused(_WHERE, expected="packages that can be resolved", found=words)


def _read_uv(output: str) -> list[Pin]:
    pins = []
    for entry in output.replace("\\\n", " ").splitlines():
        match = _PINNED.match(entry)
        if match is None or " ; " in entry:
            raise _by_address(requirement_name(entry))
        pins.append(Pin(match[1], match[2], tuple(_HASH.findall(entry))))
    return pins


def _read_pip(report: Path) -> list[Pin]:
    # https://pip.pypa.io/en/stable/reference/installation-report/
    pins = []
    for item in json.loads(report.read_text(encoding="utf-8"))["install"]:
        metadata, archive = item["metadata"], item["download_info"].get("archive_info", {})
        sha256 = archive.get("hashes", {}).get("sha256")
        if sha256 is None or item.get("is_direct"):
            raise _by_address(metadata["name"])
        pins.append(Pin(metadata["name"], metadata["version"], (f"sha256:{sha256}",)))
    return pins


def _by_address(name: str) -> RequirementsRefused:
    return RequirementsRefused(
        _WHERE, expected="packages by name and version", found=f"`{name}` by address or marker"
    )


def _narrow(lock: EnvironmentLock, lines: Sequence[str]) -> EnvironmentLock:
    """Return the lock with no other hashes for a distribution than those that its line states, if any."""
    stated: dict[str, set[str]] = {}
    for line in lines:
        stated.setdefault(requirement_name(line), set()).update(_HASH.findall(line))
    pins = []
    for pin in lock.pins:
        hashes = stated.get(pin.name) or set(pin.hashes)
        kept = tuple(sorted(hashes & set(pin.hashes)))
        if not kept:
            raise RequirementsRefused(
                _WHERE,
                expected=f"a wheel of `{pin.name}=={pin.version}` with a hash that its line states",
                found=f"{pin.hashes[0]}" + (f" and {len(pin.hashes) - 1} others" if pin.hashes[1:] else ""),
            )
        pins.append(Pin(pin.name, pin.version, kept))
    return lock_of(pins)


def requirement_lines(requirements: str | Path | Sequence[str]) -> list[str]:
    """Return requirements, or those in a file of that path, one a line, without comments.

    Raises `RequirementsRefused` for options and addresses, `UsageError` for a file that cannot be read.
    """
    where = _WHERE
    if isinstance(requirements, str | Path):
        where = f"requirements `{requirements}`"
        try:
            text = Path(requirements).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            expected = "`auto`, a list of requirements, or a file of them"
            raise UsageError(where, expected=expected, found=str(error)) from error
        lines = text.replace("\\\n", " ").splitlines()
    else:
        lines = list(requirements)
    plain = [_COMMENT.sub("", line).strip() for line in lines]
    for line in filter(None, plain):
        if not requirement_name(line) or line.startswith("-"):
            raise RequirementsRefused(
                where,
                expected="only lines `name==version`",
                found=f"`{line.split()[0]}`",
                hint="configure an index with `pip config`, and state what other files hold in this one",
            )
        if "@" in line.partition(";")[0] or "://" in line:
            raise RequirementsRefused(
                where,
                expected="packages by name and version",
                found=f"`{requirement_name(line)}` by address",
                hint="build a wheel of it into a folder, and name that folder",
            )
        if _ONE_EQUALS_SIGN.match(line):
            pinned = _ONE_EQUALS_SIGN.sub(r"\1==", line, count=1)
            raise RequirementsRefused(
                where, expected="`name==version`", found=f"`{line}`", hint=f"write `{pinned}`"
            )
    return [line for line in plain if line]


def requirement_name(line: str) -> str:
    """Return the normal name of the distribution that a requirement names, empty if it names none."""
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line)
    return normal_name(match[1].rstrip("._-")) if match else ""
