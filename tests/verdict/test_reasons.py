"""How the reasons of a verdict weigh."""

from __future__ import annotations

import pytest

from lading.verdict.reasons import weight_of


@pytest.mark.parametrize(
    ("reason", "weight"),
    [
        ("errors: candidate 9 % of 50; harm is certain beyond 99 % (e-value 300 ≥ 200)", "harm"),
        ("no traffic: no request to the candidate for 60 s, at most 60 s are waited", "harm"),
        ("not enough yet: harm is certain, but not without one group of callers; a person decides", "harm"),
        ("errors: candidate 0 % of 5; not enough yet: 3 % of the evidence that the limit is kept", "pending"),
        (
            "accuracy: unknown; not enough yet: no evidence; `max_accuracy_drop = false` leaves it out",
            "pending",
        ),
        ("outputs: distance unknown of 0 from 0; no evidence", "unknown"),
        ("outputs: distance 0.010 of 90 from 800; no sign of harm, but not proved", "unknown"),
        ("errors: candidate 0 % of 500; within the limit, certain beyond 95 %", "fine"),
    ],
)
def test_a_reason_weighs_by_its_words(reason, weight):
    assert weight_of(reason) == weight
