"""Accuracy by the slices that a bundle states, in the status and in the report."""

from __future__ import annotations

import json
import time

import pytest

from lading.registry import Registry
from support.bundles import linear_bundle
from support.sliced_models import SlicedLog, sliced_bundle


@pytest.fixture
def pushed(tmp_path, registry):
    """Push a bundle with the slice `region`; return it."""
    bundle = sliced_bundle(tmp_path / "sliced")
    with Registry.open(str(registry)) as opened:
        opened.push(bundle)
    return bundle


@pytest.fixture
def logged(pushed, registry):
    """Log two hours with labels, in one region of which every answer is wrong."""
    log, hour = SlicedLog(registry / "log", pushed), time.time() // 3600 * 3600
    for at in (2, 1):
        log.hour(hour - 3600 * at, 400, at, {"east": 0.0})
    log.flush()


@pytest.mark.slow
@pytest.mark.usefixtures("logged")
def test_the_slices_of_the_bundle_are_given_with_the_worst_first(lading, tmp_path):
    _, out, err = lading("monitor", "status", "iris", "--json")
    metrics = [each for each in json.loads(out)["metrics"] if each["slice"]]
    assert metrics[0]["slice"] == "region = east", err
    assert {each["slice"] for each in metrics} == {
        f"region = {name}" for name in ("north", "south", "east", "west")
    }
    assert metrics[0]["value"] == 0.0
    _, out, _ = lading("monitor", "status", "iris")
    assert "accuracy, region = east" in out
    lading("monitor", "report", "iris")
    assert "region = east" in (tmp_path / "iris-report.html").read_text()


@pytest.mark.usefixtures("logged")
def test_a_column_that_is_asked_for_replaces_the_slices_of_the_bundle(lading):
    _, out, _ = lading("monitor", "status", "iris", "--by", "amount", "--json")
    slices = {each["slice"] for each in json.loads(out)["metrics"] if each["slice"]}
    assert slices
    assert all(name.startswith("amount ") for name in slices)


@pytest.mark.usefixtures("pushed")
def test_without_a_log_one_line_says_that_slices_are_not_known(lading):
    code, out, _ = lading("monitor", "status", "iris")
    assert code == 0
    (line,) = [line for line in out.splitlines() if "ccuracy by `region`" in line]
    assert "prediction log" in line
    assert "expected a log, found none" in line


def test_without_labels_one_line_says_so(lading, pushed, registry):
    log = SlicedLog(registry / "log", pushed)
    log.add(time.time() - 3000, 50, 0)
    log.flush()
    code, out, _ = lading("monitor", "status", "iris")
    assert code == 0
    assert "ccuracy by `region`: too few logged requests of this period have a label" in out


def test_a_bundle_without_slices_says_nothing_of_them(lading, tmp_path, registry):
    with Registry.open(str(registry)) as opened:
        opened.push(linear_bundle(tmp_path / "plain"))
    code, out, _ = lading("monitor", "status", "iris")
    assert code == 0
    assert "ccuracy by" not in out
