r"""Token patterns of scikit-learn as regular expressions of RE2, which tokenises in ONNX Runtime.

Python knows letters, digits and spaces of every script; RE2's `\w`, `\d`, `\s` and `\b` are ASCII. Each
class is therefore written out as the ranges that Python itself finds. Builds no graph.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Members = NDArray[np.bool_]
"""Which code points belong to a class, ``[code points]``."""

DOTTED_I = "\u0130"
"""The only character whose lower case is two: `i` and a combining dot (Unicode's SpecialCasing.txt)."""

_CODE_POINTS = 0x110000
_DOT = 0x307

_ATOM = r"\\[wWdDsStnrfv]|\\[^\w\s]|\[\^?\]?(?:\\.|[^\]\\])*\]|\.|[^\\\[\](){}|*+?.^$]"
_PART = re.compile(
    rf"(?P<boundary>\\b)|(?P<group>\(\?:|\)|\|)|(?P<many>(?:[*+?]|\{{\d+(?:,\d*)?\}})(?![?+]))|(?P<atom>{_ATOM})"
)


@dataclass(frozen=True)
class TokenRule:
    """How a text is taken apart: `regex` finds the tokens in it, before anything is lower-cased.

    A token in which `no_token` is found is none. If ``splits_at_dot``, the text must be divided behind each
    dotted capital I first: the dot that its lower case leaves is no part of a token. If ``holds_dot``, it is.
    """

    regex: str
    no_token: str | None = None
    splits_at_dot: bool = False
    holds_dot: bool = False
    may_hold_spaces: bool = False


class PatternUnsupported(ValueError):
    """Say which part of a token pattern has no equal in RE2."""


def token_rule(pattern: str, *, lowercase: bool) -> TokenRule:
    """Translate a `token_pattern`; raises `PatternUnsupported`."""
    parts = _parts(pattern)
    bounded = "boundary" in (kind for kind, _ in parts)
    if bounded:
        if parts[0][0] != "boundary" or parts[-1][0] != "boundary" or len(parts) < 3:
            raise PatternUnsupported("a `\\b` that is not at both ends")
        parts = parts[1:-1]
        if "boundary" in (kind for kind, _ in parts):
            raise PatternUnsupported("a `\\b` inside")
    atoms = {text for kind, text in parts if kind == "atom"}
    classes = {atom: members(atom) for atom in atoms}
    dots = [bool(known[_DOT]) for known in classes.values()]
    raw = {atom: known[_lower_of()] if lowercase else known for atom, known in classes.items()}
    splits = lowercase and not any(dots)
    spaces = any(bool(known[ord(" ")]) for known in raw.values())
    run = _run(parts)
    holds = lowercase and not splits
    if not bounded:
        own = {atom: written(known) for atom, known in raw.items()}
        regex = "".join(own.get(text, text) if kind == "atom" else text for kind, text in parts)
        if run is not None:
            regex = _run_regex(raw[run[0]], run[1], splits=splits)
            splits = False
        if re.fullmatch(pattern, "") or not atoms:
            raise PatternUnsupported("a pattern that finds nothing at all")
        return TokenRule(regex, None, splits, holds, spaces)
    if run is None:
        raise PatternUnsupported("`\\b` around more than one class of characters")
    rule = _bounded(raw[run[0]], run[1], lowercase=lowercase, splits=splits)
    return replace(rule, holds_dot=holds, may_hold_spaces=spaces)


def word_run(pattern: str) -> tuple[Members, int]:
    """Return the class and the least length if a token is as long a run of one class as there is.

    Raises `PatternUnsupported` for any other pattern.
    """
    parts = _parts(pattern)
    inner = [part for part in parts if part[0] != "boundary"]
    run = _run(inner)
    if run is None:
        raise PatternUnsupported("more than one class of characters")
    known = members(run[0])
    if len(inner) < len(parts) and not (known == members(r"\w")).all():
        raise PatternUnsupported("a `\\b` around other characters than `\\w`")
    return known, run[1]


def members(atom: str) -> Members:
    r"""Return the code points that one character of a pattern, such as ``\w`` or ``[a-z]``, stands for."""
    matching = "".join(re.findall(atom, characters()))
    known = np.zeros(_CODE_POINTS, dtype=bool)
    known[np.frombuffer(matching.encode("utf-32-le"), dtype=np.uint32)] = True
    return known


def written(known: Members) -> str:
    """Write a class as the ranges of its code points, as RE2 reads them."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    if not len(edges):
        raise PatternUnsupported("a class without characters")
    ranges = (f"\\x{{{first:X}}}-\\x{{{last - 1:X}}}" for first, last in edges.reshape(-1, 2))
    return f"[{''.join(ranges)}]"


def _bounded(raw: Members, least: int, *, lowercase: bool, splits: bool) -> TokenRule:
    r"""Translate a run of one class between two `\b`: from one edge of a word to another."""
    word = members(r"\w")
    word = word[_lower_of()] if lowercase else word
    if not (raw & ~word).any():
        # Words that hold another character are no tokens, not even in part.
        others = word & ~raw
        no_token = written(others) if others.any() else None
        return TokenRule(_run_regex(word, least, splits=splits), no_token)
    if (word & ~raw).any():
        raise PatternUnsupported("`\\b` around a class that has only some letters and other signs as well")
    edge, inner = written(word), written(raw)
    regex = f"{edge}{inner}{{{least - 2},}}{edge}" if least > 1 else f"{edge}(?:{inner}*{edge})?"
    return TokenRule(regex, None, splits)


def _run_regex(raw: Members, least: int, *, splits: bool) -> str:
    """Write a run of one class; a dotted capital I ends it if `splits`."""
    if not (splits and raw[ord(DOTTED_I)]):
        return f"{written(raw)}{{{least},}}"
    others = raw.copy()
    others[ord(DOTTED_I)] = False
    several = written(others)
    return f"{several}{{{least - 1},}}{DOTTED_I}|{several}{{{least},}}"


def _parts(pattern: str) -> list[tuple[str, str]]:
    """Take a pattern apart into (kind, text)."""
    rest = pattern.removeprefix("(?u)")
    parts: list[tuple[str, str]] = []
    at = 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None:
            raise PatternUnsupported(f"`{rest[at:]}`")
        parts.append((str(part.lastgroup), part.group()))
        at = part.end()
    if not parts:
        raise PatternUnsupported("nothing")
    return parts


def _run(parts: list[tuple[str, str]]) -> tuple[str, int] | None:
    """Return the class and the least length if the pattern is a run of one class, as long as it goes."""
    atoms = {text for kind, text in parts if kind == "atom"}
    if len(atoms) != 1 or any(kind == "group" for kind, _ in parts):
        return None
    text = "".join("a" if kind == "atom" else text for kind, text in parts)
    least, endless = 0, False
    for many in re.findall(r"a([*+?]|\{\d+(?:,\d*)?\})?", text):
        low, comma, high = {"*": "0,", "+": "1,", "?": "0,1", "": "1"}.get(many, many.strip("{}")).partition(
            ","
        )
        least += int(low)
        endless |= bool(comma) and not high
    return (atoms.pop(), least) if endless and least else None


@lru_cache(maxsize=1)
def characters() -> str:
    """Return every character of Unicode once, in order."""
    # Half a surrogate pair is no character: UTF-8, and so ONNX, cannot have it.
    return "".join(map(chr, (*range(0xD800), *range(0xE000, _CODE_POINTS))))


@lru_cache(maxsize=1)
def _lower_of() -> NDArray[np.int64]:
    """Return each code point's lower case; that of a dotted capital I without its dot."""
    lower = np.arange(_CODE_POINTS)
    for character in characters():
        small = character.lower()
        if small != character:
            lower[ord(character)] = ord(small[0])
    return lower
