"""What waits runs as one: limits, order and failures, with a real model and real threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from lading.errors import DeadlineExceeded, QueueFull, RunFailed
from lading.server.inference.batcher import Batcher, BatchLimits, RowLimit
from lading.server.inference.job import Job
from lading.server.inference.loaded import Cost
from lading.server.inference.run import Run
from lading.server.inference.version import ServedVersion
from lading.signature import Signature
from support.hosted_app import served_from
from support.inference_jobs import Sink, random_job
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.waiting import wait_until


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def batcher(served) -> Iterator[Batcher]:
    batcher = Batcher(served, BatchLimits())
    yield batcher
    batcher.stop()


@pytest.fixture
def hold(served, runtime, sink):
    """A function that submits a job to a batcher and holds its run at the gate."""

    def submit_first(batcher: Batcher) -> Job:
        runtime.gate.clear()
        first = random_job(served)
        batcher.submit(first, sink.deliver)
        assert runtime.entered.wait(10)
        return first

    yield submit_first
    runtime.gate.set()


def test_jobs_that_wait_while_the_model_is_busy_run_as_one_and_each_gets_its_rows(
    served, runtime, batcher, sink, hold
):
    hold(batcher)
    jobs = [random_job(served, rows=rows, seed=rows) for rows in (1, 3, 2)]
    for job in jobs:
        batcher.submit(job, sink.deliver)
    runtime.gate.set()
    sink.wait(4)
    assert runtime.rows == [1, 6]
    assert sink.calls == 2
    for job in jobs:
        alone = served.run(job.inputs, job.outputs)
        np.testing.assert_allclose(job.result["probabilities"], alone["probabilities"], rtol=1e-6)


def test_what_ran_for_clients_is_shown_once_and_what_ran_beside_them_is_not(served, runtime, sink, hold):
    seen: list[Run] = []
    batcher = Batcher(served, BatchLimits(), show=seen.append)
    hold(batcher)  # For no client.
    jobs = [random_job(served, rows=rows, seed=rows) for rows in (1, 3, 2)]
    for job in jobs:
        job.exchange = object()
        batcher.submit(job, sink.deliver)
    runtime.gate.set()
    sink.wait(4)
    hold(batcher)
    batcher.submit(random_job(served, rows=9), sink.deliver)  # One that only measures, among them.
    batcher.submit(jobs[0], sink.deliver)
    runtime.gate.set()
    sink.wait(7)
    assert batcher.stop(10)
    assert [run.rows for run in seen] == [6, 1]


def test_an_idle_model_runs_each_job_immediately(served, runtime, batcher, sink):
    for seed in range(3):
        batcher.submit(random_job(served, seed=seed), sink.deliver)
        sink.wait(seed + 1)
    assert runtime.rows == [1, 1, 1]


def test_merged_rows_stay_within_the_limit(served, runtime, sink):
    batcher = Batcher(served, BatchLimits(max_rows=4))
    runtime.gate.clear()
    for _ in range(6):
        batcher.submit(random_job(served, rows=2), sink.deliver)
    runtime.gate.set()
    sink.wait(6)
    assert max(runtime.rows) <= 4
    assert sum(runtime.rows) == 12
    batcher.stop()


def test_a_full_queue_refuses_with_the_time_to_retry(served, runtime, sink, hold):
    batcher = Batcher(served, BatchLimits(max_queue=2))
    hold(batcher)
    batcher.submit(random_job(served), sink.deliver)
    batcher.submit(random_job(served), sink.deliver)
    with pytest.raises(QueueFull, match="fewer than 2 waiting") as caught:
        batcher.submit(random_job(served), sink.deliver)
    assert caught.value.retry_after_s >= 1
    runtime.gate.set()
    sink.wait(3)
    batcher.stop()


def test_a_cancelled_job_is_not_run(served, runtime, batcher, sink, hold):
    hold(batcher)
    gone = random_job(served)
    gone.cancelled = True
    batcher.submit(gone, sink.deliver)
    runtime.gate.set()
    sink.wait(2)
    assert runtime.rows == [1]
    assert gone.result is None


def test_a_job_past_its_deadline_gets_the_error_and_is_not_run(served, runtime, batcher, sink):
    late = random_job(served)
    late.deadline = time.monotonic() - 1
    batcher.submit(late, sink.deliver)
    sink.wait(1)
    assert isinstance(late.error, DeadlineExceeded)
    assert runtime.rows == []


def test_a_defect_in_one_run_fails_its_job_and_not_the_thread(served, runtime, batcher, sink, caplog):
    rows, runtime.rows = runtime.rows, None  # Now a run raises what no caller expects.
    batcher.submit(random_job(served), sink.deliver)
    sink.wait(1)
    runtime.rows = rows
    batcher.submit(random_job(served), sink.deliver)
    sink.wait(2)
    assert isinstance(sink.jobs[0].error, RunFailed)
    assert sink.jobs[1].result is not None
    assert "AttributeError" in caplog.text


def test_jobs_that_wait_are_finished_when_the_batcher_stops(served, runtime, sink, hold):
    batcher = Batcher(served, BatchLimits(max_rows=2))
    hold(batcher)
    for _ in range(4):
        batcher.submit(random_job(served), sink.deliver)
    stopping = threading.Thread(target=batcher.stop)
    stopping.start()
    wait_until(lambda: batcher.depth == 5)  # The four jobs, and the end behind them.
    runtime.gate.set()
    stopping.join()
    assert len(sink.jobs) == 5
    assert all(job.result is not None for job in sink.jobs)


def test_the_row_limit_rises_by_steps_and_falls_by_a_quarter():
    limit = RowLimit(most=64, target_s=0.01, rows=32, step=8)
    limit.observe(rows=10, took_s=0.001)
    assert limit.rows == 32
    for _ in range(10):
        limit.observe(rows=limit.rows, took_s=0.001)
    assert limit.rows == 64
    limit.observe(rows=64, took_s=0.02)
    assert limit.rows == 48
    for _ in range(50):
        limit.observe(rows=limit.rows, took_s=0.02)
    assert limit.rows == 1


def test_one_slow_run_of_few_rows_does_not_lower_the_limit():
    limit = RowLimit(most=1024, target_s=0.05, rows=512)
    limit.observe(rows=1, took_s=0.5)
    assert limit.rows == 512
    limit.observe(rows=400, took_s=0.06)
    assert limit.rows == 300


def test_a_cancelled_job_takes_no_place_in_the_queue(served, runtime, sink, hold):
    batcher = Batcher(served, BatchLimits(max_queue=2))
    first = hold(batcher)
    waiting = [random_job(served) for _ in range(2)]
    for job in waiting:
        batcher.submit(job, sink.deliver)
    for job in (*waiting, waiting[0]):  # Cancelled twice counts once.
        job.cancel()
    assert batcher.depth == 0
    for _ in range(2):
        batcher.submit(random_job(served), sink.deliver)
    with pytest.raises(QueueFull):
        batcher.submit(random_job(served), sink.deliver)
    runtime.gate.set()
    sink.wait(5)
    assert batcher.depth == 0
    assert runtime.rows == [1, 2]
    first.cancel()  # Done already.
    assert batcher.depth == 0
    batcher.stop()


def test_a_queue_delay_waits_for_others(served, runtime, sink):
    batcher = Batcher(served, BatchLimits(max_rows=2, max_delay_s=10))  # Two rows end the delay.
    batcher.submit(random_job(served), sink.deliver)
    wait_until(lambda: batcher.depth == 0)
    batcher.submit(random_job(served), sink.deliver)
    sink.wait(2)
    batcher.stop()
    assert runtime.rows == [2]


def test_without_a_queue_delay_nothing_waits_for_others(served, runtime, sink):
    batcher = Batcher(served, BatchLimits(max_rows=2))
    batcher.submit(random_job(served), sink.deliver)
    sink.wait(1)
    batcher.submit(random_job(served), sink.deliver)
    sink.wait(2)
    batcher.stop()
    assert runtime.rows == [1, 1]


def test_jobs_of_different_shapes_are_not_tried_as_one(served, runtime, batcher, sink, hold):
    rows_tried: list[int] = []

    def run(inputs, outputs=None):
        rows_tried.append(len(inputs["X"]))
        return {"probabilities": inputs["X"]}

    hold(batcher)
    served.run = run
    for width in (4, 3, 3):
        job = random_job(served)
        job.inputs = {"X": np.zeros((1, width), np.float32)}
        batcher.submit(job, sink.deliver)
    runtime.gate.set()
    sink.wait(4)
    assert rows_tried == [1, 2]


def test_a_model_without_a_batch_dimension_is_not_merged(tmp_path, sink):
    inputs, outputs = [tensor("X", "float32", 2)], [tensor("Y", "float32", 2)]
    signature, values = Signature(tuple(inputs), tuple(outputs)), {"X": np.ones(2, np.float32)}
    bundle = bundle_of(tmp_path / "b", graph([node("Neg", "X", "Y")], inputs, outputs), signature, values)
    served = served_from(bundle)
    runs: list[int] = []
    batcher = Batcher(served, BatchLimits(max_delay_s=0.1), lambda rows, _: runs.append(rows))
    for _ in range(3):
        batcher.submit(Job(served, values, None, lambda outputs: outputs), sink.deliver)
    sink.wait(3)
    batcher.stop()
    assert runs == [1, 1, 1]
    assert all(job.result["Y"].tolist() == [-1, -1] for job in sink.jobs)


def test_a_model_too_slow_for_the_target_merges_within_twice_the_time_of_one_row(served, runtime, sink, hold):
    served.adopt(replace(served.model, cost=Cost(10.0, 0.0)))
    # No run takes less than a target of 0 s: only the time of one row keeps the limit from falling.
    batcher = Batcher(served, BatchLimits(latency_target_s=0.0))
    hold(batcher)
    for seed in range(72):
        batcher.submit(random_job(served, seed=seed), sink.deliver)
    runtime.gate.set()
    sink.wait(73)
    batcher.stop()
    assert runtime.rows == [1, 32, 40]


def test_jobs_that_could_not_run_as_one_are_recorded_as_the_runs_they_were(served, sink):
    def split(inputs, outputs=None):
        if len(inputs["X"]) > 1:
            raise RunFailed("rows", expected="one", found="more")
        return ServedVersion.run(served, inputs, outputs)

    served.run = split
    runs: list[int] = []
    limits = BatchLimits(max_rows=2, max_delay_s=10)
    batcher = Batcher(served, limits, lambda rows, _took_s: runs.append(rows))
    for job in (random_job(served), random_job(served)):
        batcher.submit(job, sink.deliver)
    sink.wait(2)
    batcher.stop()
    assert runs == [1, 1]
    assert [job.batch.rows for job in sink.jobs] == [1, 1]
