"""Accuracy by slices: of logged rows that have a label, by the cells of a column."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import InputUnknown
from lading.monitor.baseline import baseline_of
from lading.monitor.log.reader import open_log
from lading.monitor.sliced import slice_metrics
from lading.profile.measure import measure
from lading.runtime.open import load_runtime
from support.bundles import linear_bundle, linear_rows
from support.predictions import NOON, LogMaker, chunk, served

ROWS = 1200
PERIOD = (NOON - 86_400, NOON + 86_400)


@pytest.fixture
def logged(tmp_path):
    """Return a bundle, its log, and the profile; each row above the median of the first column is wrong."""
    bundle, log = linear_bundle(tmp_path / "iris"), LogMaker(tmp_path / "log")
    inputs = {"X": linear_rows(rows=ROWS)}
    runtime = load_runtime(bundle)
    answers = runtime.run(inputs)
    runtime.close()
    ids = [f"{at:04d}" for at in range(ROWS)]
    version = served(bundle.manifest.signature, name="iris")
    log.add(chunk(ids, rows=[1] * ROWS, served=version, inputs=inputs, outputs=answers))
    names = [bundle.manifest.labels[str(value)] for value in answers["label"].tolist()]
    for at, name in enumerate(names[: ROWS // 2]):
        wrong = inputs["X"][at, 0] > np.median(inputs["X"][:, 0])
        log.label(ids[at], "another" if wrong else name)
    log.flush()
    return bundle, open_log(str(log.root)), measure(bundle.manifest.signature, inputs), inputs["X"]


@pytest.mark.slow
def test_the_slice_in_which_answers_are_wrong_comes_first(logged):
    bundle, log, profile, rows = logged
    name = profile.inputs[0].name
    signature, labels = bundle.manifest.signature, bundle.manifest.labels
    metrics = slice_metrics(log, "iris", signature, labels, profile, [name], PERIOD)
    assert metrics[0].value == 0.0
    assert metrics[-1].value == 1.0
    assert metrics[0].lower <= metrics[0].value <= metrics[0].upper < 0.5
    assert all(metric.slice.startswith(f"{name} ") and metric.labelled >= 20 for metric in metrics)
    assert sum(metric.labelled for metric in metrics) <= ROWS // 2
    right = sum(round(metric.value * metric.labelled) for metric in metrics)
    assert right <= int((rows[: ROWS // 2, 0] <= np.median(rows[:, 0])).sum())


def test_a_column_that_the_model_does_not_have_is_refused_with_those_that_it_has(logged):
    bundle, log, profile, _ = logged
    signature, labels = bundle.manifest.signature, bundle.manifest.labels
    with pytest.raises(InputUnknown, match="`nix`") as caught:
        slice_metrics(log, "iris", signature, labels, profile, ["nix"], PERIOD)
    assert profile.inputs[0].name in str(caught.value.message)


def test_another_version_has_slices_of_its_own(logged):
    bundle, log, profile, _ = logged
    signature, labels = bundle.manifest.signature, bundle.manifest.labels
    names = [profile.inputs[0].name]
    assert slice_metrics(log, "iris", signature, labels, profile, names, PERIOD, version=9) == ()


@pytest.mark.slow
def test_logged_requests_are_a_reference_with_calibration_by_the_labels_that_came(logged):
    bundle, log, _, rows = logged
    signature, labels = bundle.manifest.signature, bundle.manifest.labels
    profile = baseline_of(log, "iris", signature, labels, *PERIOD)
    assert (profile.source, profile.rows, profile.labelled) == ("log", ROWS, ROWS // 2)
    assert profile.right == int((rows[: ROWS // 2, 0] <= np.median(rows[:, 0])).sum())
    assert profile.calibration is not None
    assert sum(profile.calibration.rows) == ROWS // 2
    expected = measure(signature, {"X": rows})
    assert [column.counts for column in profile.inputs] == [column.counts for column in expected.inputs]
    assert np.isclose(profile.inputs[0].mean, expected.inputs[0].mean)
