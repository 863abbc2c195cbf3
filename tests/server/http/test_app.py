"""The application: what it answers and counts when a request is refused, late, or its client is gone."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from typing import Any

import pytest

from lading.server.http.app import CLIENT_GONE
from lading.server.http.asgi import AsgiHost
from lading.server.http.messages import Request
from lading.server.http.slow_clients import ClientLimits
from lading.server.http.stage import Stage
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import AppClient, gated, hosted, served_from
from support.http_requests import BODY, SETTINGS
from support.waiting import wait_until


@pytest.fixture
def iris(tmp_path) -> ServedVersion:
    return served_from(linear_bundle(tmp_path / "iris"))


def predict_request() -> Request:
    return Request("POST", "/predict", BODY)


def statuses(client: AppClient, model: str = "iris") -> dict[int | str, int]:
    return client.app.metrics.counters(model, 1, "native").statuses


def test_a_body_too_large_keeps_the_callers_id_and_counts_for_its_own_model(tmp_path):
    first = served_from(linear_bundle(tmp_path / "a", "a"))
    other = served_from(linear_bundle(tmp_path / "b", "b"))
    client = hosted(first, other, max_body_bytes=100)
    answer = client.post("/models/b/predict", {"data": [[1.0] * 4] * 50}, headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (413, "mine")
    assert statuses(client, "b") == {413: 1}


def test_a_request_without_a_route_is_counted_for_no_model(iris):
    client = hosted(iris)
    assert client.get("/nowhere").status_code == 404
    assert client.app.metrics.counters("", 0, "http").statuses == {404: 1}


def test_an_outcome_after_the_deadline_is_dropped_and_the_version_released(iris):
    client, runtime = hosted(iris), gated(iris, 10)
    delivered: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
    request = predict_request()
    assert client.app.dispatch(request, delivered.put) is None
    assert request.job is not None
    response = client.app.time_out(request.job)
    assert response.status == 504
    assert iris.in_flight == 1
    runtime.gate.set()
    (job,) = delivered.get(timeout=10)
    assert client.app.complete(job) is response
    assert iris.in_flight == 0
    assert statuses(client) == {504: 1}


def test_a_request_whose_client_goes_while_it_waits_is_counted_and_does_not_run(iris):
    client, runtime = hosted(iris), gated(iris, 10)
    delivered: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
    running, waiting = predict_request(), predict_request()
    client.app.dispatch(running, delivered.put)
    assert runtime.entered.wait(10)
    client.app.dispatch(waiting, delivered.put)
    assert waiting.job is not None
    waiting.job.cancel()
    runtime.gate.set()
    jobs = [job for _ in range(2) for job in delivered.get(timeout=10)]
    assert [client.app.complete(job).status for job in jobs] == [200, CLIENT_GONE]
    assert runtime.rows == [1]
    assert statuses(client) == {200: 1, CLIENT_GONE: 1}
    assert iris.in_flight == 0


def test_a_request_refused_by_a_full_queue_keeps_no_job(iris):
    # A job and its request name each other: under load only the garbage collector would free their bodies.
    client, runtime = hosted(iris, max_queue=1), gated(iris, 10)
    delivered: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
    client.app.dispatch(predict_request(), delivered.put)
    assert runtime.entered.wait(10)
    client.app.dispatch(predict_request(), delivered.put)
    refused = predict_request()
    response = client.app.dispatch(refused, delivered.put)
    assert response is not None
    assert response.status == 429
    assert refused.job is None
    runtime.gate.set()
    wait_until(lambda: delivered.qsize() == 2)


def attach_stage(client: AppClient, loop: asyncio.AbstractEventLoop) -> Stage:
    stage = Stage(client.app, ClientLimits.of(ServeSettings()))
    stage.attach(loop)
    return stage


def answer_under_asgi(client: AppClient, loop: asyncio.AbstractEventLoop) -> AsgiHost:
    """Return a host that has answered a request in `loop`."""
    host = AsgiHost(client.app)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(_message: object) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/health", "headers": [], "query_string": b""}
    loop.run_until_complete(host(scope, receive, send))
    return host


@pytest.mark.parametrize("make_host", [attach_stage, answer_under_asgi])
def test_a_job_that_outlives_the_event_loop_releases_its_version(iris, make_host: Callable[..., Any]):
    loop = asyncio.new_event_loop()
    host = make_host(hosted(iris, **SETTINGS), loop)
    loop.close()
    job = Job(iris, {}, None, lambda outputs: outputs)
    iris.acquire()
    job.holds_version = True
    host.deliver([job])
    assert iris.in_flight == 0
