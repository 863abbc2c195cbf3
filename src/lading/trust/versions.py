"""Versions compared as the package manager of each ecosystem compares them: PEP 440, and dpkg's order.

Orders nothing of other ecosystems: what cannot be compared is said to be so, and never taken for equal.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from lading.errors import missing_extra

# dpkg's own reading of a version: an epoch, the upstream version, the Debian revision (deb-version(7)).
_DEBIAN = re.compile(r"(?:([0-9]+):)?([0-9A-Za-z.+~:-]*?)(?:-([0-9A-Za-z.+~]*))?")
_PIECES = re.compile(r"([^0-9]*)([0-9]*)")
_LONGEST = 256
"""Characters of a version that are read: no release has more, and PEP 440's pattern is not linear."""


def parser_of(ecosystem: str) -> Callable[[str], Any] | None:
    """Return the function that makes versions of an ecosystem comparable, or None if none is known.

    The function returns None for a text that is no version there.
    """
    family = ecosystem.partition(":")[0]
    return {"PyPI": pypi_key, "Debian": debian_key, "generic": pypi_key}.get(family)


@functools.lru_cache(65536)
def pypi_key(text: str) -> Any:
    """Return a version of Python packages to compare, or None for what PEP 440 does not read.

    A local part is left out: ``2.1.0+cpu`` is the release 2.1.0, with its faults.
    """
    try:
        from packaging.version import InvalidVersion, Version
    except ImportError as error:
        raise missing_extra("comparing versions of packages", "trust", error) from None

    if len(text) > _LONGEST:
        return None
    try:
        version = Version(text)
    except InvalidVersion:
        return None
    return Version(version.public) if version.local else version


@functools.lru_cache(65536)
def debian_key(text: str) -> tuple[Any, ...] | None:
    """Return a version of Debian packages as a tuple that sorts as ``dpkg --compare-versions``, or None."""
    match = _DEBIAN.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None or not match[2]:
        return None
    return int(match[1] or 0), _pieces(match[2]), _pieces(match[3] or "")


def _pieces(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Return runs of other characters and of digits in turn, closed by an empty one that sorts below them.

    `~` sorts below the end of a version, letters below everything else, and digits count as numbers.
    """
    # An empty text is "0" to dpkg: the pattern finds one empty piece in it, and needs a second to close it.
    pieces = _PIECES.findall(text) if text else [("", ""), ("", "")]
    return tuple(((*(_rank(char) for char in other), 0), int(digits or 0)) for other, digits in pieces)


def _rank(char: str) -> int:
    if char == "~":
        return -1
    return ord(char) if char.isalpha() else ord(char) + 256
