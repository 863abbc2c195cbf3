"""Answered requests, collected and seen as arrays of many rows."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from lading.errors import RunFailed
from lading.server.inference.job import Job
from lading.server.observe.recorder import CHUNK_REQUESTS, AnswerChunk, Recorder
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
    recorder = Recorder([chunks.append])
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


def test_a_full_queue_is_shown_by_the_request_that_fills_it(classifier):
    chunks: list[AnswerChunk] = []
    recorder = Recorder([chunks.append])
    job = answered(classifier)
    for number in range(CHUNK_REQUESTS):
        recorder.observe(exchange(job, number), 200, 0.001, None)
    assert [len(chunk.ids) for chunk in chunks] == [CHUNK_REQUESTS]


def test_failed_requests_come_without_outputs_and_refused_ones_not_at_all(classifier):
    chunks: list[AnswerChunk] = []
    recorder = Recorder([chunks.append])
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

    recorder = Recorder([fail, chunks.append])
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

    recorder = Recorder([wait])
    job = answered(classifier)
    for number in range(30):
        recorder.observe(exchange(job, number, large=True), 200, 0.001, None)
    assert recorder.dropped >= 20
    gate.set()
    wait_until(lambda: len(seen) + recorder.dropped == 30)
    recorder.close()


def test_nothing_is_lost_or_shown_twice_between_threads(classifier):
    ids: list[bytes] = []
    recorder = Recorder([lambda chunk: ids.extend(chunk.ids)])
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
