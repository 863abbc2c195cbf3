"""Jobs that run as one: which fit together, and what each gets."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import ModelNotReady, RunFailed
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.merging import (
    are_compatible,
    fail_unfinished,
    grouped,
    run_jobs,
    run_unqueued,
    runs_of,
)
from lading.server.inference.run import Run
from lading.signature import Signature
from support.hosted_app import served_from
from support.inference_jobs import random_job
from support.onnx_graphs import bundle_of, graph, node, tensor


def test_one_bad_request_does_not_fail_those_it_was_merged_with(served):
    good, bad = random_job(served, seed=1), random_job(served, seed=2)
    bad.inputs = {"X": np.zeros((1, 5), np.float32)}
    assert not run_jobs(served, [good, bad])
    assert good.error is None
    assert good.result["probabilities"].shape == (1, 3)
    assert isinstance(bad.error, RunFailed)


def test_jobs_for_different_outputs_each_get_theirs(served, runtime):
    label, probabilities = random_job(served, outputs=("label",)), random_job(served)
    everything = random_job(served, outputs=None)
    assert run_jobs(served, [label, probabilities, everything])
    assert runtime.rows == [3]
    assert set(label.result) == {"label"}
    assert set(probabilities.result) == {"probabilities"}
    assert set(everything.result) == {"label", "probabilities"}


def from_client(served, seed: int, rows: int = 1) -> Job:
    job = random_job(served, rows, seed=seed)
    job.exchange = object()
    return job


def test_requests_that_ran_as_one_are_shown_as_one_run(served):
    seen: list[Run] = []
    jobs = [from_client(served, seed, rows) for seed, rows in ((1, 2), (2, 1))]
    run_unqueued(served, jobs, seen.append)
    (run,) = seen
    assert run.rows == 3
    assert np.array_equal(run.inputs["X"], np.concatenate([job.inputs["X"] for job in jobs]))
    for job, first_row in zip(jobs, (0, 2), strict=True):
        assert (job.batch.run, job.first_row) == (run, first_row)
        rows = run.outputs["probabilities"][first_row : first_row + job.rows]
        assert np.array_equal(job.result["probabilities"], rows)


def test_requests_that_could_not_run_as_one_are_shown_each_by_itself(served):
    seen: list[Run] = []
    good, bad = from_client(served, 1), from_client(served, 2)
    bad.inputs = {"X": np.zeros((1, 5), np.float32)}
    run_unqueued(served, [good, bad], seen.append)
    assert [(run.inputs, run.outputs) for run in seen] == [(good.inputs, good.result), (bad.inputs, None)]


def test_a_run_for_no_client_and_one_that_another_version_runs_again_are_not_shown(served):
    copy, unloaded = random_job(served), from_client(served, 1)
    unloaded.outcome = ModelNotReady("model")
    assert runs_of([copy, unloaded]) == []


def test_a_model_that_sums_over_its_batch_runs_each_job_alone(tmp_path):
    # Its signature promises a row for each row.
    inputs, outputs = [tensor("X", "float32", "batch", 1)], [tensor("Y", "float32", "batch", 1)]
    model = graph([node("ReduceSum", "X", "Y", keepdims=1)], inputs, outputs, opset=12)
    one_row = {"X": np.ones((1, 1), np.float32)}
    bundle = bundle_of(tmp_path / "sum", model, Signature(tuple(inputs), tuple(outputs)), one_row)
    served = served_from(bundle)
    jobs = [Job(served, {"X": np.full((1, 1), value, np.float32)}, None, dict) for value in (1, 2)]
    assert not run_jobs(served, jobs)
    assert [job.result["Y"].tolist() for job in jobs] == [[[1]], [[2]]]


def test_rows_that_depend_on_each_other_are_never_merged(tmp_path):
    # Dynamic quantisation takes its scale from all values of the run.
    inputs, outputs = [tensor("X", "float32", "batch", 2)], [tensor("Y", "float32", "batch", 2)]
    nodes = [
        node("DynamicQuantizeLinear", "X", "q scale zero"),
        node("DequantizeLinear", "q scale zero", "Y"),
    ]
    signature = Signature(tuple(inputs), tuple(outputs), independent_rows=False)
    rows = {"X": np.array([[0.1, 0.2], [30, 40]], np.float32)}
    served = served_from(bundle_of(tmp_path / "int8", graph(nodes, inputs, outputs), signature, rows))
    jobs = [Job(served, {"X": rows["X"][:1]}, None, dict), Job(served, {"X": rows["X"][1:]}, None, dict)]
    assert [len(group) for group in grouped(served, jobs, 1024)] == [1, 1]
    plane = DataPlane()
    plane.publish([served])
    plane.run_together(jobs)
    assert jobs[0].result["Y"] == pytest.approx(rows["X"][:1], abs=0.001)


@pytest.mark.parametrize(
    ("rows", "most_rows", "groups"),
    [((2, 3, 2, 1), 4, [[2, 2], [3, 1]]), ((1, 9, 1), 4, [[1, 1], [9]]), ((1, 1), 1, [[1], [1]])],
)
def test_jobs_are_grouped_up_to_the_limit_of_rows(served, rows, most_rows, groups):
    jobs = [random_job(served, rows=count) for count in rows]
    grouped_rows = [[job.rows for job in group] for group in grouped(served, jobs, most_rows)]
    assert grouped_rows == groups


def test_jobs_fit_together_if_their_rows_have_the_same_shape(served):
    job, longer, wider = random_job(served), random_job(served, rows=3), random_job(served)
    wider.inputs = {"X": np.zeros((1, 5), np.float32)}
    assert are_compatible(job, longer)
    assert not are_compatible(job, wider)


def test_after_an_unforeseen_exception_only_jobs_without_an_outcome_fail(served, caplog):
    done, unfinished = random_job(served), random_job(served)
    done.outcome = {"probabilities": np.zeros((1, 3), np.float32)}
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        fail_unfinished([done, unfinished])
    assert done.result is not None
    assert isinstance(unfinished.error, RunFailed)
    assert "ZeroDivisionError" in caplog.text
