"""The rules that follow from a profile: what its rows never were, with a margin. Knows no stated rules.

A new row of the same distribution is beyond the extremes of `n` others with a chance of 2 / (n + 1), whatever
the distribution is, so a range without a margin would fail such rows all the time. Here each side gets the
distance from the median to its extreme as its margin, and 25 / n of that more, because few rows know their
extremes badly. Of a normal column that is six standard deviations and more. Of a column with tails as heavy
as those of Cauchy's distribution, one row in `n` is still beyond: a check never costs more than that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np

from lading.input_checks import Rule
from lading.profile import FIRST, UNSEEN, ColumnProfile, Profile
from lading.profile.columns import SUMMARISED_FROM
from lading.signature import Signature, Tensor

FEWEST_ROWS = 10
"""Of fewer rows no range follows."""

FEWEST_CERTAIN_ROWS = 100
"""Of fewer rows it does not follow that a column is never negative, never missing, or has no other value."""

MOST_FOLDED = 0.001
"""Categories are all that there are if the rare ones, which a profile does not keep, are a smaller share."""

_FEW_ROWS = 25
_LEAST_MARGIN = 1 / 8
_DAY_S = 86400.0


def profile_rules(profile: Profile, signature: Signature) -> Iterator[Rule]:
    """Return the rules that follow from the columns of a profile's inputs."""
    tensors = {tensor.name: tensor for tensor in signature.inputs}
    for name, columns in itertools.groupby(profile.inputs, key=lambda column: column.tensor):
        tensor = tensors.get(name)
        if tensor is None:
            continue
        own = list(columns)
        by_position = [column for column in own if not column.summary]
        if not tensor.columns and len(by_position) >= SUMMARISED_FROM and tensor.dtype != "string":
            # A pixel that was always black may be white once; the whole image still has its range.
            yield from _joint(name, by_position)
            own = [column for column in own if column.summary]
        for column in own:
            yield from _of_column(column, tensor)


def _of_column(column: ColumnProfile, tensor: Tensor) -> Iterator[Rule]:
    present = column.rows - column.missing
    if tensor.dtype == "string":
        yield from _of_texts(column, present)
    elif column.summary == "projection":
        return
    elif column.kind in ("number", "integer"):
        yield from _of_numbers(column, present)
    may_be_missing = tensor.dtype == "string" or tensor.allows_nan
    if may_be_missing and not column.missing and present >= FEWEST_CERTAIN_ROWS and not column.summary:
        yield _rule(column, "missing")


def _of_numbers(column: ColumnProfile, present: int) -> Iterator[Rule]:
    codes = () if column.summary else _all_values(column, present)
    if codes:
        yield _rule(column, "set", allowed=codes)
        return
    limits = number_limits(column, present)
    if limits is not None:
        yield _rule(column, "range", low=limits[0], high=limits[1])
    if column.kind == "integer" and present >= FEWEST_ROWS and not column.summary:
        yield _rule(column, "integer")


def _of_texts(column: ColumnProfile, present: int) -> Iterator[Rule]:
    if column.kind == "category":
        values = _all_values(column, present)
        if values:
            yield _rule(column, "set", allowed=values)
    elif column.kind == "text":
        limits = number_limits(column, present)
        if limits is not None:
            yield _rule(
                column, "length", low=max(1.0, math.floor(limits[0])), high=float(math.ceil(limits[1]))
            )
    elif column.kind == "timestamp" and column.minimum is not None and column.maximum is not None:
        limits = number_limits(column, present)
        if limits is not None:
            # Live times come after those of the reference, and so do the times that they look ahead to.
            ahead_s = max(_DAY_S, column.maximum - column.minimum)
            yield _rule(column, "time", low=min(limits[0], column.minimum - _DAY_S), ahead_s=ahead_s)


def _all_values(column: ColumnProfile, present: int) -> tuple[str | float, ...]:
    """Return all values that a column of categories or codes has, or nothing if it may have others."""
    # Each of them has ten rows or more: were others about as frequent, some would be here.
    if present < FEWEST_CERTAIN_ROWS or not column.values:
        return ()
    if column.counts[UNSEEN] > MOST_FOLDED * present:
        return ()
    if column.kind == "integer" and column.counts[UNSEEN]:
        return ()  # Numbers beside frequent ones are rather rare than wrong.
    return tuple(value for value in column.values if not isinstance(value, bool))


def number_limits(column: ColumnProfile, present: int) -> tuple[float, float] | None:
    """Return the least and greatest number that is no failure, or None if the rows do not say."""
    low, high = column.minimum, column.maximum
    if low is None or high is None or present < FEWEST_ROWS:
        return None
    if low == high:
        if present < FEWEST_CERTAIN_ROWS:
            return None
        # Embeddings of length 1 have norms of about 1; a column of one value has that value.
        margin = abs(low) / 2 if column.summary else 0.0
        return low - margin, high + margin
    middle, factor = _median(column, low, high), 1 + _FEW_ROWS / present
    least = _LEAST_MARGIN * (high - low)
    bottom = low - factor * max(middle - low, least)
    top = high + factor * max(high - middle, least)
    if present >= FEWEST_CERTAIN_ROWS:
        # The chance that a column that crosses zero does not do so in n rows, and then does, is 0.4 / n.
        bottom = max(bottom, 0.0) if low >= 0 else bottom
        top = min(top, 0.0) if high <= 0 else top
    return _rounded(bottom, top, high - low)


def _rounded(low: float, high: float, spread: float) -> tuple[float, float]:
    """Return limits as people can read them, each a tenth of the spread further out at most."""
    digits = 1 - math.floor(math.log10(spread))
    if not -300 < digits < 300:
        return low, high
    step = 10.0 ** abs(digits)
    if digits < 0:
        return math.floor(low / step) * step, math.ceil(high / step) * step
    return math.floor(low * step) / step, math.ceil(high * step) / step


def _median(column: ColumnProfile, low: float, high: float) -> float:
    """Return the upper end of the cell that has the median row, within the extremes."""
    counts = np.array(column.counts[FIRST:])
    at = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    if column.values and at < len(column.values):
        return min(max(float(column.values[at]), low), high)
    if column.bounds and at < len(column.bounds):
        return min(max(column.bounds[at], low), high)
    return (low + high) / 2


def _joint(name: str, columns: Iterable[ColumnProfile]) -> Iterator[Rule]:
    """Return the one range of all positions together."""
    known = [
        (column.minimum, column.maximum, column.rows - column.missing)
        for column in columns
        if column.minimum is not None and column.maximum is not None
    ]
    present = sum(count for _, _, count in known)
    if present < FEWEST_ROWS:
        return
    low, high = min(low for low, _, _ in known), max(high for _, high, _ in known)
    if low == high:
        return
    margin = (high - low) / 2 * (1 + _FEW_ROWS / present)
    bottom = 0.0 if low >= 0 and present >= FEWEST_CERTAIN_ROWS else low - margin
    bottom, top = _rounded(bottom, high + margin, high - low)
    yield Rule(tensor=name, column=name, kind="range", low=bottom, high=top)


def _rule(column: ColumnProfile, kind: str, **limits: object) -> Rule:
    where = {
        "tensor": column.tensor,
        "column": column.name,
        "position": column.position,
        "summary": column.summary,
    }
    return Rule(kind=kind, **where, **limits)  # type: ignore[arg-type]  # the fields of a rule, by name
