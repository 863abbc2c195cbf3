"""Over every predict route an answer is counted, compared with the other side's, and found by feedback.

Whatever outputs the route computes: real requests over real sockets.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import grpc
import httpx
import numpy as np
import pytest

from lading.server.grpc import descriptors
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion
from lading.server.observe.observer import Observer
from lading.server.process.compose import make_app, make_plane
from lading.settings import ServeSettings
from lading.signature import Signature
from support.bundles import linear_bundle
from support.grpc_client import OIP, grpc_serving
from support.hosted_app import served_from
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.open_inference import LENGTH
from support.tensorflow_serving import examples_input, message, predict_request
from support.waiting import wait_until
from support.wire import listening

ROW = [5.1, 3.5, 1.4, 0.2]
TO_CANDIDATE = (b"x-tier", b"gold", "candidate")
VERTEX = "/vertex"
SETTINGS = ServeSettings(grpc_port=-1, vertex_predict_route=VERTEX)
OIP_INPUT = {"name": "X", "datatype": "FP32", "shape": [1, 4], "data": ROW}


class Asking(NamedTuple):
    """A client of every transport, and the model that it asks."""

    rest: httpx.Client
    channel: grpc.Channel
    model: str


Ask = Callable[[Asking, dict[str, str]], str]
"""Asks with headers or metadata, and returns the id of the request."""


def posted(path: str, body: Any, kind: str = "application/json", **more: str) -> Ask:
    """Return the way to ask over REST; the path names the model as ``{m}``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def ask(asking: Asking, headers: dict[str, str]) -> str:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        answer = asking.rest.post(
            path.format(m=asking.model),
            content=content,
            headers={"content-type": kind, **named, **headers},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-request-id"])

    return ask


def called(service: str, method: str, make: Callable[[str], Any], *, stream: bool = False) -> Ask:
    """Return the way to ask over gRPC; `make` builds the message for a model."""

    def ask(asking: Asking, headers: dict[str, str]) -> str:
        path, content = f"/{service}/{method}", make(asking.model).SerializeToString()
        metadata = tuple(headers.items())
        if stream:
            response = descriptors.message("oip", "inference.ModelStreamInferResponse")
            call = asking.channel.stream_stream(path, response_deserializer=response.FromString)
            (answer,) = call(iter([content]), metadata=metadata, timeout=10)
            # Each message of a stream is a request of its own.
            return str(answer.infer_response.parameters["x-request-id"].string_param)
        asking.channel.unary_unary(path)(content, metadata=metadata, timeout=10)
        return headers["x-request-id"]

    return ask


def infer_message(*outputs: str) -> Callable[[str], Any]:
    def make(model: str) -> Any:
        fields = {
            "model_name": model,
            "inputs": [{key: OIP_INPUT[key] for key in ("name", "datatype", "shape")}],
        }
        raw = [np.array(ROW, np.float32).tobytes()]
        wanted = [{"name": name} for name in outputs]
        of = descriptors.message("oip", "inference.ModelInferRequest")
        return of(**fields, raw_input_contents=raw, outputs=wanted)

    return make


def tfs_predict(*outputs: str) -> Callable[[str], Any]:
    def make(model: str) -> Any:
        request = predict_request(model, X=np.array([ROW], np.float32))
        request.output_filter.extend(outputs)
        return request

    return make


def tfs_examples(name: str, feature: str, values: list[float]) -> Callable[[str], Any]:
    def make(model: str) -> Any:
        request = message(name)()
        request.model_spec.name = model
        request.input.CopyFrom(examples_input({feature: values}))
        return request

    return make


def tfs_multi(model: str) -> Any:
    request = message("MultiInferenceRequest")()
    task = request.tasks.add()
    task.model_spec.name, task.method_name = model, "tensorflow/serving/classify"
    request.input.CopyFrom(examples_input({"X": ROW}))
    return request


def oip_bytes(*outputs: str) -> tuple[bytes, str]:
    """Return a body with the bytes of the tensor behind the JSON, and the length of the JSON."""
    data = np.array(ROW, np.float32).tobytes()
    head = {"name": "X", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": len(data)}}
    wanted = {"outputs": [{"name": name} for name in outputs]} if outputs else {}
    text = json.dumps({"inputs": [head], **wanted}).encode()
    return text + data, str(len(text))


PREDICTION = "tensorflow.serving.PredictionService"
OF_CLASSIFIER: dict[str, Ask] = {
    "/predict": posted("/predict", {"data": [ROW]}),
    "/predict/label": posted("/predict/label", {"data": [ROW]}),
    "/models/m/predict": posted("/models/{m}/predict", {"data": [ROW]}),
    "/models/m/predict, label": posted("/models/{m}/predict", {"data": [ROW], "outputs": ["label"]}),
    "/models/m/predict, both": posted(
        "/models/{m}/predict", {"data": [ROW], "outputs": ["label", "probabilities"]}
    ),
    "/models/m/predict/label": posted("/models/{m}/predict/label", {"data": [ROW]}),
    "OIP": posted("/v2/models/{m}/infer", {"inputs": [OIP_INPUT]}),
    "OIP, label": posted("/v2/models/{m}/infer", {"inputs": [OIP_INPUT], "outputs": [{"name": "label"}]}),
    "OIP, bytes": posted(
        "/v2/models/{m}/infer",
        oip_bytes("label")[0],
        "application/octet-stream",
        **{LENGTH.replace("-", "_"): oip_bytes("label")[1]},
    ),
    "TFS rows": posted("/v1/models/{m}:predict", {"instances": [ROW]}),
    "TFS columns": posted("/v1/models/{m}:predict", {"inputs": {"X": [ROW]}}),
    "TFS classify": posted("/v1/models/{m}:classify", {"examples": [{"X": ROW}]}),
    "MLflow": posted("/invocations", {"inputs": [ROW]}),
    "SageMaker, CSV": posted("/invocations", b"5.1,3.5,1.4,0.2\n", "text/csv"),
    "SageMaker, JSON lines": posted("/invocations", b"[5.1,3.5,1.4,0.2]\n", "application/jsonlines"),
    "Vertex AI": posted(VERTEX, {"instances": [ROW]}),
    "gRPC ModelInfer": called(OIP, "ModelInfer", infer_message()),
    "gRPC ModelInfer, label": called(OIP, "ModelInfer", infer_message("label")),
    "gRPC ModelStreamInfer": called(OIP, "ModelStreamInfer", infer_message("label"), stream=True),
    "gRPC Predict": called(PREDICTION, "Predict", tfs_predict()),
    "gRPC Predict, label": called(PREDICTION, "Predict", tfs_predict("label")),
    "gRPC Classify": called(PREDICTION, "Classify", tfs_examples("ClassificationRequest", "X", ROW)),
    "gRPC MultiInference": called(PREDICTION, "MultiInference", tfs_multi),
}
OF_REGRESSOR: dict[str, Ask] = {
    "/predict": posted("/predict", {"data": [[2.0]]}),
    "TFS regress": posted("/v1/models/{m}:regress", {"examples": [{"X": 2.0}]}),
    "gRPC Regress": called(PREDICTION, "Regress", tfs_examples("RegressionRequest", "X", [2.0])),
}


HERE = Callers().group("127.0.0.1", {})


class Canary:
    """A server with a canary under way, whose observer the test asks what it has seen."""

    def __init__(self, plane: DataPlane, observer: Observer, asking: Asking) -> None:
        self.plane, self.observer, self.asking = plane, observer, asking

    def ask_both(self, ask: Ask, truth: str) -> dict[int, Any]:
        """Ask both sides until both have answered some request both; return the windows by version."""
        candidate = self.plane.traffic[self.asking.model].candidate
        release = self.plane.traffic[self.asking.model].release
        served = self.plane.find(self.asking.model, candidate)

        ids: list[str] = []

        def compared() -> bool:
            # Ids of their own: feedback counts once for an id.
            own = {tier: f"{tier}-{secrets.token_hex(8)}" for tier in ("silver", "gold")}
            ids[:] = [ask(self.asking, {"x-tier": tier, "x-request-id": name}) for tier, name in own.items()]
            return bool(self.observer.windows.counts(release, served, HERE).shadows)

        wait_until(compared)
        for request_id in ids:
            assert self.observer.match_feedback(self.asking.model, request_id.encode(), (truth,)), request_id
        self.observer.windows.rotate(time.time(), last=True)
        return {window.version: window for window in self.observer.windows.drain()}


def canary_of(*pair: ServedVersion) -> Iterator[Canary]:
    """Serve two versions of one model over every protocol, the second to callers with a header."""
    observer = Observer("here")
    plane = make_plane(SETTINGS, pair[0].name, observer)
    plane.publish(pair, {pair[0].name: Traffic(pair[0].name, 1, "canary", 1, 2, 0.0, (TO_CANDIDATE,))})
    with (
        listening(make_app(plane, SETTINGS), SETTINGS, fast=True) as host,
        grpc_serving(plane) as (channel, _),
        httpx.Client(base_url=f"http://127.0.0.1:{host.address[1]}") as rest,
    ):
        yield Canary(plane, observer, Asking(rest, channel, pair[0].name))
    observer.close()


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory) -> Iterator[Canary]:
    folder = tmp_path_factory.mktemp("routes")
    yield from canary_of(
        *(served_from(linear_bundle(folder / str(seed), seed=seed), at) for at, seed in ((1, 0), (2, 2)))
    )


@pytest.fixture(scope="module")
def regressors(tmp_path_factory) -> Iterator[Canary]:
    folder = tmp_path_factory.mktemp("values")
    x, value = tensor("X", "float32", "batch", 1), tensor("value", "float32", "batch", 1)
    versions = []
    for version, scale in ((1, 1.0), (2, -1.0)):
        model = graph(
            [node("Mul", "X scale", "value")], [x], [value], constants={"scale": np.array(scale, np.float32)}
        )
        inputs = {"X": np.linspace(-3, 3, 100, dtype=np.float32).reshape(-1, 1)}
        signature = Signature(inputs=(x,), outputs=(value,))
        versions.append(served_from(bundle_of(folder / str(version), model, signature, inputs), version))
    yield from canary_of(*versions)


@pytest.mark.slow
@pytest.mark.parametrize("route", OF_CLASSIFIER)
def test_a_class_is_counted_compared_and_found_by_feedback_over_every_route(classifiers, route):
    windows = classifiers.ask_both(OF_CLASSIFIER[route], "virginica")
    live, candidate = windows[1], windows[2]
    assert live.requests == candidate.requests >= 1
    assert live.outputs == {"virginica": live.requests}
    assert candidate.outputs == {"versicolor": candidate.requests}
    assert (live.feedback.right, candidate.feedback.wrong) == (1, 1)
    assert (candidate.shadow.agreed, candidate.shadow.failed) == (0, 0)
    assert candidate.shadow.differed >= 1


@pytest.mark.slow
@pytest.mark.parametrize("route", OF_REGRESSOR)
def test_a_value_is_counted_compared_and_found_by_feedback_over_every_route(regressors, route):
    windows = regressors.ask_both(OF_REGRESSOR[route], "2.5")
    assert windows[1].outputs == {"bin 8": windows[1].requests}
    assert windows[2].outputs == {"bin 1": windows[2].requests}
    assert (windows[1].feedback.right, windows[2].feedback.wrong) == (1, 1)
    assert windows[2].shadow.agreed == 0
    assert windows[2].shadow.differed >= 1
