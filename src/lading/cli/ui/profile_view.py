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
_MOST_DIFFERENCES = 8
_LEAST_SHIFT = 0.05  # Two halves of one data set of some hundred rows differ by as much.
_BARS = " ▁▂▃▄▅▆▇█"


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
    from lading.profile.described import missing_share, share_text, typical_text

    missing = missing_share(column)
    return ", ".join(
        filter(None, (typical_text(column), f"{share_text(missing)} missing" if missing else ""))
    )


def _row(side: str, column: ColumnProfile) -> Sequence[str]:
    from lading.profile.described import missing_share, range_text, share_text, typical_text

    missing = missing_share(column)
    return (
        side,
        column.name,
        column.kind,
        share_text(missing) if missing else "",
        range_text(column),
        typical_text(column),
        bars(column),
    )


def bars(column: ColumnProfile) -> str:
    """Return the distribution of a column as a line of bars: its categories, or its range in equal parts."""
    from lading.profile.described import bar_rows

    rows = bar_rows(column)
    most = max(rows, default=0)
    return "".join(_BARS[-(-each * 8 // most)] for each in rows).rstrip()
