"""Requests whose version goes away, that are refused, or that few send: one answer, counted once."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import numpy as np
import pytest

from lading.errors import BodyInvalid
from lading.server.http.router import LONGEST_CACHED_PATH
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.server.observe.observer import Observer
from lading.server.process.compose import make_app, make_plane
from lading.server.protocols.sagemaker import csv_response
from lading.settings import ServeSettings
from lading.signature import Signature, named_labels
from support.bundles import linear_bundle
from support.echo_models import echo_bundle
from support.hosted_app import AppClient, hosted, served_from, slow
from support.http_requests import SETTINGS, ask_in_one_stage, request
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.wire import Wire, listening

ROWS = {"data": [[5.1, 3.5, 1.4, 0.2]]}


@pytest.fixture
def pair(tmp_path) -> tuple[ServedVersion, ServedVersion]:
    bundles = (linear_bundle(tmp_path / name, seed=seed) for seed, name in enumerate(("old", "new")))
    old, new = (served_from(bundle, number) for number, bundle in enumerate(bundles, 1))
    return old, new


def vanishing(asked: AppClient, old: ServedVersion, new: ServedVersion, after: int = 0) -> None:
    """Have `old` replaced and unloaded, `after` some runs, just when a request has found it."""
    runs = 0

    def run(*given: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs > after and old.state is State.READY:
            asked.app.plane.publish([old, new])
            old.advance(State.DRAINING)
            old.in_memory = False  # What `unload` does first; it is UNLOADED only once the memory is freed.
        return ServedVersion.run(old, *given)

    old.run = run


def test_a_request_for_a_version_that_is_just_being_unloaded_is_answered_by_what_replaced_it(pair):
    asked = hosted(pair[0])
    vanishing(asked, *pair)
    answer = asked.post("/predict", ROWS)
    assert (answer.status_code, answer.headers["x-lading-model"]) == (200, "iris:2")


def test_requests_of_one_turn_are_answered_by_what_replaced_it_compressed_or_not(pair):
    asked = hosted(pair[0], **SETTINGS)
    vanishing(asked, *pair, after=3)  # Each of the three connections has asked once before.
    packed = request(gzip.compress(json.dumps(ROWS).encode()), content_encoding="gzip", X_Request_ID="mine")
    with listening(asked.app, ServeSettings(**SETTINGS), fast=True) as host:
        answers = ask_in_one_stage(host, packed, request(), packed)
    assert [one.status for one in answers] == [200] * 3
    assert {one.headers["x-lading-model"] for one in answers} == {"iris:2"}
    assert answers[0].headers["x-request-id"] == "mine"


def test_a_request_that_finds_the_queue_full_is_counted_once_for_its_release(pair):
    observer = Observer("here")
    settings = ServeSettings(max_queue=1, grpc_port=-1)
    plane = make_plane(settings, "iris", observer)
    rule = (b"x-tier", b"gold", "candidate")
    plane.publish(pair, {"iris": Traffic("iris", 1, "canary", 1, 2, 0.0, (rule,))})
    go = slow(pair[0], 30)
    with listening(make_app(plane, settings), settings, fast=True) as host:
        wires = [Wire(host.address) for _ in range(3)]
        for wire in wires:
            wire.send(request())
            until = time.monotonic() + 5
            while wire is not wires[2] and not pair[0].in_flight and time.monotonic() < until:
                time.sleep(0.01)
        assert wires[2].answer().status == 429
        go.set()
        assert [wire.answer().status for wire in wires[:2]] == [200, 200]
        for wire in wires:
            wire.close()
    observer.windows.rotate(time.time(), last=True)
    (window,) = observer.windows.drain()
    assert (window.requests, window.errors) == (3, {"QueueFull": 1})


def test_a_body_too_large_keeps_the_callers_id_and_counts_for_its_own_model(tmp_path):
    first = served_from(linear_bundle(tmp_path / "a", "a"))
    other = served_from(linear_bundle(tmp_path / "b", "b"))
    asked = hosted(first, other, max_body_bytes=100)
    answer = asked.post("/models/b/predict", {"data": [[1.0] * 4] * 50}, headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (413, "mine")
    assert asked.app.metrics.counters("b", 1, "native").statuses == {413: 1}


def test_long_paths_are_not_remembered(pair):
    asked = hosted(pair[0], **SETTINGS)
    long = "x" * LONGEST_CACHED_PATH
    with listening(asked.app, ServeSettings(**SETTINGS), fast=True) as host, host.wire() as wire:
        stage, router = host.stage, asked.app.router
        for at in range(5):
            wire.send(request(path=f"/models/{long}{at}/predict"))
            assert wire.answer().status == 404
            wire.send(request(path=f"/nothing/{at}"))
            assert wire.answer().status == 404
        assert len(stage.routes) == 0
        assert len(router.cache) == 0
        wire.send(request())
        assert wire.answer().status == 200
        assert len(stage.routes) == 1


def test_labels_of_a_model_without_batch_are_all_given(tmp_path):
    label = tensor("label", "string", 3)
    signature = Signature(inputs=(tensor("x", "string", 3),), outputs=(label,))
    model = graph([node("Identity", "x", "label")], signature.inputs, signature.outputs)
    values = ["a", "b", "c"]
    served = served_from(bundle_of(tmp_path / "three", model, signature, {"x": np.array(values, object)}))
    answer = hosted(served).post("/predict/label", {"data": {"x": values}})
    assert answer.json() == {"prediction": values}, answer.text
    assert named_labels(tensor("label", "string"), np.array("a", object), {}) == "a"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/models/echo/infer", '{"id": "NaN \\ud800", "inputs": [%s]}'),
        ("/v2/models/echo/infer", '{"id": "NaN", "parameters": {"\\uDfff": 1}, "inputs": [%s]}'),
        ("/v1/models/echo:predict", '{"instances": [["NaN \\ud800"]]}%.0s'),
    ],
)
def test_half_a_surrogate_pair_is_no_text(tmp_path, path, body):
    asked = hosted(served_from(echo_bundle(tmp_path / "echo", "string", "echo", ("batch", 1))))
    given = '{"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]}'
    answer = asked.post(path, content=(body % given).encode())
    assert answer.status_code == 400, answer.text


def test_a_candidate_that_is_not_ready_takes_no_replica_out_of_traffic_on_any_route(pair):
    old, new = pair
    settings = ServeSettings(grpc_port=-1, vertex_health_route="/vertex")
    plane = make_plane(settings, "iris", Observer("here"))
    new.advance(State.DRAINING)
    plane.publish(pair, {"iris": Traffic("iris", 1, "canary", 1, 2, 5.0)})
    asked = AppClient(make_app(plane, settings))
    routes = ("/health", "/ping", "/vertex", "/v2/health/ready")
    assert [asked.get(route).status_code for route in routes] == [200] * 4
    old.advance(State.DRAINING)
    plane.publish(pair, {"iris": Traffic("iris", 1, "canary", 1, 2, 5.0)})
    assert all(asked.get(route).status_code in (400, 503) for route in routes)


def test_an_answer_that_is_no_table_is_refused_as_csv(tmp_path):
    shapes = (("batch", 2), ("two", 3))
    x, y = (tensor(name, "float32", *shape) for name, shape in zip("xy", shapes, strict=True))
    a, b = (tensor(name, "float32", *shape) for name, shape in zip("ab", shapes, strict=True))
    signature = Signature(inputs=(x, y), outputs=(a, b))
    model = graph(
        [node("Identity", "x", "a"), node("Identity", "y", "b")], signature.inputs, signature.outputs
    )
    inputs = {"x": np.ones((1, 2), np.float32), "y": np.ones((1, 3), np.float32)}
    asked = hosted(served_from(bundle_of(tmp_path / "two", model, signature, inputs)))
    body = {"inputs": {"x": [[1, 2], [3, 4]], "y": [[1, 2, 3]]}, "params": {"outputs": ["a", "b"]}}
    answer = asked.post("/invocations", body, headers={"accept": "text/csv"})
    assert answer.status_code == 400, answer.text
    assert "one value or more a row" in answer.text


def test_an_answer_without_rows_is_refused_as_csv():
    with pytest.raises(BodyInvalid, match="one value or more a row"):
        csv_response([np.empty((0, 3), np.float32)])
