"""A model's own code as a runtime: many callers, processes that end, and their replacement."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from lading.errors import (
    DeadlineExceeded,
    ModelCodeFailed,
    ModelProcessEnded,
    RunFailed,
)
from lading.runtime.onnx.session import OnnxRuntime
from lading.server.inference.merging import run_jobs
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.inference_jobs import random_job
from support.model_code import BAD, X, answers, answers_in_time, children, obeys, tensor
from support.waiting import wait_until


def test_a_runtime_has_the_inputs_and_outputs_of_the_signature_and_answers(opened):
    runtime = opened()
    assert (runtime.inputs, runtime.outputs) == ((tensor("x"),), (tensor("y"),))
    np.testing.assert_array_equal(runtime.run({"x": X}, ["y"])["y"], X * 2)
    np.testing.assert_array_equal(runtime.run_whole({"x": X})["y"], X * 2)


MEETING = """
    import pathlib, time

    FOLDER = pathlib.Path({folder!r})

    def M(x):
        (FOLDER / f"{{x[0, 0]}}").touch()
        until = time.monotonic() + 30
        while len(list(FOLDER.iterdir())) < {others} and time.monotonic() < until:
            time.sleep(0.002)
        return x * len(list(FOLDER.iterdir()))
"""


@pytest.mark.slow
def test_as_many_requests_as_there_are_processes_run_at_the_same_time(opened, tmp_path):
    folder = tmp_path / "met"
    folder.mkdir()
    runtime = opened(MEETING.format(folder=str(folder), others=2), processes=2)
    with ThreadPoolExecutor(2) as threads:
        results = list(
            threads.map(lambda row: runtime.run({"x": np.full((1, 4), row, "f4")})["y"][0, 0], (1, 2))
        )
    assert results == [2, 4]


def test_many_threads_share_one_process_and_each_gets_its_own_answer(opened):
    runtime = opened()
    rows = [np.full((1, 4), value, "f4") for value in range(200)]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda row: runtime.run({"x": row})["y"], rows))
    assert [int(result[0, 0]) for result in results] == [2 * value for value in range(200)]


CRASHES = ["os._exit(3)", "os.kill(os.getpid(), 9)", "os.closerange(0, 1000)"]


@pytest.mark.slow
@pytest.mark.parametrize("statement", CRASHES)
def test_a_crash_fails_the_request_in_flight_and_the_next_one_is_answered(opened, statement):
    runtime = opened(obeys(statement))
    with pytest.raises(ModelProcessEnded):
        runtime.run({"x": BAD})
    assert answers(runtime)
    assert runtime.ended_processes == 1


@pytest.mark.slow
def test_code_that_hangs_is_ended_at_the_deadline_and_replaced(opened):
    runtime = opened(obeys("threading.Event().wait()"), run_deadline_s=0.3)
    with pytest.raises(DeadlineExceeded, match=r"an end within 0.3 s"):
        runtime.run({"x": BAD})
    wait_until(lambda: runtime.ended_processes == 1)
    wait_until(lambda: answers_in_time(runtime))


@pytest.mark.slow
def test_one_that_hangs_does_not_keep_the_others_busy(opened):
    runtime = opened(obeys("threading.Event().wait()"), processes=2)
    with ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(runtime.run, {"x": BAD})
        for _ in range(50):
            assert answers(runtime)
        assert not hanging.done()
        runtime.terminate()
        with pytest.raises(RunFailed, match="expected an end in time, found none"):
            hanging.result()


@pytest.mark.slow
def test_an_onnx_model_answers_beside_one_that_hangs(opened, tmp_path):
    onnx = OnnxRuntime(linear_bundle(tmp_path / "iris").model_path)
    runtime = opened(obeys("threading.Event().wait()"))
    with ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(runtime.run, {"x": BAD})
        wait_until(lambda: runtime.busy_processes == 1)
        for _ in range(100):
            onnx.run({"X": X})
        assert not hanging.done()
        runtime.terminate()
        with pytest.raises(RunFailed):
            hanging.result()


@pytest.mark.slow
def test_closing_ends_the_processes_and_later_runs_are_refused(opened):
    threads, before = threading.active_count(), children()
    runtime = opened(processes=2)
    assert len(children() - before) == 2
    runtime.close()
    runtime.close()
    assert children() == before
    assert threading.active_count() == threads
    with pytest.raises(RunFailed, match="found it closed"):
        runtime.run({"x": X})


def test_a_run_in_flight_finishes_after_closing_and_is_not_waited_for(opened, tmp_path):
    (tmp_path / "files").mkdir()
    end = tmp_path / "files" / "end"
    before = children()
    runtime = opened(obeys(f"\n            while not os.path.exists({str(end)!r}): time.sleep(0.002)"))
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(runtime.run, {"x": BAD})
        wait_until(lambda: runtime.busy_processes == 1)
        runtime.close()
        assert not running.done()
        end.touch()
        np.testing.assert_array_equal(running.result()["y"], BAD * 2)
    wait_until(lambda: children() == before)


# --- merged batches ---

CLASSIFIES = """
    import os
    import numpy as np

    def M(X):
        if (X == -1).any():
            {statement}
        return {{"probabilities": np.repeat(X[:, :1], 3, axis=1)}}
"""


@pytest.fixture
def merged(tmp_path, opened):
    """Return a function that runs three jobs as one, the second of which the code does not like."""
    served = served_from(linear_bundle(tmp_path / "iris"))
    outputs = tuple(output for output in served.signature.outputs if output.name == "probabilities")

    def run(statement: str):
        source = CLASSIFIES.format(statement=statement)
        settings = {"inputs": served.signature.inputs, "outputs": outputs, "name": "iris"}
        served.loaded = replace(served.model, runtime=opened(source, settings=settings))
        jobs = [random_job(served, seed=seed) for seed in range(3)]
        jobs[1].inputs = {"X": BAD}
        assert not run_jobs(served, jobs)
        return jobs

    return run


def test_code_that_raises_for_one_row_of_a_batch_does_not_fail_its_neighbours(merged):
    first, bad, last = merged("raise ValueError('no')")
    assert isinstance(bad.error, ModelCodeFailed)
    for job in (first, last):
        np.testing.assert_array_equal(job.result["probabilities"][:, 0], job.inputs["X"][:, 0])


@pytest.mark.slow
def test_code_that_crashes_for_one_row_of_a_batch_does_not_fail_its_neighbours(merged):
    first, bad, last = merged("os._exit(1)")
    assert isinstance(bad.error, ModelProcessEnded)
    for job in (first, last):
        np.testing.assert_array_equal(job.result["probabilities"][:, 0], job.inputs["X"][:, 0])
