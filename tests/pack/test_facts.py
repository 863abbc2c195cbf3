"""What the packer states, and which rows the profile is measured of."""

from __future__ import annotations

import numpy as np
import pytest

from lading.convert.table import make_table
from lading.pack.facts import Facts, with_reference
from lading.pack.reference import Reference

SAMPLES, ROWS = (make_table(np.full((2, 2), value), "m") for value in (0.0, 1.0))


def facts(*, wanted: bool = True, synthetic: bool = False) -> Facts:
    return Facts(
        name="m",
        owner="o",
        purpose="",
        description="",
        metrics={},
        tolerance=None,
        labels=lambda _names, _signature: {},
        synthetic=synthetic,
        floats="auto",
        note=print,
        step=print,
        reference=Reference(wanted=wanted),
    )


def test_rows_of_reference_are_measured_before_samples():
    reference = with_reference(facts(), ROWS, SAMPLES, most=5).reference
    assert (reference.table, reference.of_samples, reference.most_answered) == (ROWS, False, 5)


def test_samples_are_measured_where_nothing_else_is_stated():
    reference = with_reference(facts(), None, SAMPLES).reference
    assert (reference.table, reference.of_samples) == (SAMPLES, True)


@pytest.mark.parametrize("options", [{"wanted": False}, {"synthetic": True}])
def test_samples_that_may_not_be_kept_or_are_not_wanted_are_not_measured(options):
    assert with_reference(facts(**options), None, SAMPLES).reference.table is None
