"""Requests from within the process are answered as those of clients are."""

from __future__ import annotations

import queue

from lading.server.http.messages import Request
from lading.server.jobs.inner import InnerRequests
from support.hosted_app import gated, hosted
from support.hosted_jobs import running_loop
from support.waiting import wait_until

BODY = b'{"data": [[1, 2, 3, 4]]}'
JSON = {b"content-type": b"application/json"}


def ask(inner: InnerRequests, body: bytes = BODY, path: str = "/models/iris/predict"):
    answers: queue.SimpleQueue = queue.SimpleQueue()
    assert inner.ask(Request("POST", path, body, JSON), lambda *answer: answers.put(answer))
    return answers.get(timeout=60)


def test_an_answer_is_that_of_a_client(iris):
    client = hosted(iris)
    with running_loop() as loop:
        inner = InnerRequests(client.app)
        assert not inner.is_attached
        inner.attach(loop)
        request, response = ask(inner)
        assert response.body == client.post("/models/iris/predict", content=BODY, headers=JSON).content
        inner.measure_lag()
        wait_until(lambda: inner.lag_s > 0)
        request, response = ask(inner, b"{")
        assert (response.status, request.refused_with.__name__) == (400, "BodyInvalid")
        assert "body" in request.refused_why
        assert ask(inner, path="/models/wine/predict")[1].status == 404
    assert not inner.ask(Request("POST", "/predict", BODY, JSON), print), "the loop has ended"


def test_a_queued_job_comes_back_and_one_that_takes_too_long_is_answered_once(iris):
    runtime = gated(iris, 60)
    client = hosted(iris, deadline_s=0.2)
    with running_loop() as loop:
        inner = InnerRequests(client.app)
        inner.attach(loop)
        assert ask(inner)[1].status == 504
        runtime.gate.set()  # And it stays open.
        assert ask(inner)[1].status == 200
    client.app.plane.close()


def test_a_large_body_is_counted_and_read_elsewhere(iris):
    client = hosted(iris, deadline_s=300)
    body = b'{"data": [' + b"[1.5, 2.5, 3.5, 4.5]," * 120_000 + b"[1, 2, 3, 4]]}"
    with running_loop() as loop:
        inner = InnerRequests(client.app)
        inner.attach(loop)
        assert ask(inner, body)[1].status == 200
