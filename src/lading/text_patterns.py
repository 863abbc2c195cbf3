"""Regular expressions that take linear time, whatever the pattern and the text.

Python's own go back and try again, and a few characters of a hostile text keep them busy for years. Here all
ways through a pattern are followed at once, one character at a time (Glushkov's automaton, whose sets of
positions are bits of an integer and become states as they are first met). What cannot be done so is refused:
back-references, look-around, word boundaries, flags. Searches in no text: all of it matches, or it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from lading.errors import InvalidSetting

LONGEST_TEXT = 1000
"""Characters of a text that may match; a longer one does not, and is not read."""

_LONGEST_PATTERN = 1000
_MOST_POSITIONS = 256
_DEEPEST = 30
_MOST_STEPS = 10_000
_MOST_CHARS = 1000
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}

Accepts = Callable[[str], bool]
"""Whether a position of a pattern takes a character."""

_CLASSES: dict[str, Accepts] = {
    "d": str.isdecimal,
    "w": lambda char: char.isalnum() or char == "_",
    "s": str.isspace,
}


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an automaton: whether it takes the empty text, and where it begins and ends, as bits."""

    is_empty: bool
    first: int
    last: int


_NOTHING = _Part(is_empty=True, first=0, last=0)

_Node = Callable[[], _Part]
"""A part of a pattern; each call adds its positions to the automaton once more."""


class _State:
    """A set of positions, and the states that follow it by the next character."""

    __slots__ = ("bits", "following", "is_end")

    def __init__(self, bits: int, *, is_end: bool) -> None:
        self.bits = bits
        self.is_end = is_end
        self.following: dict[str, _State] = {}


class Pattern:
    """A compiled pattern. Threads may share it: what one loses of what is kept another works out again."""

    def __init__(self, text: str) -> None:
        """Compile `text`; raises `InvalidSetting` for what is no pattern, or one that is refused."""
        self.text = text
        self._accepts: list[Accepts] = []
        self._follow: list[int] = []
        whole = _Parser(text, self._position, self._link).parse()()
        self._first, self._last = whole.first, whole.last
        self._groups: list[dict[int, int]] = [{} for _ in range(0, len(self._accepts), 8)]
        self._by_char: dict[str, int] = {}
        self._start = _State(-1, is_end=whole.is_empty)
        self._dead = _State(0, is_end=False)
        self._states: dict[int, _State] = {0: self._dead}
        self._steps = 0

    def matches(self, text: str) -> bool:
        """Return whether the whole of `text` matches; False for one beyond `LONGEST_TEXT`."""
        if len(text) > LONGEST_TEXT:
            return False
        state, dead = self._start, self._dead
        for char in text:
            following = state.following.get(char) or self._step(state, char)
            if following is dead:
                return False
            state = following
        return state.is_end

    def _position(self, accepts: Accepts) -> int:
        if len(self._accepts) == _MOST_POSITIONS:
            raise _refused(self.text, f"at most {_MOST_POSITIONS} characters, repetitions counted", "more")
        self._accepts.append(accepts)
        self._follow.append(0)
        return 1 << (len(self._accepts) - 1)

    def _link(self, last: int, first: int) -> None:
        """Let the positions `first` follow each of `last`."""
        for at in range(last.bit_length()):
            if last >> at & 1:
                self._follow[at] |= first

    def _step(self, state: _State, char: str) -> _State:
        bits = self._first if state is self._start else self._followers(state.bits)
        taken = bits & self._takers(char)
        if self._steps >= _MOST_STEPS:  # Kept for speed alone: a hostile text must not fill the memory.
            self._steps, self._states = 0, {0: self._dead}
            self._start.following = {}
        following = self._states.get(taken)
        if following is None:
            following = self._states[taken] = _State(taken, is_end=bool(taken & self._last))
        self._steps += 1
        state.following[char] = following
        return following

    def _takers(self, char: str) -> int:
        """Return the positions that take a character."""
        takers = self._by_char.get(char)
        if takers is None:
            takers = sum(1 << at for at, accepts in enumerate(self._accepts) if accepts(char))
            if len(self._by_char) >= _MOST_CHARS:
                self._by_char.clear()
            self._by_char[char] = takers
        return takers

    def _followers(self, bits: int) -> int:
        """Return the positions that follow any of `bits`, eight at a time, which are kept."""
        followers, rest = 0, bits.to_bytes(len(self._groups), "little")
        for number, byte in enumerate(rest):
            if byte:
                group = self._groups[number]
                if byte not in group:
                    group[byte] = self._followers_of(8 * number, byte)
                followers |= group[byte]
        return followers

    def _followers_of(self, start: int, byte: int) -> int:
        followers = 0
        for at in range(8):
            if byte >> at & 1:
                followers |= self._follow[start + at]
        return followers


@lru_cache(maxsize=1024)
def compiled(text: str) -> Pattern:
    """Return the pattern `text`, compiled once; raises `InvalidSetting`."""
    return Pattern(text)


class _Parser:
    """Reads a pattern by recursive descent; what it returns builds the automaton."""

    def __init__(
        self, text: str, position: Callable[[Accepts], int], link: Callable[[int, int], None]
    ) -> None:
        if len(text) > _LONGEST_PATTERN:
            raise _refused(text[:40], f"at most {_LONGEST_PATTERN} characters", str(len(text)))
        self._whole, self._position, self._link = text, position, link
        # A whole text is matched anyway.
        text = text.removeprefix("^")
        is_anchored = text.endswith("$") and (len(text) - len(text[:-1].rstrip("\\"))) % 2 == 1
        self._text = text[:-1] if is_anchored else text
        self._at = self._depth = 0

    def parse(self) -> _Node:
        """Return the whole pattern; raises `InvalidSetting`."""
        node = self._either()
        if self._at < len(self._text):
            raise self._refused("a `(` for each `)`", "none")
        return node

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self, what: str) -> str:
        if self._at >= len(self._text):
            raise self._refused(what, "the end")
        self._at += 1
        return self._text[self._at - 1]

    def _refused(self, expected: str, actual: str) -> InvalidSetting:
        return _refused(self._whole, expected, f"{actual} at character {self._at}")

    def _either(self) -> _Node:
        ways = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            ways.append(self._sequence())
        return ways[0] if len(ways) == 1 else lambda: _union([way() for way in ways])

    def _sequence(self) -> _Node:
        nodes: list[_Node] = []
        while self._peek() not in ("", "|", ")"):
            nodes.append(self._repeated(self._atom()))
        return lambda: self._joined([node() for node in nodes])

    def _joined(self, parts: list[_Part]) -> _Part:
        whole = _NOTHING
        for part in parts:
            self._link(whole.last, part.first)
            whole = _Part(
                is_empty=whole.is_empty and part.is_empty,
                first=whole.first | part.first if whole.is_empty else whole.first,
                last=whole.last | part.last if part.is_empty else part.last,
            )
        return whole

    def _repeated(self, node: _Node) -> _Node:
        limits = self._limits()
        if limits is None:
            return node
        least, most = limits
        if self._peek() == "?":  # Lazy or not, the same texts match.
            self._at += 1
        if self._peek() and self._peek() in "*+?{":
            raise self._refused("one repetition", f"`{self._peek()}` after another")

        def build() -> _Part:
            parts = [node() for _ in range(least)]
            if most is None:
                parts.append(self._looped(node()))
            else:
                parts += [_optional(node()) for _ in range(most - least)]
            return self._joined(parts)

        return build

    def _looped(self, part: _Part) -> _Part:
        self._link(part.last, part.first)
        return _optional(part)

    def _limits(self) -> tuple[int, int | None] | None:
        char = self._peek()
        if char in ("*", "+", "?"):
            self._at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        if char != "{":
            return None
        inside, closed, _ = self._text[self._at + 1 :].partition("}")
        least, comma, most = inside.partition(",")
        if not closed or not all(part.isdecimal() and len(part) < 5 for part in (least, most or "0")):
            raise self._refused("`{2}`, `{2,}` or `{2,5}`, or `\\{`", "`{`")
        self._at += len(inside) + 2
        low = int(least)
        high = None if comma and not most else int(most or least)
        if (high is not None and high < low) or low > _MOST_POSITIONS or (high or 0) > _MOST_POSITIONS:
            raise self._refused(f"repetitions that rise, up to {_MOST_POSITIONS}", f"`{{{inside}}}`")
        return low, high

    def _atom(self) -> _Node:
        char = self._next("a character")
        if char == "(":
            return self._group()
        if char == "[":
            return self._single(self._class())
        if char == ".":
            return self._single(lambda char: char != "\n")
        if char == "\\":
            return self._single(self._escape())
        if char in "*+?{^$":
            raise self._refused(f"`\\{char}`, or `{char}` in another place", f"`{char}`")
        return self._single(char.__eq__)

    def _single(self, accepts: Accepts) -> _Node:
        def build() -> _Part:
            bit = self._position(accepts)
            return _Part(is_empty=False, first=bit, last=bit)

        return build

    def _group(self) -> _Node:
        if self._peek() == "?":
            self._at += 1
            if self._next("`(?:`") != ":":
                raise self._refused("`(…)` or `(?:…)`", "flags, a name or look-around")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._refused(f"at most {_DEEPEST} groups in each other", "more")
        node = self._either()
        self._depth -= 1
        if self._next("`)`") != ")":
            raise self._refused("`)`", "none")
        return node

    def _escape(self) -> Accepts:
        """Read what follows a backslash."""
        char = self._next("a character after the backslash")
        if char in _CLASSES:
            return _CLASSES[char]
        if char.lower() in _CLASSES:
            return _negated(_CLASSES[char.lower()])
        return self._escaped(char).__eq__

    def _escaped(self, char: str) -> str:
        if char in _HEX_DIGITS:
            digits = self._text[self._at : self._at + _HEX_DIGITS[char]]
            self._at += len(digits)
            try:
                return chr(int(digits, 16))
            except (ValueError, OverflowError):
                raise self._refused("hexadecimal digits of a character", f"`{digits}`") from None
        if char.isalnum() and char not in _ESCAPED:
            raise self._refused("`\\d`, `\\w`, `\\s`, or an escaped sign", f"`\\{char}`")
        return _ESCAPED.get(char, char)

    def _class(self) -> Accepts:
        """Read what is between brackets."""
        is_negated = self._peek() == "^"
        self._at += is_negated
        chars: set[str] = set()
        ranges: list[tuple[str, str]] = []
        classes: list[Accepts] = []
        is_first = True
        while (char := self._next("`]`")) != "]" or is_first:
            is_first = False
            low = self._class_item(char, classes)
            if low is None:
                continue
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._class_item(self._next("`]`"), classes)
                if high is None or high < low:
                    raise self._refused("a range that rises", "another")
                ranges.append((low, high))
            else:
                chars.add(low)

        def accepts(char: str) -> bool:
            return (
                char in chars
                or any(low <= char <= high for low, high in ranges)
                or any(kind(char) for kind in classes)
            )

        return _negated(accepts) if is_negated else accepts

    def _class_item(self, char: str, classes: list[Accepts]) -> str | None:
        """Return a character between brackets, or None for a class, which is added to `classes`."""
        if char != "\\":
            return char
        following = self._next("a character after the backslash")
        if following.lower() in _CLASSES:
            kind = _CLASSES[following.lower()]
            classes.append(kind if following in _CLASSES else _negated(kind))
            return None
        return self._escaped(following)


def _negated(accepts: Accepts) -> Accepts:
    return lambda char: not accepts(char)


def _optional(part: _Part) -> _Part:
    return _Part(is_empty=True, first=part.first, last=part.last)


def _union(parts: list[_Part]) -> _Part:
    whole = _Part(is_empty=False, first=0, last=0)
    for part in parts:
        whole = _Part(
            is_empty=whole.is_empty or part.is_empty,
            first=whole.first | part.first,
            last=whole.last | part.last,
        )
    return whole


def _refused(text: str, expected: str, actual: str) -> InvalidSetting:
    return InvalidSetting(f"pattern `{text[:80]}`", expected=expected, found=actual)
