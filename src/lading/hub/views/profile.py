"""The profile of a bundle: a row for each column of the reference data, with the bars of its values."""

from __future__ import annotations

from itertools import islice
from typing import Literal

import msgspec

from lading.profile import ColumnProfile, Profile
from lading.profile.described import bar_rows, missing_share, range_text, typical_parts, typical_text


class ProfileRow(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the reference. ``bars`` are the rows of equal parts of its range, or of its categories.

    ``typical`` is one text of the three parts after it: the most frequent values, how many ``others`` there
    are, and the share of ``rare`` ones, empty for none.
    """

    side: Literal["input", "output"]
    name: str
    kind: str
    rows: int
    missing: float
    range: str
    typical: str
    frequent: str
    others: int
    rare: str
    bars: list[int]


class ProfilePanel(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and the first columns of `of`."""

    source: str
    rows: int
    refused: int
    accuracy: float | None
    columns: list[ProfileRow]
    of: int


def profile_panel(profile: Profile, most: int) -> ProfilePanel:
    """Return a profile with its first `most` columns, those of inputs first."""
    sides = [("input", column) for column in islice(profile.inputs, most)]
    sides += [("output", column) for column in islice(profile.outputs, most - len(sides))]
    return ProfilePanel(
        source=profile.source,
        rows=profile.rows,
        refused=profile.refused,
        accuracy=profile.accuracy,
        columns=[profile_row(column, is_output=side == "output") for side, column in sides],
        of=len(profile.inputs) + len(profile.outputs),
    )


def profile_row(column: ColumnProfile, *, is_output: bool = False) -> ProfileRow:
    """Return a column as people read it."""
    frequent, others, rare = typical_parts(column)
    return ProfileRow(
        side="output" if is_output else "input",
        name=column.name,
        kind=column.kind,
        rows=column.rows,
        missing=missing_share(column),
        range=range_text(column),
        typical=typical_text(column),
        frequent=frequent,
        others=others,
        rare=rare,
        bars=bar_rows(column),
    )
