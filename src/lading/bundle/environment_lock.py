"""The lock of an environment: each distribution with its version and the wheels that it may come from.

``environment.lock`` is a requirements file that pip and uv read as it is with ``--require-hashes``: ASCII
lines ``name==version --hash=sha256:… --hash=sha256:…``, sorted by their bytes. Names are normal (PEP 503) and
so are versions (PEP 440), each name stands once, and hashes are sorted: one content has one sequence of
bytes, so that its digest names the environment. Resolves nothing, installs nothing, and knows no installer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from lading.errors import EnvironmentLockInvalid

ENVIRONMENT_LOCK_FILE = "environment.lock"
MAX_LOCK_BYTES = 4 * 2**20
"""The greatest length of the file: numpy with the wheels of all its platforms takes 6 kB."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# The normal form of PEP 440, appendix B, and its local part.
_VERSION = re.compile(
    r"([1-9][0-9]*!)?(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*((a|b|rc)(0|[1-9][0-9]*))?"
    r"(\.post(0|[1-9][0-9]*))?(\.dev(0|[1-9][0-9]*))?"
    r"(\+(0|[1-9][0-9]*|[0-9]*[a-z][a-z0-9]*)(\.(0|[1-9][0-9]*|[0-9]*[a-z][a-z0-9]*))*)?"
)
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
# Every spelling that PEP 440 reads, in the parts of which the normal form is made.
_ANY_VERSION = re.compile(
    r"v?(?:(?P<epoch>[0-9]+)!)?(?P<release>[0-9]+(?:\.[0-9]+)*)"
    r"(?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_n>[0-9]*))?"
    r"(?P<post>-(?P<post_n1>[0-9]+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_n2>[0-9]*))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_n>[0-9]*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?"
)
_PRE = {"alpha": "a", "a": "a", "beta": "b", "b": "b"}
_WHERE = f"`{ENVIRONMENT_LOCK_FILE}`"


@dataclass(frozen=True, order=True)
class Pin:
    """A distribution at one version, and the sha256 of each wheel that it may be installed from."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def line(self) -> str:
        """The line of the lock, without its newline."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash={value}" for value in self.hashes)])


@dataclass(frozen=True)
class EnvironmentLock:
    """The distributions of an environment, in the order of the file; `lock_of` sorts and checks them."""

    pins: tuple[Pin, ...]

    def to_bytes(self) -> bytes:
        """Return the file."""
        return "".join(f"{pin.line}\n" for pin in self.pins).encode("ascii")

    @cached_property
    def digest(self) -> str:
        """The digest of the file, as ``sha256:…``: the name of the environment."""
        return f"sha256:{hashlib.sha256(self.to_bytes()).hexdigest()}"

    @property
    def versions(self) -> dict[str, str]:
        """The version of each distribution."""
        return {pin.name: pin.version for pin in self.pins}


def lock_of(pins: Iterable[Pin]) -> EnvironmentLock:
    """Return the lock of `pins`, sorted, with normal names and versions and each hash once.

    Raises `EnvironmentLockInvalid` for a name, version or hash that is none, for a distribution without a
    hash or that is pinned twice, and for no pin at all.
    """
    normal = [
        Pin(normal_name(pin.name), normal_version(pin.version) or pin.version, tuple(sorted({*pin.hashes})))
        for pin in pins
    ]
    lines = sorted(pin.line for pin in normal)
    return read_lock("".join(f"{line}\n" for line in lines).encode())


def read_lock(data: bytes) -> EnvironmentLock:
    """Return the lock in the bytes of `environment.lock`; raises `EnvironmentLockInvalid` for any other."""
    if len(data) > MAX_LOCK_BYTES:
        raise _invalid(f"at most {MAX_LOCK_BYTES} bytes", str(len(data)))
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise _invalid("ASCII", f"another byte at {error.start}") from None
    if not text:
        raise _invalid("at least one line", "none")
    if not text.endswith("\n"):
        raise _invalid("lines that end with a newline each", "a last line without one")
    # Not `splitlines`, which also breaks at a form feed.
    lines = text[:-1].split("\n")
    pins = [_read_pin(line, at) for at, line in enumerate(lines, 1)]
    if sorted(lines) != lines:
        raise _invalid("lines sorted by their bytes", "another order")
    for before, pin in pairwise(pins):
        if before.name == pin.name:
            raise _invalid("each distribution once", f"`{pin.name}` twice")
    return EnvironmentLock(tuple(pins))


def _read_pin(line: str, at: int) -> Pin:
    requirement, *options = line.split(" ")
    name, equals, version = requirement.partition("==")
    hashes = tuple(option.removeprefix("--hash=") for option in options if option.startswith("--hash="))
    if not equals or not options or len(hashes) != len(options):
        expected = "`name==version --hash=sha256:…`, a hash for each wheel"
        raise _invalid(expected, f"{line[:80]!a} in line {at}")
    if not _NAME.fullmatch(name):
        raise _invalid("a name in lower case with single dashes", f"{name[:80]!a} in line {at}")
    if not _VERSION.fullmatch(version):
        raise _invalid(f"a normal version of `{name}` (PEP 440)", f"{version[:80]!a} in line {at}")
    for value in hashes:
        if not _HASH.fullmatch(value):
            raise _invalid(f"a hash of `{name}` as `sha256:…`", f"{value[:80]!a} in line {at}")
    if sorted({*hashes}) != [*hashes]:
        raise _invalid(f"hashes of `{name}` sorted, each once", f"another order in line {at}")
    return Pin(name, version, hashes)


def _invalid(expected: str, found: str) -> EnvironmentLockInvalid:
    return EnvironmentLockInvalid(_WHERE, expected=expected, found=found)


def normal_name(name: str) -> str:
    """Return the name of a distribution as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def normal_version(version: str) -> str | None:
    """Return the normal form of a version (PEP 440), or None if it is no version.

    Metadata may hold another spelling: ``2026.01.05``, ``1.0-RC1``. Zeros at the end stay.
    """
    match = _ANY_VERSION.fullmatch(version.strip().lower())
    if match is None:
        return None
    parts = [f"{int(match['epoch'])}!"] if int(match["epoch"] or 0) else []
    parts.append(".".join(str(int(number)) for number in match["release"].split(".")))
    if match["pre"]:
        parts.append(f"{_PRE.get(match['pre'], 'rc')}{int(match['pre_n'] or 0)}")
    if match["post"]:
        parts.append(f".post{int(match['post_n1'] or match['post_n2'] or 0)}")
    if match["dev"]:
        parts.append(f".dev{int(match['dev_n'] or 0)}")
    if match["local"]:
        pieces = re.split(r"[-_.]", match["local"])
        parts.append("+" + ".".join(str(int(piece)) if piece.isdigit() else piece for piece in pieces))
    return "".join(parts)
