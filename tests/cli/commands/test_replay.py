"""``lading replay``: what it prints of a candidate, and the exit code that a pipeline goes by."""

from __future__ import annotations

import json

import pytest

from lading.runtime.open import load_runtime
from support.bundles import linear_bundle, linear_rows
from support.predictions import LogMaker, chunk, served

ROWS = 60


@pytest.fixture
def log(registry, filled, bundle):
    """Log what version 1 has answered; return its log."""
    inputs = {"X": linear_rows(rows=ROWS)}
    runtime = load_runtime(bundle)
    answers = runtime.run(inputs, None)
    runtime.close()
    log = LogMaker(registry / "log")
    ids = [f"{at:03d}" for at in range(ROWS)]
    log.add(chunk(ids, served=served(bundle.manifest.signature), inputs=inputs, outputs=answers))
    log.flush()
    return log


@pytest.mark.usefixtures("log")
def test_a_version_that_answers_alike_passes(lading):
    code, out, err = lading("replay", "iris:1", "--from-log")
    assert (code, err) == (0, "")
    assert "within tolerance  100.00% (60 of 60)" in out
    assert "answered by       version 1 (60 rows)" in out


@pytest.mark.usefixtures("log")
def test_a_version_that_answers_differently_is_refused_with_its_worst_rows(lading):
    code, out, err = lading("replay", "iris:2", "--from-log")
    assert code == 1
    assert "of the rows differ beyond the tolerance, expected at most 0.00%" in err
    assert "worst rows" in out


@pytest.mark.usefixtures("log")
def test_limits_decide_and_flips_alone_can_be_judged(lading):
    assert lading("replay", "iris:2", "--from-log", "--max-differing", "100%")[0] == 0
    code, _, err = lading("replay", "iris:2", "--from-log", "--max-flipped", "1%")
    assert code == 1
    assert "of the rows name another class, expected at most 1.00%" in err
    assert "tolerance" not in err
    assert lading("replay", "iris:2", "--from-log", "--max-flipped", "many")[0] == 2


@pytest.mark.usefixtures("log")
def test_the_outcome_as_json(lading):
    code, out, _ = lading("replay", "iris:1", "--from-log", "--limit", "10", "--json")
    answer = json.loads(out)
    assert code == 0
    assert (answer["agrees"], answer["replay"]["rows"], answer["model"]) == (True, 10, "iris")


@pytest.mark.usefixtures("log")
def test_nothing_to_replay_is_a_refusal(lading):
    code, _, err = lading("replay", "iris:1", "--from-log", "--until", "2026-11-01")
    assert code == 1
    assert "no logged request could be replayed" in err


@pytest.mark.usefixtures("log")
def test_a_model_that_needs_another_column_is_refused(lading, tmp_path):
    linear_bundle(tmp_path / "wide.bundle", features=5)
    code, _, err = lading("replay", tmp_path / "wide.bundle", "--from-log")
    assert code == 1
    assert "the log's" in err
