"""The counts: what is counted, what it costs, how workers' counts become one, and the page."""

from __future__ import annotations

import os
import re
import timeit
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lading import errors
from lading.server.grpc import STATUS as GRPC_STATUS
from lading.server.inference import dataplane
from lading.server.inference.job import BatchRecord, Job
from lading.server.inference.version import ServedVersion, State
from lading.server.metrics import Metrics, Requests, Stats, is_gauge
from lading.server.metrics.counts import (
    BATCH_BOUNDS,
    BOUNDS_S,
    REASONS,
    REQUESTS_SIZE,
    SHOWN_BOUNDS_S,
    STATUSES,
    TFS_BOUNDS_S,
)
from lading.server.metrics.shared_memory import Cells, PrivateCells, SharedCells, SharedMemory
from lading.server.process.compose import make_plane, metrics_page
from lading.server.protocols import STATUS
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import AppClient, hosted, served_from

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
ROW = {"data": [[1, 2, 3, 4]]}


@pytest.fixture(scope="module")
def iris(tmp_path_factory) -> ServedVersion:
    return served_from(linear_bundle(tmp_path_factory.mktemp("metrics") / "iris"), version=3)


def samples(text: str) -> dict[str, float]:
    """Give the samples of a page by name and labels, as the text format writes them."""
    found = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(one.labels.items()))
            found[f"{one.name}{{{labels}}}"] = one.value
    return found


def scraped(asked: AppClient, path: str = "/metrics") -> dict[str, float]:
    return samples(asked.get(path).text)


def plane_with(*versions: ServedVersion):
    plane = make_plane(ServeSettings())
    plane.publish(versions)
    return plane


def test_requests_errors_rows_bytes_and_runs_are_counted_per_model_version_and_protocol(iris):
    asked = hosted(iris)
    for _ in range(3):
        asked.post("/predict", ROW)
    asked.post("/models/iris/versions/3/predict", {"data": [[1, 2, 3, 4]] * 5})
    asked.post("/predict", {"data": [[1, 2, "x", 4]]})
    asked.get("/nowhere")
    found = scraped(asked)
    by = "model=iris,protocol=native"
    assert found[f"lading_requests_total{{{by},status=200,version=3}}"] == 4
    assert found[f"lading_rows_total{{{by},version=3}}"] == 8
    assert found[f"lading_received_bytes_total{{{by},version=3}}"] > 4 * len('{"data":[[1,2,3,4]]}')
    assert found[f"lading_sent_bytes_total{{{by},version=3}}"] > 0
    assert found[f"lading_errors_total{{{by},reason=ValueRefused,version=3}}"] == 1
    assert found["lading_errors_total{model=,protocol=http,reason=RouteNotFound,version=}"] == 1
    assert found["lading_latency_seconds_count{model=iris,outcome=good,protocol=native,version=3}"] == 4
    assert found["lading_batch_rows_bucket{le=1,model=iris,version=3}"] == 3
    assert found["lading_batch_rows_bucket{le=8,model=iris,version=3}"] == 4
    assert found["lading_batch_rows_sum{model=iris,version=3}"] == 8
    assert 0 < found["lading_run_seconds_total{model=iris,version=3}"] < 1
    assert found["lading_last_request_timestamp_seconds{model=iris,version=3}"] > 1.7e9


def test_versions_show_their_state_and_workers_what_they_use(iris):
    found = scraped(hosted(iris))
    digest = iris.digest
    assert found[f"lading_model_state{{digest={digest},model=iris,state=ready,version=3}}"] == 1
    assert found[f"lading_model_state{{digest={digest},model=iris,state=failed,version=3}}"] == 0
    assert found["lading_workers{}"] == 1
    assert found["lading_worker_cpu_seconds_total{worker=0}"] > 0
    assert found["lading_worker_resident_bytes{worker=0}"] > 2**24
    assert found["lading_in_flight{model=iris,version=3}"] == 0
    assert found["lading_queue_depth{model=iris,version=3}"] == 0


def test_what_went_through_the_queue_is_counted_as_queued(iris, monkeypatch):
    monkeypatch.setattr(dataplane, "INLINE_S", 0.0)  # So that even this model is queued.
    asked = hosted(iris)
    asked.post("/predict", {"data": [[1, 2, 3, 4]] * 3})
    found = scraped(asked)
    assert found["lading_queue_seconds_count{model=iris,protocol=native,version=3}"] == 1
    assert found["lading_batch_rows_sum{model=iris,version=3}"] == 3
    assert found["lading_rows_total{model=iris,protocol=native,version=3}"] == 3


def test_a_version_that_is_gone_is_shown_and_held_no_more(tmp_path):
    old = served_from(linear_bundle(tmp_path / "old"), version=1)
    new = served_from(linear_bundle(tmp_path / "new", seed=1), version=2)
    plane = plane_with(old)
    metrics = Metrics(plane)
    metrics.of(old, "native").answered(200, 0.001, None, 0, 0)
    metrics.publish()
    plane.publish([new])
    metrics.publish()
    summary = metrics.summary()
    assert [one.version for one in summary.versions] == ["2"]
    assert summary.requests["iris", "1", "native"].statuses == {200: 1}
    assert all(served is not old for served, _ in metrics._known)


# Over workers.


def test_any_worker_gives_the_sum_over_all(iris):
    memory = SharedMemory(2)
    first, second = (worker_of(memory, number, iris) for number in (1, 2))
    first.of(iris, "native").answered(200, 0.001, None, 10, 20)
    second.of(iris, "native").answered(200, 0.002, None, 10, 20)
    second.of(iris, "oip").answered(400, 0.002, None, 10, 20)
    for one in (first, second):
        one.publish(connections=2)
    for one in (first, second):
        found = samples(metrics_page(one, "lading").decode())
        assert found["lading_requests_total{model=iris,protocol=native,status=200,version=3}"] == 2
        assert found["lading_requests_total{model=iris,protocol=oip,status=400,version=3}"] == 1
        assert found[f"lading_model_state{{digest={iris.digest},model=iris,state=ready,version=3}}"] == 2
        assert found["lading_workers{}"] == 2
        assert found["lading_worker_connections{worker=2}"] == 2


def test_what_a_dead_worker_counted_stays_and_its_present_is_gone(iris):
    memory = SharedMemory(2)
    first, second = (worker_of(memory, number, iris) for number in (1, 2))
    second.of(iris, "native").answered(200, 0.002, None, 10, 20)
    second.publish()
    memory.ended(2)
    after = first.summary()
    assert after.requests["iris", "3", "native"].statuses == {200: 1}
    assert [one.pid != 0 for one in after.workers] == [True, False]
    assert [one.states for one in after.versions] == []
    successor = worker_of(memory, 2, iris)
    successor.of(iris, "native").answered(200, 0.002, None, 10, 20)
    successor.publish()
    assert first.summary().requests["iris", "3", "native"].statuses == {200: 2}
    assert first.summary().workers[1].starts == 2
    assert first.summary().workers[1].cpu_s >= after.workers[1].cpu_s


def worker_of(memory: SharedMemory, number: int, served: ServedVersion) -> Metrics:
    memory.began(number, os.getpid())
    cells = SharedCells(memory, number)
    cells.clear(is_gauge)
    return Metrics(plane_with(served), cells)


def test_counts_of_another_process_are_seen_at_once(iris):
    memory = SharedMemory(2)
    ours = worker_of(memory, 1, iris)
    child = os.fork()
    if not child:
        theirs = SharedCells(memory, 2)
        Stats(theirs.block(("requests", "iris", "3", "native"), REQUESTS_SIZE)).answered(200, 1, None, 7, 7)
        os._exit(0)
    os.waitpid(child, 0)
    assert ours.summary().requests["iris", "3", "native"].received_bytes == 7


def test_full_memory_costs_counts_and_nothing_else(caplog):
    cells = SharedCells(SharedMemory(1), 1)
    for number in range(3000):
        cells.block(("requests", f"model-{number}"), REQUESTS_SIZE)[0] += 1
    assert len(cells.everyone()[0].blocks) < 3000
    assert [record.message for record in caplog.records] == [
        "no more room for counts: those of new versions are missing from /metrics"
    ]


# What can be counted.


def test_every_status_and_reason_has_a_place():
    assert set(STATUS.values()) <= set(STATUSES)
    assert {code.name for code in GRPC_STATUS.values()} <= set(STATUSES)
    assert {kind.__name__ for kind in errors.leaves()} <= set(REASONS)


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_counted_as_itself(status):
    stats = Stats(PrivateCells(1).block(("requests",), REQUESTS_SIZE))
    stats.answered(status, 0.5, None, 0, 0)
    assert stats.statuses == {status: 1}
    assert (stats.good.count, stats.bad.count) == ((1, 0) if status in (200, 202, 204, "OK") else (0, 1))


def test_an_unknown_status_and_an_unknown_error_are_counted_as_other():
    stats = Stats(PrivateCells(1).block(("requests",), REQUESTS_SIZE))
    stats.answered(418, 0.5, None, 0, 0)
    stats.failed(errors.LadingError("x"))
    assert stats.statuses == {"other": 1}
    assert stats.errors == {"other": 1}


@pytest.mark.parametrize("took_s", [0.0, 1e-5, 0.0001, 0.00010001, 0.3, 10.0, 1e6])
def test_a_latency_is_under_every_bound_that_is_not_below_it(took_s):
    stats = Stats(PrivateCells(1).block(("requests",), REQUESTS_SIZE))
    stats.answered(200, took_s, None, 0, 0)
    for bounds in (SHOWN_BOUNDS_S, TFS_BOUNDS_S, BOUNDS_S):
        assert stats.good.below(bounds) == [float(took_s <= bound) for bound in bounds]
    assert stats.good.count == 1
    assert stats.good.total_s == took_s


@pytest.mark.parametrize("rows", [1, 2, 3, 1024, 1025])
@pytest.mark.parametrize("merged", [False, True])
def test_rows_are_counted_once(iris, rows, merged):
    stats = Stats(PrivateCells(1).block(("requests",), REQUESTS_SIZE))
    job = Job(iris, {}, None, dict, rows=rows)
    job.batch = BatchRecord(rows, queued_s=0.01) if merged else None
    stats.answered(200, 0.1, job, 0, 0)
    assert stats.rows == rows
    assert stats.rows_at_once == (0 if merged else rows)
    assert sum(stats.runs_by_rows) == (0 if merged else 1)
    assert stats.queued.count == (1 if merged else 0)
    assert len(stats.runs_by_rows) == len(BATCH_BOUNDS) + 1


def test_requests_that_ran_as_one_are_one_run_with_the_rows_of_all(iris):
    stats = Stats(PrivateCells(1).block(("requests",), REQUESTS_SIZE))
    jobs = [Job(iris, {}, None, dict, rows=rows) for rows in (1, 4, 2)]
    for job in jobs:
        job.run_s, job.batch = 0.25, BatchRecord(7, leads_run=job is jobs[0])
        stats.answered(200, 0.5, job, 0, 0)
    assert stats.rows == stats.rows_at_once == 7
    assert stats.run_s == 0.25
    assert {bound: n for bound, n in zip(BATCH_BOUNDS, stats.runs_by_rows, strict=False) if n} == {8: 1}
    assert stats.queued.count == 0
    assert stats.in_model_s == 0.75, "each was in the model as long as the run took"


def test_of_requests_that_shared_a_run_each_was_in_the_model_as_long_as_it(iris):
    stats = Stats(PrivateCells(1).block(("requests",), REQUESTS_SIZE))
    for rows in (1, 3):
        job = Job(iris, {}, None, dict, rows=rows)
        job.run_s, job.batch = 0.25, BatchRecord(4, queued_s=0.0)
        stats.answered(200, 0.5, job, 0, 0)
    assert stats.in_model_s == 0.5
    assert stats.run_s == 0.0, "counted once, where the run is"


@pytest.mark.alone
@pytest.mark.parametrize("kept", ["alone", "shared"])
def test_counting_a_request_costs_about_a_microsecond_at_most(iris, kept):
    cells: Cells = PrivateCells(1) if kept == "alone" else SharedCells(SharedMemory(2), 1)
    metrics = Metrics(plane_with(iris), cells)
    job = Job(iris, {}, None, dict)
    job.run_s = 5e-6

    def count() -> None:
        metrics.of(iris, "native").answered(200, 1.3e-5, job, 40, 60)

    block, some = cells.block(("some",), 20), range(20)

    def add() -> None:
        for at in some:
            block[at] += 1.0

    number, ours, adding = 1000, [], []
    for _ in range(200):  # Interleaved, so that a slow moment of the machine falls on both.
        ours.append(timeit.timeit(count, number=number) / number)
        adding.append(timeit.timeit(add, number=number) / number)
    # About as long as to add to twenty cells of that kind: a microsecond, and two or three on an old machine.
    assert min(ours) < 2 * min(adding), (min(ours), min(adding))


# Names.


def test_triton_names_are_an_option(iris):
    asked = hosted(iris, metrics_names="triton")
    for _ in range(2):
        asked.post("/predict", {"data": [[1, 2, 3, 4]] * 3})
    found = scraped(asked)
    assert not [name for name in found if name.startswith("lading_")]
    of = "{model=iris,version=3}"
    assert found[f"nv_inference_request_success{of}"] == 2
    assert found[f"nv_inference_count{of}"] == 6
    assert found[f"nv_inference_exec_count{of}"] == 2
    assert (
        found[f"nv_inference_request_duration_us{of}"]
        > found[f"nv_inference_compute_infer_duration_us{of}"]
        > found[f"nv_inference_compute_input_duration_us{of}"]
        == found[f"nv_inference_compute_output_duration_us{of}"]
        == 0
    )
    assert found[f"nv_inference_pending_request_count{of}"] == 0


def test_tensorflow_serving_names_are_where_it_has_them(iris):
    asked = hosted(iris)
    for _ in range(2):
        asked.post("/v1/models/iris:predict", {"instances": [[1, 2, 3, 4]] * 3})
    text = asked.get("/monitoring/prometheus/metrics").text
    assert ':tensorflow:serving:request_count{model_name="iris",status="OK"} 2.0' in text
    assert ':tensorflow:serving:request_example_count_total{model="iris"} 6.0' in text
    latency = re.findall(r":tensorflow:serving:request_latency_bucket\{(.*?)\} (\S+)", text)
    assert len(latency) == 34
    assert latency[0] == ('API="predict",entrypoint="REST",le="10",model_name="iris"', "0.0")
    assert latency[-1] == ('API="predict",entrypoint="REST",le="+Inf",model_name="iris"', "2.0")


def test_failures_have_the_reasons_that_triton_has(iris):
    metrics = Metrics(plane_with(iris))
    stats = metrics.of(iris, "oip")
    for error in (errors.QueueFull("x"), errors.RunFailed("x"), errors.ValueRefused("x")):
        stats.answered(500, 0.1, None, 0, 0)
        stats.failed(error)
    for protocol, status in (("oip", 499), ("native", 499), ("oip-grpc", "CANCELLED")):
        metrics.of(iris, protocol).answered(status, 0.1, None, 0, 0)
    found = samples(metrics_page(metrics, "triton").decode())
    assert found["nv_inference_request_failure{model=iris,reason=CANCELED,version=3}"] == 3
    reasons = {name.split("reason=")[1].split(",")[0] for name in found if "request_failure" in name}
    assert reasons == {"REJECTED", "BACKEND", "OTHER", "CANCELED"}


def test_all_names_at_once_are_one_valid_page(iris):
    asked = hosted(iris, metrics_names="all")
    asked.post("/predict", ROW)
    names = {family.name for family in text_string_to_metric_families(asked.get("/metrics").text)}
    assert {"lading_requests", "nv_inference_count", ":tensorflow:serving:request_count"} <= names


def test_the_page_of_the_reference_lists_every_metric_with_its_labels(iris, monkeypatch):
    shown = {}
    text = busy_page(iris, monkeypatch)
    for family in text_string_to_metric_families(text):
        labels = {label for one in family.samples for label in one.labels} - {"le"}
        suffix = "_total" if family.type == "counter" else ""
        shown[family.name + suffix] = (" ".join(sorted(labels)), family.documentation)
    listed = {}
    for name, labels, _, meaning in re.findall(
        r"^\| `([\w:]+)` \| ([^|]*) \| ([^|]*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE
    ):
        listed[name] = (" ".join(sorted(re.findall(r"`(\w+)`", labels))), meaning)
    assert listed == shown


def busy_page(iris: ServedVersion, monkeypatch) -> str:
    """Give a page on which every family has a sample."""
    asked = hosted(iris, metrics_names="all")
    asked.post("/predict", ROW)
    asked.post("/predict", {"data": []})
    monkeypatch.setattr(dataplane, "INLINE_S", 0.0)
    asked.post("/predict", ROW)
    stats = asked.app.metrics.of(iris, "native")
    stats.answered(500, 0.1, None, 0, 0)
    stats.failed(errors.RunFailed("x"))
    return asked.get("/metrics").text


def test_states_are_named_as_everywhere(iris):
    found = scraped(hosted(iris))
    named = {name.split("state=")[1].split(",")[0] for name in found if name.startswith("lading_model_state")}
    assert named == {state.word for state in State}


def test_counts_read_like_counts():
    requests = Requests(PrivateCells(1).block(("requests",), REQUESTS_SIZE))
    assert (requests.statuses, requests.errors, requests.rows, requests.run_s) == ({}, {}, 0, 0.0)
