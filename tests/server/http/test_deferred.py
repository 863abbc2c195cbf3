"""Answers that wait for something slow: made in threads, bounded, refused in the words of their route."""

from __future__ import annotations

import threading

import pytest

from lading.errors import JobNotFound, QueueFull
from lading.server.http.deferred import DeferredAnswers
from lading.server.http.messages import Deferred, Request, Response
from support.hosted_app import hosted


@pytest.fixture
def pipeline():
    return hosted().app.pipeline


def test_an_answer_comes_back_as_a_job_that_has_run(pipeline):
    answers, request, got = DeferredAnswers(pipeline), Request("GET", "/jobs/1"), threading.Event()
    delivered = []

    def deliver(jobs):
        delivered.extend(jobs)
        got.set()

    response = Response(b"{}")
    answers.submit(request, Deferred(lambda: response), deliver)
    assert got.wait(60)
    (job,) = delivered
    assert (job.exchange, job.outcome) == (request, response)
    assert request.is_elsewhere


@pytest.mark.parametrize("error", [JobNotFound("job `1`"), ZeroDivisionError()])
def test_an_error_is_a_refusal(pipeline, error):
    answers, got, delivered = DeferredAnswers(pipeline), threading.Event(), []

    def fail():
        raise error

    def deliver(jobs):
        delivered.extend(jobs)
        got.set()

    answers.submit(Request("GET", "/jobs/1"), Deferred(fail), deliver)
    assert got.wait(60)
    expected = "JobNotFound" if isinstance(error, JobNotFound) else "RunFailed"
    assert type(delivered[0].outcome).__name__ == expected


def test_no_more_wait_than_there_is_room_for(pipeline, monkeypatch):
    monkeypatch.setattr("lading.server.http.deferred.MOST_WAITING", 2)
    answers, go, ended = DeferredAnswers(pipeline), threading.Event(), []
    slow = Deferred(lambda: Response() if go.wait(60) else Response(status=500))
    for _ in range(2):
        answers.submit(Request("GET", "/jobs/1"), slow, ended.extend)
    with pytest.raises(QueueFull, match="requests that wait for the catalog"):
        answers.submit(Request("GET", "/jobs/1"), slow, ended.extend)
    go.set()
