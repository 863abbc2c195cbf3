"""Alarms over many tests: closed testing of averages."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest

from lading.monitor.discoveries import adjusted, alarm_of


@dataclass
class Evidence:
    log_e: float


def by_definition(values):
    """Return for each test the least average of e-values over all sets that it is in."""
    sets = [
        chosen
        for size in range(1, len(values) + 1)
        for chosen in itertools.combinations(range(len(values)), size)
    ]
    return [
        min(np.mean([values[i] for i in chosen]) for chosen in sets if at in chosen)
        for at in range(len(values))
    ]


def test_adjusted_values_are_the_least_average_over_every_set():
    rng = np.random.default_rng(4)
    for tests in range(1, 8):
        values = np.exp(rng.normal(0, 3, size=tests))
        assert np.exp(adjusted(np.log(values))) == pytest.approx(by_definition(values))
    many = rng.normal(0, 3, size=(5, 6))
    assert adjusted(many) == pytest.approx(np.array([adjusted(row) for row in many]))


def test_twenty_columns_alarm_at_twenty_times_the_threshold_or_earlier_together():
    quiet = {f"x{at}": Evidence(-1.0) for at in range(19)}
    assert alarm_of(quiet | {"y": Evidence(math.log(2001))}) == {"y": pytest.approx(math.log(100), abs=0.01)}
    assert alarm_of(quiet | {"y": Evidence(math.log(1900))}) == {}
    together = {f"x{at}": Evidence(math.log(150)) for at in range(20)}
    assert len(alarm_of(together)) == 20


def test_the_strongest_alarm_comes_first_and_no_test_is_no_alarm():
    states = {"a": Evidence(10.0), "b": Evidence(12.0), "c": Evidence(0.0)}
    assert list(alarm_of(states)) == ["b", "a"]
    assert alarm_of({}) == {}
