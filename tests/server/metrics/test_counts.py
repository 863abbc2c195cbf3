"""The counts of requests and runs: each fact counted once, in the right place, quickly."""

from __future__ import annotations

import timeit

import pytest

from lading import errors
from lading.server.grpc import STATUS as GRPC_STATUS
from lading.server.inference.job import BatchRecord, Job
from lading.server.inference.version import ServedVersion
from lading.server.metrics import Metrics
from lading.server.metrics.counts import (
    BATCH_BOUNDS,
    BOUNDS_S,
    REASONS,
    REQUESTS,
    RUNS,
    SHOWN_BOUNDS_S,
    STATUSES,
    TFS_BOUNDS_S,
    RequestCounters,
    RunCounters,
)
from lading.server.metrics.shared_memory import CounterStore, PrivateCounters, SharedCounters, SharedMemory
from lading.server.process.compose import make_plane
from lading.server.protocols import STATUS
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import served_from


@pytest.fixture(scope="module")
def iris(tmp_path_factory) -> ServedVersion:
    return served_from(linear_bundle(tmp_path_factory.mktemp("counts") / "iris"))


@pytest.fixture
def counters() -> RequestCounters:
    return RequestCounters([0.0] * REQUESTS.size)


def test_every_status_and_reason_has_a_counter():
    assert set(STATUS.values()) <= set(STATUSES)
    assert {code.name for code in GRPC_STATUS.values()} <= set(STATUSES)
    assert {kind.__name__ for kind in errors.leaves()} <= set(REASONS)


def test_new_counters_have_counted_nothing(counters):
    assert (counters.statuses, counters.errors, counters.rows, counters.run_s) == ({}, {}, 0, 0.0)


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_counted_as_itself(counters, status):
    counters.count_answer(status, 0.5, None, 0, 0)
    assert counters.statuses == {status: 1}
    is_good = status in (200, 202, 204, "OK")
    assert (counters.good.count, counters.bad.count) == ((1, 0) if is_good else (0, 1))


@pytest.mark.parametrize("kind", errors.leaves())
def test_an_error_is_counted_by_its_name(counters, kind):
    counters.count_error(kind("x"))
    assert counters.errors == {kind.__name__: 1}


def test_an_unknown_status_and_an_unknown_error_are_counted_as_other(counters):
    counters.count_answer(418, 0.5, None, 0, 0)
    counters.count_error(errors.LadingError("x"))
    assert counters.statuses == {"other": 1}
    assert counters.errors == {"other": 1}


def test_what_was_refused_before_it_was_a_request_has_no_latency(counters):
    counters.count_unread(431)
    assert counters.statuses == {431: 1}
    assert counters.bad.count == 0


@pytest.mark.parametrize("took_s", [0.0, 1e-5, 0.0001, 0.00010001, 0.3, 10.0, 1e6])
def test_a_latency_is_counted_under_every_bound_that_is_not_below_it(counters, took_s):
    counters.count_answer(200, took_s, None, 0, 0)
    for bounds in (SHOWN_BOUNDS_S, TFS_BOUNDS_S, BOUNDS_S):
        assert counters.good.cumulative(bounds) == [float(took_s <= bound) for bound in bounds]
    assert counters.good.count == 1
    assert counters.good.total_s == took_s


@pytest.mark.parametrize("rows", [1, 2, 3, 1024, 1025])
@pytest.mark.parametrize("is_queued", [False, True])
def test_rows_are_counted_once(counters, iris, rows, is_queued):
    job = Job(iris, {}, None, dict, rows=rows)
    job.batch = BatchRecord(rows, queued_s=0.01) if is_queued else None
    counters.count_answer(200, 0.1, job, 0, 0)
    assert counters.rows == rows
    assert counters.unqueued_rows == (0 if is_queued else rows)
    assert sum(counters.runs_by_rows) == (0 if is_queued else 1)
    assert counters.queued.count == (1 if is_queued else 0)
    assert len(counters.runs_by_rows) == len(BATCH_BOUNDS) + 1


def test_requests_that_ran_as_one_without_a_queue_are_one_run_with_the_rows_of_all(counters, iris):
    jobs = [Job(iris, {}, None, dict, rows=rows) for rows in (1, 4, 2)]
    for job in jobs:
        job.run_s, job.batch = 0.25, BatchRecord(7, leads_run=job is jobs[0])
        counters.count_answer(200, 0.5, job, 0, 0)
    assert counters.rows == counters.unqueued_rows == 7
    assert counters.run_s == 0.25
    runs = zip(BATCH_BOUNDS, counters.runs_by_rows, strict=False)
    assert {bound: count for bound, count in runs if count} == {8: 1}
    assert counters.queued.count == 0
    assert counters.in_model_s == 0.75, "each was in the model as long as the run took"


def test_each_request_of_a_queued_batch_was_in_the_model_as_long_as_the_run(counters, iris):
    for rows in (1, 3):
        job = Job(iris, {}, None, dict, rows=rows)
        job.run_s, job.batch = 0.25, BatchRecord(4, queued_s=0.0)
        counters.count_answer(200, 0.5, job, 0, 0)
    assert counters.in_model_s == 0.5
    assert counters.run_s == 0.0, "the run is counted once, by the batcher"


def test_a_run_of_the_queue_is_counted_with_its_rows_and_seconds():
    runs = RunCounters([0.0] * RUNS.size)
    runs.count_run(3, 0.25)
    runs.count_run(5000, 0.5)
    assert (runs.run_s, runs.rows) == (0.75, 5003)
    assert runs.by_rows == [0, 0, 1, *[0] * 8, 1]


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["private", "shared"])
def test_counting_a_request_costs_about_a_microsecond_at_most(iris, kind):
    store: CounterStore = PrivateCounters(1) if kind == "private" else SharedCounters(SharedMemory(2), 1)
    metrics = Metrics(make_plane(ServeSettings()), store)
    job = Job(iris, {}, None, dict)
    job.run_s = 5e-6

    def count() -> None:
        metrics.counters_of(iris, "native").count_answer(200, 1.3e-5, job, 40, 60)

    numbers, twenty = store.counters(("twenty",), 20), range(20)

    def add() -> None:
        for at in twenty:
            numbers[at] += 1.0

    number, ours, adding = 1000, [], []
    for _ in range(200):  # Interleaved, so that a slow moment of the machine falls on both.
        ours.append(timeit.timeit(count, number=number) / number)
        adding.append(timeit.timeit(add, number=number) / number)
    # About as long as to add to twenty numbers of that kind: a microsecond, and two or three on an old
    # machine.
    assert min(ours) < 2 * min(adding), (min(ours), min(adding))
