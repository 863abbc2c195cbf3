"""Parts of a plan as people type them, on a command line and in a form."""

from __future__ import annotations

import re

from lading.errors import InvalidSetting

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 20
"""So many digits has no time; a longer text would make a number that is infinite."""


def read_steps(text: str) -> tuple[int, ...]:
    """Return rising percentages: ``5,25,50,100``. Raises `InvalidSetting`."""
    parts = [step.strip().removesuffix("%").strip() for step in text.split(",")]
    if all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        steps = tuple(int(part) for part in parts)
        if list(steps) == sorted(set(steps)) and all(1 <= step <= 100 for step in steps):
            return steps
    expected = "rising percentages such as `5,25,50,100`"
    raise InvalidSetting("steps", expected=expected, found=f"`{text}`")


def read_duration(text: str) -> float:
    """Return a time in seconds: ``90s``, ``5m``, ``1h``, or a number of seconds. Raises `InvalidSetting`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|)", text.strip())
    if match is None or len(match[1]) > _LONGEST:
        raise InvalidSetting("time", expected="a time such as `60s`, `5m` or `1h`", found=f"`{text}`")
    return float(match[1]) * _UNITS[match[2] or "s"]
