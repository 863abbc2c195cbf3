"""Input checks: rules for the values of a request, from the profile of the bundle or stated by people.

    profile of the bundle ─▶ profile_rules ─┐
    checks of the manifest ─────────────────┼─▶ stated_rules ─▶ Rule, … ─▶ compiled ─▶ counts, or failures
    file of a server ───────────────────────┘

What a rule fails is decided here, and what happens then by the server. Reads no file but a stated one, and
keeps no value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from lading.signature import quoted

RuleKind = Literal["range", "set", "integer", "missing", "length", "time", "pattern", "at_most"]
KINDS: tuple[RuleKind, ...] = get_args(RuleKind)

_MOST_LISTED = 8
_LAST_YEAR = 6e10


@dataclass(frozen=True, slots=True)
class Rule:
    """What the values of one column have to be; a missing value fails no rule but ``missing``.

    ``tensor``, ``column``, ``position`` and ``summary`` are those of `ColumnProfile`; a ``position`` of -1 is
    every value of a row. ``low`` and ``high`` are included; of a ``time`` they are Unix seconds, and
    ``ahead_s`` is how far beyond the time of the check it may be. ``allowed`` are all values there are.
    ``at_most`` is the tensor, the name and the position of the column that is never smaller. ``is_stated`` is
    whether a person has stated it.
    """

    tensor: str
    column: str
    kind: RuleKind
    position: int = -1
    summary: str = ""
    low: float = -math.inf
    high: float = math.inf
    ahead_s: float = math.inf
    allowed: tuple[str | float, ...] = ()
    pattern: str = ""
    at_most: tuple[str, str, int] | None = None
    is_stated: bool = False

    @property
    def expected(self) -> str:
        """Return what a value has to be, as the middle of a sentence."""
        if self.kind == "set":
            more = ", …" if len(self.allowed) > _MOST_LISTED else ""
            listed = ", ".join(_quoted(value) for value in self.allowed[:_MOST_LISTED])
            return f"one of {listed}{more}"
        if self.kind == "pattern":
            return f"text that matches `{self.pattern}`"
        if self.kind == "at_most":
            assert self.at_most is not None  # By its kind.
            return f"at most the value of `{self.at_most[1]}`"
        if self.kind in ("integer", "missing"):
            return "a whole number" if self.kind == "integer" else "a value"
        return self._limits()

    def _limits(self) -> str:
        is_time = self.kind == "time"
        low, high = ((_date if is_time else _number)(limit) for limit in (self.low, self.high))
        what = {"time": "a time ", "length": "a text of "}.get(self.kind, "")
        unit = " characters" if self.kind == "length" else ""
        if self.ahead_s < math.inf:
            high = "now" if self.ahead_s <= 86400 else f"{self.ahead_s / 86400:.0f} days from now"
        if self.low == -math.inf:
            return f"{what}at most {high}{unit}" if self.high < math.inf or is_time else "any"
        if self.high == math.inf and self.ahead_s == math.inf:
            return f"{what}at least {low}{unit}"
        return f"{what}{low} to {high}{unit}"

    def __str__(self) -> str:
        """Return the rule as one line: ``petal_length range: 0 to 9.8 (profile)``."""
        return f"{self.column} {self.kind}: {self.expected} ({'stated' if self.is_stated else 'profile'})"


def _number(limit: float) -> str:
    return f"{limit:.6g}"


def _quoted(value: str | float) -> str:
    return quoted(value) if isinstance(value, str) else _number(value)


def _date(seconds: float) -> str:
    if abs(seconds) > _LAST_YEAR:
        return f"{seconds:.6g} s"
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
