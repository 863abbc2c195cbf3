"""The columns of a whole run beside those of the training data: one look, at all rows. Reads nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lading.batch.scoring import Done
from lading.monitor.distances import expected_psi, psi
from lading.profile import Profile
from lading.runs import ColumnDrift

SHIFTED = 0.1
"""A PSI that is usually called a shift; less is none, however certain it is."""

_DEVIATIONS = 6.0


def drift_of(profile: Profile | None, done: Sequence[Done]) -> tuple[ColumnDrift, ...]:
    """Return the columns of a run, in the order of the profile; none without a profile or without rows.

    A column has drifted if its PSI is beyond `SHIFTED` and beyond what is usual at random by six standard
    deviations: times its number of cells less one, PSI is then about chi-square.
    """
    counted = [each.counts for each in done if each.counts and each.scored]
    if profile is None or not counted:
        return ()
    columns = []
    for at, column in enumerate(profile.columns()):
        # Parts are counted by themselves: a sum over them is what one process would have counted.
        counts = np.sum([np.asarray(each[at]) for each in counted], axis=0)
        rows = float(counts.sum())
        if not rows or not sum(column.counts):
            continue
        distance, chance = psi(column.counts, counts.tolist()), expected_psi(column.counts, rows)
        freedom = max(1, sum(count > 0 for count in column.counts) - 1)
        limit = chance * (1 + _DEVIATIONS * math.sqrt(2 / freedom))
        columns.append(ColumnDrift(column.name, distance, chance, distance > max(SHIFTED, limit)))
    return tuple(columns)
