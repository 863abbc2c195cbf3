"""The test of a single batch run: what it finds at once, and how seldom many runs alarm without a change."""

from __future__ import annotations

import numpy as np
import pytest

from lading.monitor.discoveries import ALPHA
from lading.monitor.experts import ColumnReference
from lading.monitor.run_tests import RunEvidence, alarming, evidence_of_run
from lading.profile.live import LiveCounts
from support.live_columns import SIGNATURE, draw, reference

PROFILE = reference()
REFERENCES = {column.name: ColumnReference.of(column) for column in PROFILE.columns()}


def evidence(rows: int, seed: int, *, shift: float = 0.0) -> dict[str, RunEvidence]:
    """Return the evidence of a run whose age is `shift` standard deviations higher."""
    live = LiveCounts(PROFILE, SIGNATURE)
    live.add(*draw(rows, seed, shift=shift), rows)
    random = np.random.default_rng(seed)
    columns = zip(REFERENCES.items(), live.drain(), strict=True)
    return {name: evidence_of_run(known, counts, random) for (name, known), counts in columns}


@pytest.mark.parametrize("rows", [200, 5000, 30_000])
def test_one_run_shows_a_plain_shift_and_no_small_one(rows):
    assert list(alarming(evidence(rows, 1, shift=1.5), 1, ALPHA)) == ["age"]
    assert list(alarming(evidence(rows, 1, shift=2.0), 365, ALPHA)) == ["age"]
    # As large as the effects that runs are believed to have: PSI would call the second one a shift.
    assert alarming(evidence(rows, 1, shift=0.2), 1, ALPHA) == {}
    assert alarming(evidence(rows, 1, shift=0.4), 1, ALPHA) == {}


def test_no_rows_and_no_reference_say_nothing():
    nobody = ColumnReference((0, 0, 0, 0), ordered=True)
    random = np.random.default_rng(0)
    assert evidence_of_run(nobody, (0, 0, 5, 5), random) == RunEvidence(0.0)
    known = REFERENCES["age"]
    assert evidence_of_run(known, [0] * len(known.counts), random) == RunEvidence(0.0)
    assert alarming({}, 1, ALPHA) == {}


@pytest.mark.parametrize("rows", [200, 5000, 30_000])
def test_a_column_that_is_constant_or_often_missing_is_certain_after_one_run(rows):
    known, random = REFERENCES["age"], np.random.default_rng(0)
    usual = np.array(known.counts) / sum(known.counts)
    constant, missing, unseen = np.zeros(len(usual)), 0.6 * usual, 0.6 * usual
    constant[len(usual) // 2], missing[0], unseen[1] = 1, 0.4, 0.4
    for shares in (constant, missing, unseen):
        counts = random.multinomial(rows, shares / shares.sum()).tolist()
        assert alarming({"age": evidence_of_run(known, counts, random)}, 1, ALPHA)


def test_the_parts_of_the_level_add_up_to_it():
    # A test with the e-value of the whole level's reciprocal would have to wait for all runs at once.
    certain = {"age": RunEvidence(-np.log(ALPHA))}
    assert alarming(certain, 1, ALPHA) == {}
    parts = [1 / (1 + np.log1p(run - 1)) - 1 / (1 + np.log1p(run)) for run in range(1, 1000)]
    for run in (1, 10, 999):
        just = {"age": RunEvidence(float(-np.log(ALPHA * parts[run - 1]) + 1e-9))}
        assert alarming(just, run, ALPHA)
        assert not alarming(just, run + 1, ALPHA)
    assert sum(parts) < 1


@pytest.mark.slow
def test_runs_whose_rows_share_an_effect_alarm_no_more_often_than_stated():
    level, series, alarmed = 0.1, 100, 0
    for seed in range(series):
        random = np.random.default_rng(seed)
        found_any = False
        for run in range(1, 11):
            rows = int(random.choice([200, 1000, 5000]))
            live = evidence(rows, 1000 * seed + run, shift=random.normal(0, 0.2))
            found_any |= bool(alarming(live, run, level))
        alarmed += found_any
    # Ten would be as stated; the parts of later runs are still unspent.
    assert alarmed <= 5
