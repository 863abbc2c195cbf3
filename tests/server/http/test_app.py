"""The application: what it counts, what it refuses, and jobs whose host has gone."""

from __future__ import annotations

import asyncio

import pytest

from lading.server.http.asgi import AsgiHost
from lading.server.http.stage import Stage
from lading.server.inference.job import Job
from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from
from support.http_requests import SETTINGS


def test_a_body_too_large_keeps_the_callers_id_and_counts_for_its_own_model(tmp_path):
    first = served_from(linear_bundle(tmp_path / "a", "a"))
    other = served_from(linear_bundle(tmp_path / "b", "b"))
    asked = hosted(first, other, max_body_bytes=100)
    answer = asked.post("/models/b/predict", {"data": [[1.0] * 4] * 50}, headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (413, "mine")
    assert asked.app.metrics.counters("b", 1, "native").statuses == {413: 1}


@pytest.mark.parametrize("host_of", [Stage, AsgiHost])
def test_jobs_that_outlive_the_loop_are_let_go_of(served, host_of):
    app = hosted(served, **SETTINGS).app
    loop, host = asyncio.new_event_loop(), host_of(app)
    host._loop = loop
    loop.close()
    job = Job(served, {}, None, lambda outputs: outputs)
    served.acquire()
    job.holds_version = True
    host.deliver([job])
    assert served.in_flight == 0
