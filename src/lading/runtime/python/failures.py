"""Why an installer failed, from what it printed: one sentence, which holds no address of a package index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lading.runtime.python.installers import Finished, PipSettings

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
    re.compile(r"No matching distribution found for ([\w.\[\]-]+(?:==[^\s;]+)?)"),
    re.compile(r"there (?:is|are) no versions? of ([\w.-]+==[^\s,]+)"),
    re.compile(r"ecause ([\w.-]+) was not found in"),
    re.compile(r"ecause ([\w.-]+==[^\s,]+) has no "),
)
_LONGEST_DETAIL = 300
_ROOM_HINT = "free some space, or let `LADING_CACHE` name a folder on a larger disk"
_HASH_HINT = "this is another file than the one that was packed with; nothing of it was installed"
_INDEX_HINT = "check the network and `pip config list`, or name a folder of wheels"


@dataclass(frozen=True)
class Reason:
    """What an installer needed and what it found; ``absent`` is a package without a wheel, if that is why."""

    expected: str
    found: str
    hint: str | None = None
    absent: str | None = None


def known_reason(done: Finished, wheels: Path | None, timeout_s: float) -> Reason | None:
    """Return why the installer failed, or None if it was for none of the reasons that are known here."""
    text = f"{done.messages}\n{done.output}"
    if done.code is None:
        return Reason("it to end", f"no end after {timeout_s:g} s")
    if _DISK_FULL.search(text):
        return Reason("room on the disk", "none left", _ROOM_HINT)
    if match := _UV_HASH.search(text) or _PIP_HASH.search(text):
        expected = f"`{match['pin']}` with {_listed(re.findall(r'[0-9a-f]{64}', match['expected']))}"
        return Reason(expected, f"sha256:{match['computed'].removeprefix('sha256:')}", _HASH_HINT)
    if wheels is None and (match := _REFUSED.search(text)):
        return Reason("packages from the package index", f"status {match[1] or match[2]}", _INDEX_HINT)
    if wheels is None and _OFFLINE.search(text):
        return Reason("packages from the package index", "no connection to it", _INDEX_HINT)
    if match := next((match for rule in _ABSENT if (match := rule.search(text))), None):
        place = f"in `{wheels}`" if wheels is not None else "in the package index"
        name = match[1].rstrip(".,")
        expected = f"a wheel of `{name}` for this Python and platform {place}"
        return Reason(expected, "none", absent=name)
    return None


def last_words(done: Finished, settings: PipSettings) -> str:
    """Return the lines in which an installer says why it failed, without addresses, for a sentence."""
    text = settings.redact(f"{done.messages}\n{done.output}")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(?i)(error|cause|caused by|hint)\b", line)] or lines[-1:]
    words = "; ".join(telling)[:_LONGEST_DETAIL].replace("`", "")
    return f"`{words}`" if words else f"exit code {done.code}"


def _listed(hashes: Sequence[str]) -> str:
    first = f"sha256:{hashes[0]}"
    return first if len(hashes) == 1 else f"{first} or one of {len(hashes) - 1} others"
