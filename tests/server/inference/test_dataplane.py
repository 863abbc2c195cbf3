"""Which version a job runs on, and in whose thread: here if it is cheap, else from a queue."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from lading.errors import DeadlineExceeded, ModelNotReady, OutputUnknown, RunFailed
from lading.server.inference.batcher import BatchLimits
from lading.server.inference.dataplane import DataPlane, check_outputs, rows_in
from lading.server.inference.inline_runs import InlineRuns
from lading.server.inference.job import Job
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.signature import Signature
from support.bundles import linear_bundle
from support.hosted_app import expect_long, served_from
from support.inference_jobs import Sink, random_job
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.waiting import wait_until


def plane_of(*versions: ServedVersion, **options) -> DataPlane:
    plane = DataPlane("iris", **options)
    plane.publish(versions)
    return plane


def run_together(limits: BatchLimits, served: ServedVersion, *jobs: Job) -> list:
    """Run cheap jobs together; return the outcome of each."""
    plane_of(served, batch=limits).run_together(list(jobs))
    return [job.error or job.result["probabilities"] for job in jobs]


def test_cheap_jobs_for_the_same_outputs_run_as_one_and_each_gets_its_rows(served, runtime):
    alone = [served.run(random_job(served, rows).inputs)["probabilities"] for rows in (1, 2)]
    runtime.rows.clear()
    jobs = [
        random_job(served, 1),
        random_job(served, 2),
        random_job(served, 1, outputs=("label", "probabilities")),
    ]
    outcomes = run_together(BatchLimits(), served, *jobs)
    assert sorted(runtime.rows) == [1, 3]  # The job for other outputs runs apart.
    for outcome, expected in zip(outcomes, (*alone, alone[0]), strict=True):
        assert np.allclose(outcome, expected, rtol=1e-6)
    assert [(job.batch.rows, job.batch.leads_run) for job in jobs[:2]] == [(3, True), (3, False)]
    assert jobs[2].batch is None


def test_cheap_jobs_keep_the_row_limit_and_a_limit_of_one_row_merges_nothing(served, runtime):
    run_together(BatchLimits(max_rows=4), served, *[random_job(served, rows) for rows in (2, 3, 2, 1)])
    assert runtime.rows == [4, 4]
    runtime.rows.clear()
    run_together(BatchLimits(max_rows=1), served, *[random_job(served, 1) for _ in range(3)])
    assert runtime.rows == [1, 1, 1]


def test_cheap_jobs_without_a_batch_dimension_run_each_alone(tmp_path):
    inputs, outputs = [tensor("X", "float32", 2)], [tensor("Y", "float32", 2)]
    signature, values = Signature(tuple(inputs), tuple(outputs)), {"X": np.ones(2, np.float32)}
    bundle = bundle_of(tmp_path / "b", graph([node("Neg", "X", "Y")], inputs, outputs), signature, values)
    served = served_from(bundle)
    jobs = [Job(served, values, None, lambda outputs: outputs) for _ in range(2)]
    DataPlane("m", batch=BatchLimits()).run_together(jobs)
    assert all(job.result["Y"].tolist() == [-1, -1] for job in jobs)


def test_one_bad_cheap_request_does_not_fail_its_neighbours(served):
    good, bad = random_job(served, 1), random_job(served, 1)
    bad.inputs = {"X": np.zeros((1, 3), np.float32)}
    first, failed, other = run_together(BatchLimits(), served, good, bad, random_job(served, 1))
    assert isinstance(failed, RunFailed)
    assert first.shape == other.shape == (1, 3)


def test_cheap_jobs_that_could_not_run_as_one_are_recorded_as_the_runs_they_were(served):
    def split(inputs, outputs=None):
        if len(inputs["X"]) > 1:
            raise RunFailed("rows", expected="one", found="more")
        return ServedVersion.run(served, inputs, outputs)

    served.run = split
    jobs = [random_job(served), random_job(served)]
    run_together(BatchLimits(), served, *jobs)
    assert [job.batch for job in jobs] == [None, None]
    assert all(job.run_s > 0 for job in jobs)


def test_rows_larger_than_those_that_were_measured_are_queued(tmp_path):
    inputs, outputs = [tensor("X", "float32", "batch", "n")], [tensor("Y", "float32", "batch", "n")]
    signature, values = Signature(tuple(inputs), tuple(outputs)), {"X": np.ones((3, 4), np.float32)}
    model = graph([node("Neg", "X", "Y")], inputs, outputs)
    served = served_from(bundle_of(tmp_path / "b", model, signature, values))
    plane = DataPlane("m")

    def sized(rows: int, width: int) -> Job:
        return Job(served, {"X": np.ones((rows, width), np.float32)}, None, lambda outputs: outputs, rows)

    assert plane.is_cheap(sized(1, 4))
    assert plane.is_cheap(sized(2, 7))
    assert not plane.is_cheap(sized(1, 8))
    large, sink = sized(2, 50), Sink()
    plane.publish([served])
    assert not plane.start(large, sink.deliver)
    sink.wait(1)
    plane.release(large)
    plane.close()
    assert (large.result["Y"] == -1).all()


def test_cheap_jobs_of_different_sizes_run_apart_and_never_more_rows_than_were_measured(tmp_path):
    inputs, outputs = [tensor("X", "string", "batch")], [tensor("Y", "string", "batch")]
    signature, values = Signature(tuple(inputs), tuple(outputs)), {"X": np.array(["a", "b"], object)}
    model = graph([node("Identity", "X", "Y")], inputs, outputs)
    served = served_from(bundle_of(tmp_path / "b", model, signature, values))
    plane, seen = DataPlane("m"), []
    runs = InlineRuns(served.signature)
    runs.measured({"X": np.array(["a"], object)}, 3)
    runs.measured({"X": np.array(["a" * 100], object)}, 1)
    served.adopt(replace(served.model, inline_runs=runs))

    def run(inputs, outputs=None):
        seen.append([len(text) for text in inputs["X"].tolist()])
        return ServedVersion.run(served, inputs, outputs)

    served.run = run
    jobs = [Job(served, {"X": np.array(["a" * size], object)}, None, dict) for size in (1, 100, 2, 101, 3, 4)]
    assert all(plane.is_cheap(job) for job in jobs)
    plane.run_together(jobs)
    plane.close()
    # What took long on a machine that stood still was run again as it was.
    assert {tuple(lengths) for lengths in seen} == {(1, 2, 3), (4,), (100,), (101,)}


def test_a_cheap_job_runs_in_the_thread_of_its_caller(served):
    threads: list[threading.Thread] = []

    def run(inputs, outputs=None):
        threads.append(threading.current_thread())
        return ServedVersion.run(served, inputs, outputs)

    served.run = run
    plane, sink = plane_of(served), Sink()
    assert plane.start(random_job(served), sink.deliver)
    expect_long(served)
    queued = random_job(served)
    assert not plane.start(queued, sink.deliver)
    sink.wait(1)
    assert threads[0] is threading.current_thread()
    assert threads[1].name == "batcher iris:1"
    assert served.in_flight == 1
    plane.release(queued)
    plane.release(queued)  # Released once.
    assert served.in_flight == 0
    plane.close()


def test_a_caller_without_patience_gets_an_error_and_the_version_is_released_after_the_run(served, runtime):
    expect_long(served)
    plane = plane_of(served)
    runtime.gate.clear()
    with pytest.raises(DeadlineExceeded, match="within 30 s"):
        plane.run(random_job(served), patience=lambda: 0.01)
    assert served.in_flight == 1
    runtime.gate.set()
    wait_until(lambda: served.in_flight == 0)
    plane.close()


def test_a_job_of_a_version_that_was_unloaded_has_to_be_resolved_again(served):
    plane, (cheap, together) = plane_of(served), (random_job(served), random_job(served))
    served.advance(State.DRAINING)
    assert served.unload(1)
    with pytest.raises(ModelNotReady):
        plane.start(cheap, Sink().deliver)
    plane.run_together([together])
    assert plane.was_unloaded(together)


def test_a_version_that_is_gone_takes_its_queue_with_it(served):
    expect_long(served)
    plane, threads_before = plane_of(served), set(threading.enumerate())
    plane.run(random_job(served))
    (thread,) = set(threading.enumerate()) - threads_before
    assert thread.name == "batcher iris:1"
    served.advance(State.DRAINING)
    assert served.unload(1)
    plane.publish([])
    assert not thread.is_alive()


def test_callers_of_a_release_that_splits_see_their_side(served, tmp_path):
    candidate = served_from(linear_bundle(tmp_path / "next"), 2)
    plane = plane_of(served, candidate)
    assert plane.for_caller({b"x-tier": b"gold"}) is plane
    rule = (b"x-tier", b"gold", "candidate")
    plane.publish([served, candidate], {"iris": Traffic("iris", 1, "canary", 1, 2, 0.0, (rule,))})
    assert plane.for_caller({b"x-tier": b"gold"}).resolve("iris") is candidate
    assert plane.for_caller({}).resolve("iris") is served
    assert plane.for_caller({b"x-tier": b"gold"}).resolve("iris", 1) is served


def test_an_output_that_the_version_does_not_have_is_refused(served):
    check_outputs(served, ["label", "probabilities"])
    with pytest.raises(OutputUnknown, match="expected `label`, `probabilities`, found `scores`"):
        check_outputs(served, ["label", "scores"])


def test_the_rows_of_a_request_are_those_of_its_first_input(served):
    assert rows_in(served, random_job(served, 3).inputs) == 3
