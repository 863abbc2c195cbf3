"""Windows of live columns: counted in the reference's cells, by a share of the rows where there are many."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lading.profile.measure import measure
from lading.server.observe.chunks import RowChunk
from lading.server.observe.columns import ROWS_A_SECOND, ColumnWindows
from support.bundles import linear_bundle
from support.hosted_app import served_from


@pytest.fixture
def served(tmp_path):
    version = served_from(linear_bundle(tmp_path / "iris"))
    rows = np.random.default_rng(0).standard_normal((1000, 4)).astype(np.float32)
    profile = measure(version.signature, {"X": rows}, version.run({"X": rows}))
    version.loaded = dataclasses.replace(version.model, profile=profile)
    return version


def chunk_of(served, rows: int, seed: int = 1, **changes) -> RowChunk:
    inputs = {"X": np.random.default_rng(seed).standard_normal((rows, 4)).astype(np.float32)}
    values = {
        "served": served,
        "release": 3,
        "rows": rows,
        "inputs": inputs,
        "outputs": served.run(inputs),
    }
    return RowChunk(**{**values, **changes})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_window_has_the_counts_of_the_rows_since_the_last_one(served):
    clock = Clock()
    columns = ColumnWindows("replica-1", clock=clock, window_s=30)
    first, second = chunk_of(served, 10), chunk_of(served, 5, seed=2)
    columns.add(first)
    columns.add(second)
    columns.rotate(1029.0)
    assert columns.drain() == []
    columns.rotate(1031.0)
    (window,) = columns.drain()
    assert (window.name, window.release, window.replica) == ("iris", 3, "replica-1")
    assert (window.rows, window.seen, window.at, window.seconds) == (15, 15, 1000.0, 31.0)
    expected = measure(
        served.signature,
        {"X": np.concatenate([first.inputs["X"], second.inputs["X"]])},
    )
    assert [sum(counts) for counts in window.counts] == [15] * len(window.counts)
    assert [column.rows for column in expected.inputs] == [15] * 4
    columns.rotate(1070.0)
    assert columns.drain() == []


def test_beyond_a_rate_a_random_share_of_the_rows_is_counted(served):
    clock = Clock()
    columns = ColumnWindows("replica-1", clock=clock, seed=0)
    for second in range(5):
        clock.now = 1000.0 + second
        columns.add(chunk_of(served, 3 * ROWS_A_SECOND, seed=second))
    columns.rotate(clock.now, last=True)
    (window,) = columns.drain()
    assert window.seen == 15 * ROWS_A_SECOND
    assert window.rows == 5 * ROWS_A_SECOND


def test_failed_requests_and_models_without_a_reference_are_not_counted(served, tmp_path):
    columns = ColumnWindows("replica-1")
    columns.add(chunk_of(served, 3, outputs={}))
    other = served_from(linear_bundle(tmp_path / "other", name="other"))
    columns.add(chunk_of(other, 3))
    columns.rotate(0.0, last=True)
    assert columns.drain() == []


def test_an_output_that_nobody_asked_for_is_not_counted(served):
    columns = ColumnWindows("replica-1")
    columns.add(chunk_of(served, 3, outputs={}))
    chunk = chunk_of(served, 3)
    columns.add(dataclasses.replace(chunk, outputs={"probabilities": chunk.outputs["probabilities"]}))
    columns.rotate(0.0, last=True)
    (window,) = columns.drain()
    profile = served.model.profile
    by_name = dict(zip([column.name for column in profile], map(sum, window.counts), strict=True))
    assert by_name["label"] == 0
    assert by_name["confidence of probabilities"] == 3


def test_a_baseline_replaces_the_profile_of_the_bundle_and_ends_the_window(served):
    columns = ColumnWindows("replica-1")
    columns.add(chunk_of(served, 3))
    rows = np.zeros((50, 4), np.float32)
    columns.set_baselines({"iris": measure(served.signature, {"X": rows}, source="log")})
    columns.add(chunk_of(served, 3))
    columns.rotate(0.0, last=True)
    before, after = columns.drain()
    assert before.profile != after.profile
    assert len(after.counts) == 4


def test_windows_that_could_not_be_delivered_come_first_the_next_time(served):
    clock = Clock()
    columns = ColumnWindows("replica-1", clock=clock)
    for now in (1000.0, 2000.0):
        clock.now = now
        columns.add(chunk_of(served, 1))
        columns.rotate(now, last=True)
        columns.put_back(columns.drain())
    assert [window.at for window in columns.drain()] == [1000.0, 2000.0]
