"""What is kept of a request that is over."""

from __future__ import annotations

import gc
import json
import weakref

import pytest

from lading.server.exchange import Pipeline, Steps
from lading.server.observe.request_record import RequestRecord, record_of
from lading.server.process.compose import make_app, make_plane
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import AppClient, served_from


@pytest.fixture
def client(tmp_path) -> tuple[AppClient, list[RequestRecord], list[weakref.ref]]:
    """An application whose requests are recorded, with the records and references to the exchanges."""
    plane = make_plane(ServeSettings())
    plane.publish([served_from(linear_bundle(tmp_path / "iris"), 3)])
    app, records, exchanges = make_app(plane, ServeSettings()), [], []

    def observe(exchange, status, took_s, error) -> None:
        records.append(record_of(exchange, plane, status, took_s, error))
        exchanges.append(weakref.ref(exchange))

    app.pipeline = Pipeline(plane, app.metrics, Steps(observe=(observe,)))
    return AppClient(app), records, exchanges


@pytest.mark.slow
def test_a_record_holds_no_value_of_the_request_and_nothing_that_holds_one(client):
    asking, records, exchanges = client
    asking.post("/models/iris/predict?key=7654321", {"data": [[1234567.0, 2, 3, 4]]})
    (record,) = records
    gc.collect()
    assert exchanges[0]() is None
    written = json.dumps(record, default=repr)
    assert "1234567" not in written
    assert "7654321" not in written
    assert record.ran is not None
    assert (record.model, record.version, record.ran.rows) == ("iris", 3, 1)


def test_a_request_for_no_model_is_recorded_without_one(client):
    asking, records, _ = client
    asking.get("/nowhere")
    asking.get("/health")
    assert [(record.model, record.status, record.error) for record in records] == [
        ("", 404, "RouteNotFound"),
        ("", 200, ""),
    ]
    assert records[0].line == ("GET", "/nowhere", "")


def test_what_a_caller_writes_is_cut(client):
    asking, records, _ = client
    asking.get("/" + "a" * 2000)
    assert len(records[0].line.path) == 512
