"""Accuracy by the labels that came, and estimated without: of which rows, and what is not known."""

from __future__ import annotations

import pytest

from lading.monitor.metrics import metrics_of
from lading.monitor.periods import period_parts
from lading.registry.open import open_catalog
from lading.traffic import FeedbackCounts, Window
from support.live_columns import BEGIN, DIGEST, HOUR_S, reference, window
from support.registries import registry_over

PERIOD = (BEGIN, BEGIN + 48 * HOUR_S)


@pytest.fixture
def registry(tmp_path):
    catalog = open_catalog(str(tmp_path / "registry"))
    yield registry_over(catalog)
    catalog.close()


def labels(registry, hour: int, right: int, wrong: int, **changes) -> None:
    values = {
        "name": "iris",
        "release": 1,
        "version": 1,
        "digest": DIGEST,
        "replica": "replica-1",
        "at": BEGIN + HOUR_S * hour,
        "seconds": 60.0,
        "feedback": FeedbackCounts(right=right, wrong=wrong),
        "id": f"{hour} {changes}",
    }
    registry.traffic.add_windows([Window(**{**values, **changes})])


def metrics(registry, profile, windows):
    return metrics_of(registry, windows[0], profile, period_parts(windows, *PERIOD), PERIOD, [PERIOD])


def test_accuracy_is_of_the_labels_of_this_version_in_the_period(registry):
    profile = reference(labelled=True)
    labels(registry, 1, 40, 10)
    labels(registry, 2, 50, 0)
    labels(registry, 1, 0, 70, digest=DIGEST.replace("1", "2"), version=2)
    labels(registry, -1, 0, 80)
    labels(registry, 48, 0, 90)
    known, _ = metrics(registry, profile, [window(profile, BEGIN, 1)])
    accuracy = known[0]
    assert (accuracy.kind, accuracy.value, accuracy.labelled, accuracy.rows) == ("accuracy", 0.9, 100, 3000)
    assert accuracy.lower < 0.9 < accuracy.upper
    assert accuracy.reference == profile.accuracy
    assert [(point.rows, point.value) for point in accuracy.history] == [(50, 0.8), (50, 1.0)]


def test_labels_of_more_rows_than_passed_are_not_more_than_all(registry):
    profile = reference(labelled=True)
    labels(registry, 1, 90, 10)
    known, _ = metrics(registry, profile, [window(profile, BEGIN, 1, rows=5, seen=50)])
    assert (known[0].labelled, known[0].rows) == (100, 100)


def test_accuracy_is_estimated_by_the_confidence_of_live_rows(registry):
    profile = reference(labelled=True)
    known, unknown = metrics(registry, profile, [window(profile, BEGIN, 1, rows=2000)])
    (estimate,) = known
    assert estimate.kind == "estimated accuracy"
    assert abs(estimate.value - profile.accuracy) < 0.05
    assert estimate.lower < estimate.value < estimate.upper
    assert (estimate.rows, len(estimate.history)) == (2000, 1)
    (sentence,) = unknown
    assert sentence.startswith("accuracy: no labels came in this period")


def test_what_is_needed_for_an_accuracy_is_said(registry):
    profile = reference()
    known, unknown = metrics(registry, profile, [window(profile, BEGIN, 1)])
    assert known == ()
    assert "`POST /models/iris/feedback` accepts them" in unknown[0]
    assert "`--reference-labels`" in unknown[1]
