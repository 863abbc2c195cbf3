"""The access log: one line a request, whatever its transport, and nothing of its values."""

from __future__ import annotations

import io
import json
import select
from collections.abc import Callable
from typing import Any

import pytest

from lading.server.exchange import Pipeline, Steps
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion
from lading.server.observe.access_log import AccessLog
from lading.server.process.compose import make_app, make_plane
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.grpc_client import OIP, grpc_serving, infer_bytes, one_row
from support.hosted_app import served_from
from support.http_requests import SETTINGS, request
from support.wire import listening

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def iris(tmp_path) -> ServedVersion:
    return served_from(linear_bundle(tmp_path / "iris"), 3)


def plane_of(*versions: ServedVersion) -> DataPlane:
    plane = make_plane(ServeSettings())
    plane.publish(versions)
    return plane


def log_of(plane: DataPlane, log_format: str = "json") -> tuple[AccessLog, io.StringIO]:
    stream = io.StringIO()
    return AccessLog(plane, Callers(), log_format, stream), stream


def ask_http(plane: DataPlane, log: AccessLog, data: bytes, *, fast: bool) -> None:
    settings = ServeSettings(**SETTINGS)
    app = make_app(plane, settings)
    app.pipeline = Pipeline(plane, app.metrics, Steps(observe=(log.observe,)))
    with listening(app, settings, fast=fast) as host, host.wire() as wire:
        wire.send(data)
        wire.answer()
    log.close()


def ask_grpc(plane: DataPlane, log: AccessLog, model: str, metadata: Any) -> None:
    with grpc_serving(plane, steps=Steps(observe=(log.observe,))) as (channel, _):
        call = channel.unary_unary(f"/{OIP}/ModelInfer").future(
            infer_bytes(**one_row(model, rows=2)), metadata=metadata, timeout=10
        )
        call.code()
    log.close()


@pytest.fixture(params=["fast", "asgi", "grpc"])
def ask(request) -> Ask:
    return lambda plane, model="iris": logged_over(request.param, plane, model)


def logged_over(transport: str, plane: DataPlane, model: str) -> dict[str, Any]:
    """Ask for two rows of `model`; return the one line that was logged."""
    log, stream = log_of(plane)
    if transport == "grpc":
        ask_grpc(plane, log, model, (("x-request-id", "r-1"), ("traceparent", PARENT)))
    else:
        body = b'{"data":[[5.1,3.5,1.4,0.2],[5.1,3.5,1.4,0.2]]}'
        data = request(body, f"/models/{model}/predict", x_request_id="r-1", traceparent=PARENT)
        ask_http(plane, log, data, fast=transport == "fast")
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


def test_a_prediction_is_one_line_that_names_everything_but_values(iris, ask):
    line = ask(plane_of(iris))
    assert line["logger"] == "lading.access"
    assert (line["model"], line["version"], line["rows"]) == ("iris", 3, 2)
    assert line["status"] in (200, "OK")
    assert line["protocol"] in ("native", "oip-grpc")
    assert line["request_id"] == "r-1"
    assert line["trace_id"] == TRACE
    assert line["caller"] == "127.0.0.1"
    assert line["received_bytes"] > 0
    assert line["sent_bytes"] > 0
    assert 0 < line["ms"] < 60_000
    assert "error" not in line
    assert "5.1" not in json.dumps(line)


def test_a_refused_request_is_a_line_with_its_error(iris, ask):
    line = ask(plane_of(iris), "roses")
    assert line["error"] == "ModelNotFound"
    assert line["status"] in (404, "NOT_FOUND")
    assert line["model"] == "roses"
    assert "rows" not in line


def test_a_line_names_the_side_of_a_release(iris, ask):
    plane = make_plane(ServeSettings())
    plane.publish([iris], {"iris": Traffic("iris", 1, "canary", live=2, candidate=3, weight_percent=0.0)})
    plane.watches = False
    assert ask(plane)["side"] == "candidate"


def test_a_grpc_call_is_named_by_its_method(iris):
    line = logged_over("grpc", plane_of(iris), "iris")
    assert (line["method"], line["path"]) == ("gRPC", f"/{OIP}/ModelInfer")


def test_a_path_is_logged_without_its_query_and_with_its_route(iris):
    plane = plane_of(iris)
    log, stream = log_of(plane)
    ask_http(plane, log, request(b"", "/models/iris/metadata?secret=1", "GET"), fast=True)
    line = json.loads(stream.getvalue())
    assert (line["path"], line["route"]) == ("/models/iris/metadata", "/models/{name}/metadata")
    assert "secret" not in stream.getvalue()


def test_text_is_one_line_whatever_a_caller_writes(iris):
    plane = plane_of(iris)
    log, stream = log_of(plane, "text")
    ask_http(plane, log, request(b"", "/a%0Ab%1B%22", "GET", x_request_id='x" y=1'), fast=True)
    (line,) = stream.getvalue().splitlines()
    assert """GET "/a\\nb\\x1b\\"" 404""" in line
    assert '''request_id="x\\" y=1"''' in line


def test_text_has_the_same_facts(iris):
    plane = plane_of(iris)
    log, stream = log_of(plane, "text")
    ask_http(plane, log, request(path="/models/iris/predict", traceparent=PARENT), fast=True)
    line = stream.getvalue()
    assert " INFO POST /models/iris/predict 200 protocol=native ms=" in line
    assert " model=iris version=3 rows=1 caller=127.0.0.1 request_id=" in line
    assert line.endswith(f" trace_id={TRACE}\n")


def test_pieces_are_no_larger_than_a_pipe_takes_whole(iris):
    plane = plane_of(iris)
    stream = _Pieces()
    log = AccessLog(plane, Callers(), "json", stream)
    settings = ServeSettings(**SETTINGS)
    app = make_app(plane, settings)
    app.pipeline = Pipeline(plane, app.metrics, Steps(observe=(log.observe,)))
    with listening(app, settings, fast=True) as host, host.wire() as wire:
        for _ in range(40):
            wire.send(request())
            wire.answer()
    log.close()
    assert all(len(piece.encode()) <= select.PIPE_BUF for piece in stream.pieces)
    assert all(piece.endswith("\n") for piece in stream.pieces)
    assert "".join(stream.pieces).count("\n") == 40


class _Pieces(io.StringIO):
    """Keeps each piece that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, piece: str) -> int:
        self.pieces.append(piece)
        return len(piece)
