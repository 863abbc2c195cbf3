"""What makes a version ready: memory, proof, and the measured cost of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from lading.errors import GoldenMismatch, MemoryShort
from lading.server.inference.loaded import LoadedModel
from lading.server.inference.version import ServedVersion, State
from lading.server.loading import loader
from lading.server.loading.loader import check_memory, inline_runs, measure, prepare
from lading.signature import Array
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.surprising_models import by_rows, by_value


def test_a_prepared_version_is_warm_but_not_ready(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    served = ServedVersion("iris", 1, bundle.digest)
    assert prepare(served, bundle, threads=1) == 16
    assert served.state is State.WARMING
    assert served.model.cost.first_row_s > 0


def test_a_model_that_needs_more_memory_than_is_free_is_not_loaded(tmp_path, monkeypatch):
    bundle = linear_bundle(tmp_path / "iris")
    # No test can fill the memory of the machine.
    monkeypatch.setattr(loader, "memory_available", lambda: 1_000_000)
    served = ServedVersion("iris", 1, bundle.digest)
    with pytest.raises(MemoryShort, match=r"loading `iris:1`: expected .* MB of free memory, found 1 MB"):
        check_memory(served, bundle)
    monkeypatch.setattr(loader, "memory_available", lambda: None)
    check_memory(served, bundle)


def test_a_version_whose_golden_samples_differ_frees_its_runtime(tmp_path, monkeypatch):
    bundle = linear_bundle(tmp_path / "iris")
    served = ServedVersion("iris", 1, bundle.digest)

    def differ(*_arguments: object) -> None:
        raise GoldenMismatch("output `label`, row 3")

    monkeypatch.setattr(loader, "replay", differ)
    with pytest.raises(GoldenMismatch):
        prepare(served, bundle, threads=1)
    with pytest.raises(Exception, match="closed"):
        served.model.runtime.run(bundle.samples().inputs, None)


class TimedRuntime:
    """A runtime whose runs take as long as it says, on a clock of its own."""

    inputs = outputs = ()

    def __init__(self, first_row_s: float, further_row_s: float) -> None:
        self.now = 0.0
        self.largest_run = 0
        self._first_row_s = first_row_s
        self._further_row_s = further_row_s

    def clock(self) -> float:
        return self.now

    def run(self, inputs: Mapping[str, Array], _outputs: Sequence[str] | None) -> dict[str, Array]:
        (rows,) = {len(array) for array in inputs.values()}
        self.now += self._first_row_s + self._further_row_s * (rows - 1)
        self.largest_run = max(self.largest_run, rows)
        return {}

    def close(self) -> None:
        pass


def test_the_cost_of_a_run_is_that_of_one_row_and_of_each_further_row(tmp_path):
    model = served_from(linear_bundle(tmp_path / "iris")).model
    runtime = TimedRuntime(0.001, 0.0001)
    cost = measure(replace(model, runtime=runtime), clock=runtime.clock)
    assert (cost.first_row_s, cost.further_row_s) == pytest.approx((0.001, 0.0001))
    assert runtime.largest_run == 32


def test_the_cost_of_a_very_fast_model_is_measured_with_more_rows(tmp_path):
    model = served_from(linear_bundle(tmp_path / "iris")).model
    runtime = TimedRuntime(0.00001, 0.0000001)
    cost = measure(replace(model, runtime=runtime), clock=runtime.clock)
    assert (cost.first_row_s, cost.further_row_s) == pytest.approx((0.00001, 0.0000001))
    assert runtime.largest_run == 512


def short_rows(model: LoadedModel, first_row_s: float, further_row_s: float) -> dict[object, int]:
    """Return what is known of a model's runs where they take so long."""
    runtime = TimedRuntime(first_row_s, further_row_s)
    cost = measure(replace(model, runtime=runtime), clock=runtime.clock)
    return inline_runs("iris:1", model, cost).short_rows


def test_runs_of_as_many_rows_as_were_measured_are_short_or_of_fewer_that_are(tmp_path):
    model = served_from(linear_bundle(tmp_path / "iris")).model
    assert short_rows(model, 0.00001, 0.0000001) == {(): 512}
    assert short_rows(model, 0.0001, 0.000001) == {(): 32}
    assert short_rows(model, 0.0001, 0.00003) == {(): 4}
    assert short_rows(model, 0.0001, 0.001) == {(): 1}
    assert short_rows(model, 0.0003, 0.0) == {}


def test_a_model_whose_rows_run_as_they_came_is_known_by_all_golden_rows_at_once(tmp_path):
    assert served_from(by_rows(tmp_path / "b")).model.inline_runs.short_rows == {(): 4}


def test_a_model_that_follows_values_has_no_short_run_and_the_log_names_the_operator(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "lading.server"):
        runs = served_from(by_value(tmp_path / "b")).model.inline_runs
    assert runs.short_rows == {}
    for _ in range(5):
        runs.ran([{"X": np.array([[1]])}], 1)
    assert runs.rows == 0
    assert "surprising:1: every run is queued: values of a request decide how much `Loop` does" in caplog.text
