"""Answered requests, collected and seen as arrays of many rows."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lading.errors import AnswerTooLarge, RunFailed
from lading.input_checks.modes import Modes
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.merging import run_of, run_unqueued
from lading.server.inference.run import Run
from lading.server.metrics import Metrics
from lading.server.metrics.shared_memory import PrivateCounters
from lading.server.observe.chunks import AnswerChunk, RowChunk
from lading.server.observe.input_checks import InputChecks
from lading.server.observe.recorder import CHUNK_REQUESTS, CHUNK_ROWS, Recorder
from lading.server.process.observed_rows import ObservedRows
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.inference_jobs import random_job
from support.waiting import wait_until


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return served_from(linear_bundle(tmp_path_factory.mktemp("recorder") / "iris"))


def exchange(job: Job | None, number: int = 0, *, large: bool = False) -> SimpleNamespace:
    """Return what the recorder reads of an exchange that is over."""
    return SimpleNamespace(
        job=job,
        request_id=b"id-%d" % number,
        began=time.perf_counter(),
        warnings=(),
        reservation=object() if large else None,
    )


def answered(served, rows: int = 1, seed: int = 0) -> Job:
    job = random_job(served, rows, seed=seed)
    job.outcome = served.run(job.inputs, job.outputs)
    return job


def test_requests_of_one_version_become_arrays_of_all_their_rows(classifier):
    chunks: list[AnswerChunk] = []
    recorder = Recorder(answer_consumers=[chunks.append])
    jobs = [answered(classifier, rows, seed=rows) for rows in (1, 3, 2)]
    for number, job in enumerate(jobs):
        recorder.observe(exchange(job, number), 200, 0.001 * number, None)
    assert chunks == []
    recorder.flush()
    (chunk,) = chunks
    assert (chunk.ids, chunk.rows, chunk.statuses) == ([b"id-0", b"id-1", b"id-2"], [1, 3, 2], [200] * 3)
    assert chunk.latencies_s == [0.0, 0.001, 0.002]
    assert abs(chunk.ended_at[2] - time.time()) < 60
    assert np.array_equal(chunk.inputs["X"], np.concatenate([job.inputs["X"] for job in jobs]))
    probabilities = np.concatenate([job.outcome["probabilities"] for job in jobs])
    assert np.array_equal(chunk.outputs["probabilities"], probabilities)


def test_requests_that_ran_as_one_get_their_own_rows_of_the_run(classifier):
    chunks: list[AnswerChunk] = []
    recorder = Recorder(answer_consumers=[chunks.append])
    first = [random_job(classifier, rows, seed=rows) for rows in (2, 1, 3)]
    second = [random_job(classifier, rows, seed=9 + rows) for rows in (1, 2)]
    for jobs in (first, second):
        run_unqueued(classifier, jobs)
    # One is answered after the others, and one not at all.
    answered_jobs = [first[0], first[2], *second, first[1]]
    for number, job in enumerate(answered_jobs[:-1]):
        recorder.observe(exchange(job, number), 200, 0.001, None)
    recorder.flush()
    recorder.observe(exchange(answered_jobs[-1], 4), 200, 0.001, None)
    recorder.flush()
    assert [chunk.rows for chunk in chunks] == [[2, 3, 1, 2], [1]]
    rows = [row for chunk in chunks for row in chunk.outputs["probabilities"]]
    assert np.array_equal(rows, np.concatenate([job.result["probabilities"] for job in answered_jobs]))
    rows = [row for chunk in chunks for row in chunk.inputs["X"]]
    assert np.array_equal(rows, np.concatenate([job.inputs["X"] for job in answered_jobs]))


def test_requests_that_asked_for_other_outputs_are_another_chunk(classifier):
    chunks: list[AnswerChunk] = []
    recorder = Recorder(answer_consumers=[chunks.append])
    jobs = [random_job(classifier, outputs=outputs) for outputs in (("label",), None, ("label",))]
    for number, job in enumerate(jobs):
        job.outcome = classifier.run(job.inputs, job.outputs)
        recorder.observe(exchange(job, number), 200, 0.001, None)
    recorder.flush()
    assert [(chunk.ids, set(chunk.outputs)) for chunk in chunks] == [
        ([b"id-0", b"id-2"], {"label"}),
        ([b"id-1"], {"label", "probabilities"}),
    ]


def test_an_answer_that_could_not_be_written_has_no_outputs_in_the_log(classifier):
    chunks: list[AnswerChunk] = []
    recorder = Recorder(answer_consumers=[chunks.append])
    jobs = [random_job(classifier, seed=seed) for seed in (1, 2)]
    run_unqueued(classifier, jobs)
    recorder.observe(exchange(jobs[1]), 500, 0.001, AnswerTooLarge("answer"))
    recorder.flush()
    (chunk,) = chunks
    assert (chunk.errors, chunk.outputs) == (["AnswerTooLarge"], {})
    assert np.array_equal(chunk.inputs["X"], jobs[1].inputs["X"])


def test_runs_become_arrays_of_all_their_rows_by_version_and_outcome(classifier):
    chunks: list[RowChunk] = []
    recorder = Recorder([chunks.append])
    runs = [run_of(answered(classifier, rows, seed=rows)) for rows in (1, 3, 2)]
    failed = replace(runs[0], outputs=None)
    for run in (*runs[:2], failed, runs[2]):
        recorder.show_run(run)
    assert chunks == []
    recorder.flush()
    assert [(chunk.rows, chunk.has_failed) for chunk in chunks] == [(6, False), (1, True)]
    assert np.array_equal(chunks[0].inputs["X"], np.concatenate([run.inputs["X"] for run in runs]))
    outputs = np.concatenate([run.outputs["probabilities"] for run in runs])
    assert np.array_equal(chunks[0].outputs["probabilities"], outputs)


@pytest.mark.parametrize(("rows", "runs"), [(CHUNK_ROWS // 4, 4), (1, 256)])
def test_many_rows_and_many_runs_are_shown_by_the_run_that_is_one_too_many(classifier, rows, runs):
    chunks: list[RowChunk] = []
    recorder = Recorder([chunks.append])
    run = run_of(answered(classifier, rows))
    for _ in range(runs - 1):
        recorder.show_run(run)
    assert chunks == []
    recorder.show_run(run)
    assert [chunk.rows for chunk in chunks] == [rows * runs]


def test_rows_of_several_sizes_are_never_one_array(classifier):
    chunks: list[RowChunk] = []
    recorder = Recorder([chunks.append])
    inputs = {"X": np.zeros((1, 4), np.float32)}
    # As many numbers as three rows of the first size.
    for size in (2, 1, 3):
        recorder.show_run(Run(classifier, inputs, {"Y": np.full((1, size), size, np.float32)}, 1))
    recorder.flush()
    assert [chunk.outputs["Y"].tolist() for chunk in chunks] == [[[2, 2]], [[1]], [[3, 3, 3]]]


def test_a_large_run_is_left_to_a_thread(classifier):
    names: list[str] = []
    recorder = Recorder([lambda _chunk: names.append(threading.current_thread().name)])
    recorder.show_run(run_of(answered(classifier, 10_000)))
    wait_until(lambda: names == ["recorder"])
    # One row, whose answer is as large as an image.
    row = {"X": np.zeros((1, 4), np.float32)}
    recorder.show_run(Run(classifier, row, {"Y": np.zeros((1, 100_000), np.float32)}, 1))
    wait_until(lambda: names == ["recorder"] * 2)
    recorder.close()


def test_a_full_queue_is_shown_by_the_request_that_fills_it(classifier):
    chunks: list[AnswerChunk] = []
    recorder = Recorder(answer_consumers=[chunks.append])
    job = answered(classifier)
    for number in range(CHUNK_REQUESTS):
        recorder.observe(exchange(job, number), 200, 0.001, None)
    assert [len(chunk.ids) for chunk in chunks] == [CHUNK_REQUESTS]


def test_failed_requests_come_without_outputs_and_refused_ones_not_at_all(classifier):
    chunks: list[AnswerChunk] = []
    recorder = Recorder(answer_consumers=[chunks.append])
    failed = random_job(classifier)
    failed.outcome = RunFailed("the run")
    recorder.observe(exchange(None), 404, 0.001, RunFailed("no model"))
    recorder.observe(exchange(failed), 500, 0.001, failed.outcome)
    recorder.observe(exchange(answered(classifier)), 200, 0.001, None)
    recorder.flush()
    by_error = {chunk.errors[0]: chunk for chunk in chunks}
    assert set(by_error) == {"", "RunFailed"}
    assert by_error["RunFailed"].outputs == {}
    assert by_error["RunFailed"].inputs["X"].shape == (1, 4)


def test_a_consumer_that_fails_is_logged_once_and_the_others_go_on(classifier, caplog):
    chunks: list[AnswerChunk] = []

    def fail(_chunk: AnswerChunk) -> None:
        raise ZeroDivisionError("by accident")

    recorder = Recorder(answer_consumers=[fail, chunks.append])
    for number in range(3):
        recorder.observe(exchange(answered(classifier), number), 200, 0.001, None)
        recorder.flush()
    assert len(chunks) == 3
    assert caplog.text.count("are not recorded") == 1


def test_a_large_request_is_left_to_a_thread_and_dropped_when_too_many_wait(classifier):
    seen, gate = [], threading.Event()

    def wait(chunk: AnswerChunk) -> None:
        gate.wait(60)
        seen.append(chunk.ids[0])

    recorder = Recorder(answer_consumers=[wait])
    dropped: list[int] = []
    recorder.on_unlogged = lambda served, rows: dropped.append(rows) if served is classifier else None
    job = answered(classifier, 2)
    for number in range(30):
        recorder.observe(exchange(job, number, large=True), 200, 0.001, None)
    assert len(dropped) >= 20
    assert set(dropped) == {2}
    gate.set()
    wait_until(lambda: len(seen) + len(dropped) == 30)
    recorder.close()


def test_large_runs_that_nothing_looked_at_are_counted(classifier):
    gate, unseen = threading.Event(), PrivateCounters(1)
    recorder = Recorder([lambda _chunk: gate.wait(60)])
    metrics = Metrics(DataPlane(), unseen)
    ObservedRows(recorder, InputChecks(Modes("off")), None, None).start(metrics)
    run = run_of(answered(classifier, 10_000))
    for _ in range(30):
        recorder.show_run(run)
    (rows,) = metrics.summary().unseen_rows.values()
    assert rows >= 200_000
    gate.set()
    recorder.close()


def test_nothing_is_lost_or_shown_twice_between_threads(classifier):
    ids: list[bytes] = []
    recorder = Recorder(answer_consumers=[lambda chunk: ids.extend(chunk.ids)])
    job = answered(classifier)

    def ask(start: int) -> None:
        for number in range(start, start + 2000):
            recorder.observe(exchange(job, number), 200, 0.0, None)

    threads = [threading.Thread(target=ask, args=(start * 2000,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    assert sorted(ids) == sorted(b"id-%d" % number for number in range(8000))
