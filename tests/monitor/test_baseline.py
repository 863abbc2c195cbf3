"""Logged requests as a reference: which records count, and what is known of labels."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import SamplesRefused
from lading.monitor.baseline import baseline_of
from lading.monitor.log.reader import open_log
from lading.signature import Signature, Tensor
from support.predictions import NOON, SIGNATURE, LogMaker, chunk, served


@pytest.fixture
def log(tmp_path):
    return LogMaker(tmp_path / "log")


def answered(first: int, rows: int, **more):
    """Return requests of one row each, whose lengths count up from `first`."""
    ids = [f"{first + at}" for at in range(rows)]
    lengths = np.arange(first, first + rows, dtype=np.float32)
    inputs = {"X": np.stack([lengths, np.zeros(rows, np.float32)], axis=1)}
    return chunk(ids, inputs=inputs, ended_at=[NOON + first + at for at in range(rows)], **more)


def baseline(log: LogMaker, since: float = NOON, until: float = NOON + 3600, **more):
    log.close()
    return baseline_of(open_log(str(log.root)), "iris", SIGNATURE, {}, since, until, **more)


def test_the_rows_of_the_period_that_were_answered_to_callers_are_the_reference(log):
    log.add(answered(0, 100))
    log.add(answered(100, 50, side="shadow"))
    failed = {"statuses": [500] * 50, "errors": ["RunFailed"] * 50, "outputs": {}}
    log.add(answered(200, 50, **failed))
    log.add(answered(5000, 50))
    profile = baseline(log)
    length = profile.inputs[0]
    assert (profile.source, profile.rows, length.name) == ("log", 100, "length")
    assert (length.minimum, length.maximum) == (0.0, 99.0)
    label = profile.outputs[0]
    assert sum(label.counts) == 100
    assert profile.labelled == 0


def test_a_condition_takes_a_part_of_the_log(log):
    log.add(answered(0, 100))
    profile = baseline(log, where="inputs.length < 40")
    assert (profile.rows, profile.inputs[0].maximum) == (40, 39.0)


def test_with_feedback_the_accuracy_of_the_labelled_rows_is_known(log):
    log.add(answered(0, 100))
    for at in range(60):
        log.label(str(at), f"class {at % 2}" if at < 45 else "another")
    profile = baseline(log)
    assert (profile.rows, profile.labelled, profile.right) == (100, 60, 45)


def test_rows_that_have_the_outputs_that_most_callers_ask_for_are_the_reference(log):
    both = Signature(
        inputs=SIGNATURE.inputs,
        outputs=(*SIGNATURE.outputs, Tensor(name="score", dtype="float32", shape=("batch",))),
    )
    labels = np.array(["yes", "no"] * 40, object)
    scores = np.linspace(0, 1, 80, dtype=np.float32)
    log.add(answered(0, 80, served=served(both), outputs={"label": labels, "score": scores}))
    log.add(answered(100, 20, served=served(both), outputs={"label": labels[:20]}))
    log.close()
    profile = baseline_of(open_log(str(log.root)), "iris", both, {}, NOON, NOON + 3600)
    assert profile.rows == 80
    assert {column.tensor for column in profile.outputs} == {"label", "score"}


def test_a_period_without_answers_is_refused(log):
    log.add(answered(0, 10))
    with pytest.raises(SamplesRefused, match="expected answered requests in that period") as refused:
        baseline(log, since=NOON + 7200, until=NOON + 9000)
    assert "lading log show iris" in refused.value.hint
