"""How the profile of a bundle is shown: a line, and a table of its columns. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lading.cli.ui import printing

if TYPE_CHECKING:
    from lading.profile import ColumnProfile, Profile
    from lading.profile.compare import ColumnDifference

HEADER = ("", "column", "kind", "missing", "range", "typical", "shares")
_MOST_COLUMNS = 60
_MOST_VALUES = 3
_MOST_DIFFERENCES = 8
_LEAST_SHIFT = 0.05  # Two halves of one data set of some hundred rows differ by as much.
_BARS = " ▁▂▃▄▅▆▇█"
_BAR_CELLS = 20
_LONGEST_VALUE = 24
_UNSEEN, _FIRST = 1, 2  # of `lading.profile`, whose numpy `--help` does not need


def profile_line(profile: Profile) -> str:
    """Return in one line what was measured: ``1,000 rows of reference data, accuracy 0.97``."""
    of = {"reference": "of reference data", "samples": "of samples", "log": "of logged requests"}
    line = f"{printing.plural(profile.rows, 'row')} {of[profile.source]}"
    if profile.accuracy is not None:
        line += f", accuracy {profile.accuracy:.4g}"
    return line if not profile.refused else f"{line}, {profile.refused} left out"


def profile_table(profile: Profile) -> None:
    """Print a row for each column."""
    sides = [("input", column) for column in profile.inputs]
    sides += [("output", column) for column in profile.outputs]
    printing.table(HEADER, [_row(side, column) for side, column in sides[:_MOST_COLUMNS]])
    if len(sides) > _MOST_COLUMNS:
        printing.info(f"{len(sides) - _MOST_COLUMNS} more columns, see `--json`")


def difference_rows(differences: Sequence[ColumnDifference]) -> list[tuple[str, str, str]]:
    """Return rows of a table for the columns that differ most, and one for how many do."""
    changed = [each for each in differences if each.shift >= _LEAST_SHIFT]
    rows = [
        (
            f"{each.side} `{each.name}`, {each.shift:.0%} of rows".replace("%", " %"),
            "none" if each.old is None else _summary(each.old),
            "none" if each.new is None else _summary(each.new),
        )
        for each in changed[:_MOST_DIFFERENCES]
    ]
    if len(changed) > _MOST_DIFFERENCES:
        more = printing.plural(len(changed) - _MOST_DIFFERENCES, "more column")
        rows.append((more, "differ", "see `--json`"))
    return rows


def _summary(column: ColumnProfile) -> str:
    missing = column.missing / column.rows if column.rows else 0.0
    return ", ".join(filter(None, (_typical(column), f"{_percent(missing)} missing" if missing else "")))


def _row(side: str, column: ColumnProfile) -> Sequence[str]:
    missing = column.missing / column.rows if column.rows else 0.0
    return (
        side,
        column.name,
        column.kind,
        _percent(missing) if missing else "",
        _range(column),
        _typical(column),
        bars(column),
    )


def _range(column: ColumnProfile) -> str:
    if column.minimum is None or column.maximum is None:
        return ""
    unit = " characters" if column.kind == "text" else ""
    if column.minimum == column.maximum:
        return f"{column.text(column.minimum)}{unit}"
    return f"{column.text(column.minimum)} – {column.text(column.maximum)}{unit}"


def _typical(column: ColumnProfile) -> str:
    if column.is_binned:
        if column.mean is None:
            return ""
        if column.deviation is None or column.kind == "timestamp":
            return column.text(column.mean)
        return f"{column.mean:.4g} ± {column.deviation:.3g}"
    present = sum(column.counts) - column.missing
    order = sorted(range(len(column.values)), key=lambda at: -column.counts[_FIRST + at])
    texts = [
        f"{_short(column.label(_FIRST + at))} {_percent(column.counts[_FIRST + at] / max(1, present))}"
        for at in order[:_MOST_VALUES]
    ]
    others = len(order) - _MOST_VALUES
    if others > 0:
        texts.append(f"{others} more")
    if column.counts[_UNSEEN]:
        texts.append(f"rare {_percent(column.counts[_UNSEEN] / present)}")
    return ", ".join(texts)


def bars(column: ColumnProfile) -> str:
    """Return the distribution of a column as a line of bars: its categories, or its range in equal parts."""
    counts = list(column.counts[_FIRST:])
    if column.is_binned:
        counts = _even(column)
    most = max(counts[:_BAR_CELLS], default=0)
    if most <= 0 or len(counts) < 2:
        return ""
    return "".join(_BARS[-(-count * 8 // most)] for count in map(int, counts[:_BAR_CELLS])).rstrip()


def _even(column: ColumnProfile) -> list[int]:
    """Return the rows in equal parts of the range, each bin spread evenly over its own: ``[parts]``."""
    low, high = column.minimum, column.maximum
    if low is None or high is None or not low < high:
        return []
    width = (high - low) / _BAR_CELLS
    edges = [low, *column.bounds, high]
    parts = [0.0] * _BAR_CELLS
    for at, rows in enumerate(column.counts[_FIRST:]):
        start, end = edges[at], edges[at + 1]
        first, last = (min(_BAR_CELLS - 1, max(0, int((edge - low) / width))) for edge in (start, end))
        for part in range(first, last + 1):
            overlap = min(end, low + (part + 1) * width) - max(start, low + part * width)
            parts[part] += rows * (overlap / (end - start) if end > start else 1 / (last - first + 1))
    return [round(part) for part in parts]


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{share:.1%}".replace("%", " %").replace(".0 ", " ")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
