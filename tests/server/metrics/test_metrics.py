"""The metrics of a server: their sum over workers, through the life of workers and versions."""

from __future__ import annotations

import gc
import os
import weakref

import pytest

from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion
from lading.server.metrics import Metrics, is_gauge
from lading.server.metrics.shared_memory import SharedCounters, SharedMemory
from lading.server.process.compose import make_plane, metrics_page
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import expect_short, hosted, served_from
from support.metrics_page import samples, scraped


@pytest.fixture(scope="module")
def iris(tmp_path_factory) -> ServedVersion:
    return served_from(linear_bundle(tmp_path_factory.mktemp("metrics") / "iris"), version=3)


def plane_with(*versions: ServedVersion) -> DataPlane:
    plane = make_plane(ServeSettings())
    plane.publish(versions)
    return plane


def worker_of(memory: SharedMemory, number: int, served: ServedVersion) -> Metrics:
    memory.began(number, os.getpid())
    counters = SharedCounters(memory, number)
    counters.clear(is_gauge)
    return Metrics(plane_with(served), counters)


def test_requests_errors_rows_bytes_and_runs_are_counted_per_model_version_and_protocol(iris):
    expect_short(iris)  # A run that this machine delays would be run, and counted, once more.
    client = hosted(iris)
    for _ in range(3):
        client.post("/predict", {"data": [[1, 2, 3, 4]]})
    client.post("/models/iris/versions/3/predict", {"data": [[1, 2, 3, 4]] * 5})
    client.post("/predict", {"data": [[1, 2, "x", 4]]})
    client.get("/nowhere")
    values = scraped(client)
    by = "model=iris,protocol=native"
    assert values[f"lading_requests_total{{{by},status=200,version=3}}"] == 4
    assert values[f"lading_rows_total{{{by},version=3}}"] == 8
    assert values[f"lading_received_bytes_total{{{by},version=3}}"] > 4 * len('{"data":[[1,2,3,4]]}')
    assert values[f"lading_sent_bytes_total{{{by},version=3}}"] > 0
    assert values[f"lading_errors_total{{{by},reason=ValueRefused,version=3}}"] == 1
    assert values["lading_errors_total{model=,protocol=http,reason=RouteNotFound,version=}"] == 1
    assert values["lading_latency_seconds_count{model=iris,outcome=good,protocol=native,version=3}"] == 4
    assert values["lading_batch_rows_bucket{le=1,model=iris,version=3}"] == 3
    assert values["lading_batch_rows_bucket{le=8,model=iris,version=3}"] == 4
    assert values["lading_batch_rows_sum{model=iris,version=3}"] == 8
    assert 0 < values["lading_run_seconds_total{model=iris,version=3}"] < 1
    assert values["lading_last_request_timestamp_seconds{model=iris,version=3}"] > 1.7e9


def test_a_request_that_went_through_the_queue_is_counted_as_queued(iris, monkeypatch):
    monkeypatch.setattr(iris.model.inline_runs, "rows", 0)  # So that even this model is queued.
    client = hosted(iris)
    client.post("/predict", {"data": [[1, 2, 3, 4]] * 3})
    values = scraped(client)
    assert values["lading_queue_seconds_count{model=iris,protocol=native,version=3}"] == 1
    assert values["lading_batch_rows_sum{model=iris,version=3}"] == 3
    assert values["lading_rows_total{model=iris,protocol=native,version=3}"] == 3


@pytest.mark.slow
def test_a_version_that_is_gone_is_neither_shown_nor_kept_in_memory_but_its_counts_remain(tmp_path):
    old = served_from(linear_bundle(tmp_path / "old"), version=1)
    new = served_from(linear_bundle(tmp_path / "new", seed=1), version=2)
    plane = plane_with(old)
    metrics = Metrics(plane)
    metrics.counters_of(old, "native").count_answer(200, 0.001, None, 0, 0)
    metrics.publish()
    plane.publish([new])
    metrics.publish()
    summary = metrics.summary()
    assert [status.version for status in summary.versions] == ["2"]
    assert summary.requests["iris", "1", "native"].statuses == {200: 1}
    gone = weakref.ref(old)
    del old
    gc.collect()
    assert gone() is None


def test_any_worker_returns_the_sum_over_all(iris):
    memory = SharedMemory(2)
    first, second = (worker_of(memory, number, iris) for number in (1, 2))
    first.counters_of(iris, "native").count_answer(200, 0.001, None, 10, 20)
    second.counters_of(iris, "native").count_answer(200, 0.002, None, 10, 20)
    second.counters_of(iris, "oip").count_answer(400, 0.002, None, 10, 20)
    for worker in (first, second):
        worker.publish(connections=2)
    for worker in (first, second):
        values = samples(metrics_page(worker, "lading").decode())
        assert values["lading_requests_total{model=iris,protocol=native,status=200,version=3}"] == 2
        assert values["lading_requests_total{model=iris,protocol=oip,status=400,version=3}"] == 1
        assert values[f"lading_model_state{{digest={iris.digest},model=iris,state=ready,version=3}}"] == 2
        assert values["lading_workers{}"] == 2
        assert values["lading_worker_connections{worker=2}"] == 2


def test_the_counts_of_a_dead_worker_remain_and_its_gauges_are_gone(iris):
    memory = SharedMemory(2)
    first, second = (worker_of(memory, number, iris) for number in (1, 2))
    second.counters_of(iris, "native").count_answer(200, 0.002, None, 10, 20)
    second.publish()
    memory.ended(2)
    after = first.summary()
    assert after.requests["iris", "3", "native"].statuses == {200: 1}
    assert [worker.pid != 0 for worker in after.workers] == [True, False]
    assert after.versions == []
    successor = worker_of(memory, 2, iris)
    successor.counters_of(iris, "native").count_answer(200, 0.002, None, 10, 20)
    successor.publish()
    assert first.summary().requests["iris", "3", "native"].statuses == {200: 2}
    assert first.summary().workers[1].starts == 2
    assert first.summary().workers[1].cpu_s >= after.workers[1].cpu_s


def test_the_living_worker_with_the_lowest_number_is_the_first(iris):
    memory = SharedMemory(2)
    first, second = (worker_of(memory, number, iris) for number in (1, 2))
    assert (first.is_first, second.is_first) == (True, False)
    memory.ended(1)
    assert second.is_first
