"""Logged requests through another model: agreement is exact, and what differs is found and shown."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import InputMissing
from lading.monitor.log.reader import open_log
from lading.monitor.replay import replay_log
from lading.runtime.open import load_runtime
from lading.server.observe.prediction_log import Privacy
from support.bundles import linear_bundle, linear_rows
from support.predictions import NOON, LogMaker, chunk, served
from support.small_models import echo_with_nan, people

ROWS = 300


def logged(tmp_path, bundle, inputs, *, outputs=None, name="iris", privacy=None) -> LogMaker:
    """Log what a bundle answers to `inputs`, two rows a request."""
    log = LogMaker(tmp_path / "log", privacy=privacy)
    runtime = load_runtime(bundle)
    rows = len(next(iter(inputs.values())))
    answers = runtime.run(inputs, outputs)
    runtime.close()
    ids = [f"{at:04d}" for at in range(rows // 2)]
    version = served(bundle.manifest.signature, name=name)
    log.add(chunk(ids, rows=[2] * len(ids), served=version, inputs=inputs, outputs=answers))
    log.flush()
    return log


def replayed(log: LogMaker, bundle, name="iris", **options):
    runtime = load_runtime(bundle)
    try:
        return replay_log(open_log(str(log.root)), name, bundle.manifest, runtime, **options)
    finally:
        runtime.close()


def iris_rows() -> dict[str, np.ndarray]:
    return {"X": linear_rows(rows=ROWS)}


def test_a_bundle_agrees_with_its_own_answers_to_the_last_bit(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    log = logged(tmp_path, bundle, iris_rows())
    outcome = replayed(log, bundle)
    assert (outcome.rows, outcome.differing, outcome.flipped, outcome.skipped) == (ROWS, 0, 0, 0)
    assert outcome.versions == {1: ROWS}
    assert outcome.worst == ()


def test_another_model_is_found_with_its_worst_rows_and_by_its_labels(tmp_path):
    bundle, other = linear_bundle(tmp_path / "iris"), linear_bundle(tmp_path / "other", seed=5)
    log = logged(tmp_path, bundle, iris_rows())
    runtime = load_runtime(bundle)
    truth = runtime.run(iris_rows(), ["label"])["label"]
    runtime.close()
    names = [bundle.manifest.labels[str(value)] for value in truth.tolist()]
    for at in range(ROWS // 2):
        log.label(f"{at:04d}", *names[2 * at : 2 * at + 2])
    log.flush()
    outcome = replayed(log, other)
    assert outcome.differing > ROWS / 2
    assert (outcome.labelled, outcome.logged_right) == (ROWS, ROWS)
    assert outcome.candidate_right == ROWS - outcome.flipped
    worst = outcome.worst[0]
    assert len(outcome.worst) == 5
    assert worst.logged.keys() == worst.candidate.keys() == {"label", "probabilities"}
    assert worst.id in {f"{at:04d}" for at in range(ROWS // 2)}


def test_only_the_outputs_that_callers_got_are_compared(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    log = logged(tmp_path, bundle, iris_rows(), outputs=["label"])
    outcome = replayed(log, bundle)
    assert (outcome.rows, outcome.differing) == (ROWS, 0)


def test_a_limit_and_a_condition_choose_what_is_replayed(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    log = logged(tmp_path, bundle, iris_rows())
    assert replayed(log, bundle, limit=7).rows == 7
    assert replayed(log, bundle, where="id < '0010'").rows == 20
    assert replayed(log, bundle, since=NOON + 140).rows == 20
    assert replayed(log, bundle, until=NOON).rows == 0


@pytest.mark.slow
def test_missing_values_and_texts_are_replayed(tmp_path):
    bundle = echo_with_nan(tmp_path / "echo", "echo")
    rows = np.array([[1, np.nan], [np.nan, 2], [3, 4], [0, -0.0]], np.float32)
    log = logged(tmp_path, bundle, {"x": rows}, name="echo")
    assert (replayed(log, bundle, "echo").rows, replayed(log, bundle, "echo").differing) == (4, 0)
    two = people(tmp_path / "people")
    texts = {"age": np.array([[1.5], [2]], np.float32), "city": np.array([["Zürich"], [""]], object)}
    log = logged(tmp_path / "more", two, texts, name="people")
    assert (replayed(log, two, "people").rows, replayed(log, two, "people").differing) == (2, 0)


@pytest.mark.parametrize(
    "privacy",
    [Privacy(excluded=frozenset({"city"})), Privacy(hashed=frozenset({"age"}), key=b"k" * 16)],
    ids=["excluded", "hashed"],
)
def test_a_column_that_is_not_in_the_log_as_it_was_cannot_be_replayed(tmp_path, privacy):
    bundle = people(tmp_path / "people")
    texts = {"age": np.array([[1], [2]], np.float32), "city": np.array([["a"], ["b"]], object)}
    log = logged(tmp_path, bundle, texts, name="people", privacy=privacy)
    with pytest.raises(InputMissing, match="the log's"):
        replayed(log, bundle, "people")


def test_columns_where_answers_differ_most_are_named(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    rows = iris_rows()
    answers = load_runtime(bundle).run(rows, None)
    wrong = rows["X"][:, 2] > 5.5
    answers["probabilities"][wrong] = 0.5
    log = LogMaker(tmp_path / "log")
    ids = [f"{at:04d}" for at in range(ROWS)]
    log.add(chunk(ids, served=served(bundle.manifest.signature), inputs=rows, outputs=answers))
    log.flush()
    outcome = replayed(log, bundle)
    assert outcome.differing == wrong.sum()
    best = outcome.slices[0]
    assert best.low > 5
    assert best.differing / best.rows > 0.7
