"""How two profiles differ, column by column: the largest difference of shares. Tests no hypothesis.

Whether live rows drift is another question, which needs the counts of one profile's cells; here two versions
were measured on data of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from lading.profile import FIRST, MISSING, UNSEEN, ColumnProfile, Profile
from lading.signature import Array


class ColumnDifference(msgspec.Struct, frozen=True):
    """A column of two profiles: ``shift`` is the share of rows that would have to move, from 0 to 1.

    One of ``old`` and ``new`` is None if the column is in one profile only; ``shift`` is 1 then, and where
    the kinds cannot be compared.
    """

    side: str
    name: str
    shift: float
    old: ColumnProfile | None
    new: ColumnProfile | None


def profile_differences(old: Profile, new: Profile) -> list[ColumnDifference]:
    """Return the columns of both profiles, those that differ most first."""
    differences = [*_side("input", old.inputs, new.inputs), *_side("output", old.outputs, new.outputs)]
    return sorted(differences, key=lambda difference: -difference.shift)


def _side(
    side: str, old: tuple[ColumnProfile, ...], new: tuple[ColumnProfile, ...]
) -> Iterator[ColumnDifference]:
    before, after = ({column.name: column for column in columns} for columns in (old, new))
    for name in dict.fromkeys((*before, *after)):
        first, second = before.get(name), after.get(name)
        shift = 1.0 if first is None or second is None else column_shift(first, second)
        yield ColumnDifference(side, name, shift, first, second)


def column_shift(old: ColumnProfile, new: ColumnProfile) -> float:
    """Return which share of rows differs between two columns: 0 for the same shares, 1 for none in common.

    Of categories it is half of the sum of all differences of shares; of bins the largest difference of the
    shares up to a bound, or of the shares of missing values if that is larger.
    """
    if not old.rows or not new.rows:
        return 0.0 if old.rows == new.rows else 1.0
    if old.is_binned and new.is_binned:
        return max(_largest_step(old, new), abs(old.missing / old.rows - new.missing / new.rows))
    if old.is_binned or new.is_binned:
        # Few values became many, or the other way round.
        return 1.0
    before, after = _shares(old), _shares(new)
    return sum(abs(before.get(key, 0.0) - after.get(key, 0.0)) for key in before | after) / 2


def _shares(column: ColumnProfile) -> dict[object, float]:
    keys: list[object] = [("cell", MISSING), ("cell", UNSEEN), *column.values]
    return {key: count / column.rows for key, count in zip(keys, column.counts, strict=True)}


def _largest_step(old: ColumnProfile, new: ColumnProfile) -> float:
    points = np.array(sorted({*old.bounds, *new.bounds, *_ends(old), *_ends(new)}))
    if not len(points):
        return 0.0
    return float(np.abs(_cumulative(old, points) - _cumulative(new, points)).max())


def _ends(column: ColumnProfile) -> tuple[float, ...]:
    return () if column.minimum is None or column.maximum is None else (column.minimum, column.maximum)


def _cumulative(column: ColumnProfile, points: Array) -> Array:
    """Return the share of values up to each point, as if rows were spread evenly within a bin."""
    ends = _ends(column)
    if not ends:
        return np.zeros(len(points))
    edges = np.array([ends[0], *column.bounds, ends[1]])
    shares = np.cumsum([0, *column.counts[FIRST:]]) / max(1, sum(column.counts[FIRST:]))
    return np.interp(points, edges, shares)
