"""A column of a profile as people read it: its range, what is typical, and the heights of its bars."""

from __future__ import annotations

from lading.profile import FIRST, UNSEEN, ColumnProfile

MOST_BARS = 20
_MOST_VALUES = 3
_LONGEST_VALUE = 24


def share_text(share: float) -> str:
    """Return a share as a percentage with one decimal, none if that is a zero: ``3.2 %``, ``12 %``."""
    return "< 0.1 %" if 0 < share < 0.001 else f"{share:.1%}".replace("%", " %").replace(".0 ", " ")


def missing_share(column: ColumnProfile) -> float:
    """Return the share of values that are missing, 0 of none."""
    return column.missing / column.rows if column.rows else 0.0


def range_text(column: ColumnProfile) -> str:
    """Return from where to where the values go; empty for categories, and if nothing was measured."""
    if column.minimum is None or column.maximum is None:
        return ""
    unit = " characters" if column.kind == "text" else ""
    if column.minimum == column.maximum:
        return f"{column.text(column.minimum)}{unit}"
    return f"{column.text(column.minimum)} – {column.text(column.maximum)}{unit}"


def typical_text(column: ColumnProfile) -> str:
    """Return the mean with its deviation, or the most frequent categories with their shares."""
    frequent, others, rare = typical_parts(column)
    more = [f"{others} more"] if others else []
    return ", ".join([*([frequent] if frequent else []), *more, *([f"rare {rare}"] if rare else [])])


def typical_parts(column: ColumnProfile) -> tuple[str, int, str]:
    """Return the parts of `typical_text`: values, how many others there are, and the share of rare ones."""
    if column.is_binned:
        return _mean_text(column), 0, ""
    present = sum(column.counts) - column.missing
    order = sorted(range(len(column.values)), key=lambda at: -column.counts[FIRST + at])
    texts = [
        f"{_short(column.label(FIRST + at))} {share_text(column.counts[FIRST + at] / max(1, present))}"
        for at in order[:_MOST_VALUES]
    ]
    rare = share_text(column.counts[UNSEEN] / present) if column.counts[UNSEEN] else ""
    return ", ".join(texts), max(0, len(order) - _MOST_VALUES), rare


def _mean_text(column: ColumnProfile) -> str:
    if column.mean is None:
        return ""
    if column.deviation is None or column.kind == "timestamp":
        return column.text(column.mean)
    return f"{column.mean:.4g} ± {column.deviation:.3g}"


def bar_rows(column: ColumnProfile) -> list[int]:
    """Return the rows of each bar: of the first categories, or of equal parts of the range.

    Empty if a bar would say nothing: a column with fewer than two, or without rows.
    """
    rows = _even(column) if column.is_binned else list(column.counts[FIRST:])
    bars = rows[:MOST_BARS]
    return bars if len(rows) >= 2 and max(bars, default=0) > 0 else []


def _even(column: ColumnProfile) -> list[int]:
    """Return the rows in equal parts of the range, each bin spread evenly over its own: ``[parts]``."""
    low, high = column.minimum, column.maximum
    if low is None or high is None or not low < high:
        return []
    width = (high - low) / MOST_BARS
    edges = [low, *column.bounds, high]
    parts = [0.0] * MOST_BARS
    for at, rows in enumerate(column.counts[FIRST:]):
        start, end = edges[at], edges[at + 1]
        first, last = (min(MOST_BARS - 1, max(0, int((edge - low) / width))) for edge in (start, end))
        for part in range(first, last + 1):
            overlap = min(end, low + (part + 1) * width) - max(start, low + part * width)
            parts[part] += rows * (overlap / (end - start) if end > start else 1 / (last - first + 1))
    return [round(part) for part in parts]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
