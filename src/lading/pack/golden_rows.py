"""Which rows become golden samples. Draws none and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lading.bundle import MAX_ROWS
from lading.convert import Table
from lading.pack.margins import margins
from lading.pack.sampling import SEED
from lading.parity import Tolerance
from lading.signature import Array


def choose_rows(
    table: Table, expected: Mapping[str, Array], tolerance: Tolerance, *, most: int = MAX_ROWS
) -> Array:
    """Give up to `most` row indices, ascending: half of them nearest to another label, the rest by chance.

    Rows nearer to a tie than the tolerance are left out while there are others: on another machine their
    label may fall either way, and it would prove nothing. A column with missing values always shows one.
    """
    random = np.random.default_rng(SEED + 3)
    known = margins(expected) if "label" in expected else None
    rows = np.arange(table.rows)
    first: Array = rows[:0]
    if known is not None:
        clear = known.distance > 2 * (tolerance.atol + tolerance.rtol * known.size)
        rows = rows[clear] if clear.any() else rows
        first = rows[np.argsort(known.distance[rows], kind="stable")][: most // 2]
    rest = random.permutation(np.setdiff1d(rows, first))
    order = np.concatenate([_first_missing(table), first, rest])
    _, at = np.unique(order, return_index=True)
    return np.sort(order[np.sort(at)][:most])


def _first_missing(table: Table) -> Array:
    """Give, for each array with missing values, the first row that shows one."""
    rows = [
        int(np.isnan(array.reshape(len(array), -1)).any(axis=1).argmax())
        for name, array in table.arrays.items()
        if table.has_nan(name)
    ]
    return np.array(rows, dtype=np.intp)
