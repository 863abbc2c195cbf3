"""Numbers, shares and times as people read them. Knows nothing of models."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from lading.monitor.report.saying import Say, in_english

NO_VALUE = "–"
# By name and not by `strftime`, whose words are those of the process's locale.
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MANY = ((1e9, "billion"), (1e6, "million"))


def number(value: float | None, digits: int = 4) -> str:
    """Return a number to four digits, or so many; very large and very small ones with an exponent."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    size = abs(value)
    if size and not 1e-4 <= size < 1e9:
        digits_text, _, power = f"{value:.{digits - 1}e}".partition("e")
        text = f"{digits_text.rstrip('0').rstrip('.') if '.' in digits_text else digits_text}e{int(power)}"
    elif size >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
    # The sign of minus is as wide as a digit, so columns of numbers line up.
    return text.replace("-", "−")


def count(value: int) -> str:
    """Return a count with separators of thousands."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """Return a count with its noun: ``1 row``, ``2,000 rows``."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def share(value: float | None) -> str:
    """Return a share as a percentage of about two digits: ``31 %``, ``3.1 %``, ``0.04 %``."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    percent = 100 * value
    if percent == 0:
        return "0 %"
    if percent < 0.01:
        return "< 0.01 %"
    # What is not all of the rows must not be rounded to all of them.
    if 99.5 <= percent < 100:
        return "> 99.9 %" if percent > 99.9 else f"{percent:.1f} %"
    # 9.96 would be rounded to three digits: 10.0.
    digits = 0 if percent >= 9.95 else 1 if percent >= 0.995 else 2
    return f"{percent:.{digits}f} %"


def rate(value: float | None) -> str:
    """Return an accuracy as a percentage with one decimal."""
    return NO_VALUE if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def distance(value: float | None) -> str:
    """Return a distance of distributions, such as PSI, with two decimals; small ones with three."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    if 0 < value < 0.001:
        return "< 0.001"
    return f"{value:.2f}" if value >= 0.0995 else f"{value:.3f}"


def one_in(times: float) -> str:
    """Return ``1 in 3,000``: `times` rounded down to one digit, so that "at most" stays true before it."""
    # Rounded down, because fewer than one in 3,999 are fewer than one in 3,000, too.
    for unit, name in _MANY:
        if times >= unit:
            amount = math.floor(times / unit)
            return f"1 in a {name}" if amount == 1 else f"1 in {_rounded_down(amount):,} {name}"
    return f"1 in {_rounded_down(max(1, math.floor(times))):,}"


def _rounded_down(value: int) -> int:
    unit: int = 10 ** (len(str(value)) - 1)
    return value // unit * unit


def moment(unix_s: float) -> str:
    """Return a time to the minute: ``2026-11-29 14:10 UTC``."""
    return f"{_utc(unix_s):%Y-%m-%d %H:%M} UTC"


def short_moment(unix_s: float, say: Say = in_english) -> str:
    """Return a time for a chart or a table: ``29 Nov 14:10``."""
    at = _utc(unix_s)
    return f"{_day(at, say)} {at:%H:%M}"


def tick_time(unix_s: float, step_s: float, say: Say = in_english) -> str:
    """Return a time below an axis with a tick each `step_s`: the day, or the time of the day."""
    at = _utc(unix_s)
    if step_s >= 86_400 or (at.hour, at.minute, at.second) == (0, 0, 0):
        if step_s < 86_400 * 300:
            return _day(at, say)
        return say("{month} {year}", month=say(MONTHS[at.month - 1]), year=f"{at:%Y}")
    return f"{at:%H:%M}" if step_s >= 60 else f"{at:%H:%M:%S}"


def _day(at: datetime, say: Say) -> str:
    return say("{day} {month}", day=str(at.day), month=say(MONTHS[at.month - 1]))


def span(seconds: float) -> str:
    """Return a duration in its two largest units: ``40 s``, ``12 min``, ``2 h 10 min``, ``3 days``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    # Up to two days hours are what people compare: labels come after 26 h, a period is of 24 h.
    if minutes < 48 * 60:
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{round(minutes / 1440)} days"


def _utc(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)
