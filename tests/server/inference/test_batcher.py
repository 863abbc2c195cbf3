"""Merging, limits and failures, with a real model and real threads."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from lading.errors import DeadlineExceeded, ModelNotReady, QueueFull, RunFailed
from lading.runtime.open import load_runtime
from lading.server.inference.batcher import Batcher, BatchLimits, RowLimit
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.loaded import Cost, LoadedModel
from lading.server.inference.merging import run_jobs
from lading.server.inference.version import ServedVersion, State
from lading.signature import Signature
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.onnx_graphs import bundle_of, graph, node, tensor


class Observed(ServedVersion):
    """A served version that records the rows of each run and can be held up."""

    def watch(self) -> None:
        self.runs: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()

    def run(self, inputs, outputs=None):
        self.began.set()
        assert self.gate.wait(10)
        self.runs.append(len(inputs["X"]))
        return super().run(inputs, outputs)


@pytest.fixture
def served(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    one = Observed("iris", 1, bundle.digest)
    one.watch()
    one.adopt(LoadedModel.of(bundle, load_runtime(bundle, threads=1), one.label))
    one.advance(State.READY)
    return one


def job(served, rows: int = 1, outputs=("probabilities",), seed: int = 0) -> Job:
    data = np.random.default_rng(seed).standard_normal((rows, 4)).astype(np.float32)
    return Job(served, {"X": data}, outputs, lambda outputs: outputs, rows)


class Sink:
    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.calls = 0
        self.deliver = self._deliver

    def _deliver(self, jobs: list[Job]) -> None:
        self.calls += 1
        self.jobs += jobs

    def wait(self, count: int) -> None:
        until = time.monotonic() + 10
        while len(self.jobs) < count:
            assert time.monotonic() < until
            time.sleep(0.001)


def test_what_waits_while_the_model_is_busy_runs_as_one_and_each_gets_its_own_rows(served):
    batcher, sink = Batcher(served, BatchLimits()), Sink()
    served.gate.clear()
    first = job(served)
    batcher.submit(first, sink.deliver)
    assert served.began.wait(10)
    jobs = [job(served, rows=rows, seed=rows) for rows in (1, 3, 2)]
    for one in jobs:
        batcher.submit(one, sink.deliver)
    served.gate.set()
    sink.wait(4)
    assert served.runs == [1, 6]
    assert sink.calls == 2
    for one in jobs:
        alone = ServedVersion.run(served, one.inputs, one.outputs)
        np.testing.assert_allclose(one.result["probabilities"], alone["probabilities"], rtol=1e-6)
    batcher.stop()


def test_an_idle_model_runs_what_comes_at_once(served):
    batcher, sink = Batcher(served, BatchLimits()), Sink()
    for seed in range(3):
        batcher.submit(job(served, seed=seed), sink.deliver)
        sink.wait(seed + 1)
    assert served.runs == [1, 1, 1]
    batcher.stop()


def test_merged_rows_stay_within_the_limit(served):
    batcher, sink = Batcher(served, BatchLimits(max_rows=4)), Sink()
    served.gate.clear()
    for _ in range(6):
        batcher.submit(job(served, rows=2), sink.deliver)
    served.gate.set()
    sink.wait(6)
    assert max(served.runs) <= 4
    assert sum(served.runs) == 12
    batcher.stop()


def test_a_full_queue_refuses_with_the_time_to_retry(served):
    batcher, sink = Batcher(served, BatchLimits(max_queue=2)), Sink()
    served.gate.clear()
    batcher.submit(job(served), sink.deliver)
    assert served.began.wait(10)
    batcher.submit(job(served), sink.deliver)
    batcher.submit(job(served), sink.deliver)
    with pytest.raises(QueueFull, match="fewer than 2 waiting") as caught:
        batcher.submit(job(served), sink.deliver)
    assert caught.value.retry_after_s >= 1
    served.gate.set()
    sink.wait(3)
    batcher.stop()


def test_a_cancelled_job_is_not_run(served):
    batcher, sink = Batcher(served, BatchLimits()), Sink()
    served.gate.clear()
    batcher.submit(job(served), sink.deliver)
    assert served.began.wait(10)
    gone = job(served)
    gone.cancelled = True
    batcher.submit(gone, sink.deliver)
    served.gate.set()
    sink.wait(2)
    assert served.runs == [1]
    assert gone.result is None
    batcher.stop()


def test_a_job_past_its_deadline_gets_the_error_and_is_not_run(served):
    batcher, sink = Batcher(served, BatchLimits()), Sink()
    late = job(served)
    late.deadline = time.monotonic() - 1
    batcher.submit(late, sink.deliver)
    sink.wait(1)
    assert isinstance(late.error, DeadlineExceeded)
    assert served.runs == []
    batcher.stop()


def test_a_defect_in_one_run_is_told_and_ends_no_thread(served, caplog):
    batcher, sink = Batcher(served, BatchLimits()), Sink()
    run, served.runs = served.runs, None  # Now it raises what nobody foresaw.
    batcher.submit(job(served), sink.deliver)
    sink.wait(1)
    served.runs = run
    batcher.submit(job(served), sink.deliver)
    sink.wait(2)
    assert isinstance(sink.jobs[0].error, RunFailed)
    assert sink.jobs[1].result is not None
    assert "AttributeError" in caplog.text
    batcher.stop()


def test_one_bad_request_does_not_fail_its_neighbours(served):
    good, bad = job(served, seed=1), job(served, seed=2)
    bad.inputs = {"X": np.zeros((1, 5), np.float32)}
    run_jobs(served, [good, bad])
    assert good.error is None
    assert good.result["probabilities"].shape == (1, 3)
    assert isinstance(bad.error, RunFailed)


def test_jobs_that_ask_for_different_outputs_each_get_theirs(served):
    one, other, everything = job(served, outputs=("label",)), job(served), job(served, outputs=None)
    run_jobs(served, [one, other, everything])
    assert set(one.result) == {"label"}
    assert set(other.result) == {"probabilities"}
    assert set(everything.result) == {"label", "probabilities"}


def test_what_waits_is_finished_when_the_batcher_stops(served):
    batcher, sink = Batcher(served, BatchLimits(max_rows=2)), Sink()
    served.gate.clear()
    for _ in range(5):
        batcher.submit(job(served), sink.deliver)
    threading.Timer(0.02, served.gate.set).start()
    batcher.stop()
    assert len(sink.jobs) == 5
    assert all(one.result is not None for one in sink.jobs)


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


def test_who_has_gone_takes_no_place_in_the_queue(served):
    batcher, sink = Batcher(served, BatchLimits(max_queue=2)), Sink()
    served.gate.clear()
    batcher.submit(job(served), sink.deliver)
    assert served.began.wait(10)
    waiting = [job(served) for _ in range(2)]
    for one in waiting:
        batcher.submit(one, sink.deliver)
    for one in (*waiting, waiting[0]):  # Cancelled twice counts once.
        one.cancel()
    assert batcher.depth == 0
    for _ in range(2):
        batcher.submit(job(served), sink.deliver)
    with pytest.raises(QueueFull):
        batcher.submit(job(served), sink.deliver)
    served.gate.set()
    sink.wait(5)
    assert batcher.depth == 0
    assert served.runs == [1, 2]
    sink.jobs[0].cancel()  # Done already.
    assert batcher.depth == 0
    batcher.stop()


def test_a_delay_that_was_asked_for_waits_for_others(served):
    for delay_s, runs in ((0.3, [2]), (0.0, [1, 1])):
        served.runs.clear()
        batcher, sink = Batcher(served, BatchLimits(max_delay_s=delay_s)), Sink()
        batcher.submit(job(served), sink.deliver)
        time.sleep(0.1)
        batcher.submit(job(served), sink.deliver)
        sink.wait(2)
        batcher.stop()
        assert served.runs == runs


def test_what_does_not_fit_together_is_not_even_tried_as_one(served):
    tried: list[int] = []

    def run(inputs, outputs=None):
        tried.append(len(inputs["X"]))
        return {"probabilities": inputs["X"]}

    batcher, sink = Batcher(served, BatchLimits()), Sink()
    served.gate.clear()
    batcher.submit(job(served), sink.deliver)
    assert served.began.wait(10)
    served.run = run
    for width in (4, 3, 3):
        one = job(served)
        one.inputs = {"X": np.zeros((1, width), np.float32)}
        batcher.submit(one, sink.deliver)
    served.gate.set()
    sink.wait(4)
    batcher.stop()
    assert tried == [1, 2]


def test_a_model_with_a_fixed_batch_is_not_merged(tmp_path):
    inputs, outputs = [tensor("X", "float32", 2)], [tensor("Y", "float32", 2)]
    signature, rows = Signature(tuple(inputs), tuple(outputs)), {"X": np.ones(2, np.float32)}
    bundle = bundle_of(tmp_path / "b", graph([node("Neg", "X", "Y")], inputs, outputs), signature, rows)
    served = served_from(bundle)
    runs: list[int] = []
    batcher, sink = Batcher(served, BatchLimits(max_delay_s=0.1), lambda rows, _: runs.append(rows)), Sink()
    for _ in range(3):
        batcher.submit(Job(served, rows, None, lambda outputs: outputs), sink.deliver)
    sink.wait(3)
    batcher.stop()
    assert runs == [1, 1, 1]
    assert all(one.result["Y"].tolist() == [-1, -1] for one in sink.jobs)
    runs.clear()
    plane = DataPlane("m", batch=BatchLimits())
    jobs = [Job(served, rows, None, lambda outputs: outputs) for _ in range(2)]
    plane.run_together(jobs)
    assert all(one.result["Y"].tolist() == [-1, -1] for one in jobs)


def test_rows_larger_than_those_that_were_measured_run_in_the_thread(tmp_path):
    inputs, outputs = [tensor("X", "float32", "batch", "n")], [tensor("Y", "float32", "batch", "n")]
    signature, rows = Signature(tuple(inputs), tuple(outputs)), {"X": np.ones((3, 4), np.float32)}
    model = graph([node("Neg", "X", "Y")], inputs, outputs)
    served = served_from(bundle_of(tmp_path / "b", model, signature, rows))
    plane = DataPlane("m")

    def sized(count: int, width: int) -> Job:
        return Job(served, {"X": np.ones((count, width), np.float32)}, None, lambda outputs: outputs, count)

    assert plane.is_cheap(sized(1, 4))
    assert plane.is_cheap(sized(2, 3))
    assert not plane.is_cheap(sized(1, 5))
    large, sink = sized(2, 50), Sink()
    plane.publish([served])
    assert not plane.start(large, sink.deliver)
    sink.wait(1)
    plane.release(large)
    plane.close()
    assert (large.result["Y"] == -1).all()


def together(limits, served, *jobs):
    plane = DataPlane("iris", batch=limits)
    plane.publish([served])
    plane.run_together(list(jobs))
    return [one.error or one.result["probabilities"] for one in jobs]


def test_a_model_too_slow_for_the_target_merges_within_twice_the_time_of_one_row(served):
    served.adopt(replace(served.model, cost=Cost(0.01, 0.0)))
    run = served.run

    def slow(inputs, outputs=None):
        time.sleep(0.01)
        return run(inputs, outputs)

    served.run = slow
    batcher, sink = Batcher(served, BatchLimits(latency_target_s=0.001)), Sink()
    for number in range(60):
        batcher.submit(job(served, seed=number), sink.deliver)
    sink.wait(60)
    assert max(served.runs) >= 30
    batcher.stop()


def test_cheap_jobs_of_one_kind_run_as_one_and_each_gets_its_own(served):
    alone = [served.run(one.inputs)["probabilities"] for one in (job(served, 1), job(served, 2))]
    served.runs.clear()
    jobs = [job(served, 1), job(served, 2), job(served, 1, outputs=("label", "probabilities"))]
    one, two, three = together(BatchLimits(), served, *jobs)
    assert sorted(served.runs) == [1, 3]  # What asks for other outputs runs apart.
    assert np.allclose(one, alone[0], rtol=1e-6)
    assert np.allclose(two, alone[1], rtol=1e-6)
    assert np.allclose(three, alone[0], rtol=1e-6)
    assert [(one.batch.rows, one.batch.leads_run) for one in jobs[:2]] == [(3, True), (3, False)]
    assert jobs[2].batch is None


def test_cheap_jobs_keep_the_row_limit_and_may_not_be_merged_at_all(served):
    together(BatchLimits(max_rows=4), served, *[job(served, rows) for rows in (2, 3, 2, 1)])
    assert served.runs == [4, 4]
    served.runs.clear()
    together(BatchLimits(max_rows=1), served, *[job(served, 1) for _ in range(3)])
    assert served.runs == [1, 1, 1]


def test_a_version_that_is_being_unloaded_takes_no_more(served):
    served.advance(State.DRAINING)
    runtime, closing, go = served.model.runtime, threading.Event(), threading.Event()

    class Slow:
        def close(self):
            closing.set()
            go.wait(5)
            runtime.close()

    served.adopt(replace(served.model, runtime=Slow()))
    unloading = threading.Thread(target=served.unload, args=(5,))
    unloading.start()
    assert closing.wait(5)
    with pytest.raises(ModelNotReady):
        served.acquire()
    go.set()
    unloading.join()


def test_one_bad_cheap_request_does_not_fail_its_neighbours(served):
    good, bad = job(served, 1), job(served, 1)
    bad.inputs = {"X": np.zeros((1, 3), np.float32)}
    fitting, failed, other = together(BatchLimits(), served, good, bad, job(served, 1))
    assert isinstance(failed, RunFailed)
    assert fitting.shape == other.shape == (1, 3)


def test_jobs_that_could_not_run_as_one_are_counted_as_the_runs_they_were(served):
    def split(*given):
        if len(given[0]["X"]) > 1:
            raise RunFailed("rows", expected="one", found="more")
        return ServedVersion.run(served, *given)

    served.run = split
    jobs = [job(served), job(served)]
    together(BatchLimits(), served, *jobs)
    assert [one.batch for one in jobs] == [None, None]
    assert all(one.run_s > 0 for one in jobs)
    runs, sink = [], Sink()
    batcher = Batcher(served, BatchLimits(max_delay_s=0.05), lambda rows, _took_s: runs.append(rows))
    for one in (job(served), job(served)):
        batcher.submit(one, sink.deliver)
    sink.wait(2)
    batcher.stop()
    assert runs == [1, 1]
    assert [one.batch.rows for one in sink.jobs] == [1, 1]
