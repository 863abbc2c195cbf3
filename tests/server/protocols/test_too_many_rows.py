"""A request of more rows than `max_request_rows` is refused in every protocol, by a model of any kind."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from lading.server.process.compose import request_steps
from lading.settings import ServeSettings
from lading.signature import Signature
from support.bundles import linear_bundle, linear_rows
from support.grpc_client import ask, grpc_serving, one_row
from support.hosted_app import AppClient, gated, hosted, served_from
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.open_inference import infer, infer_binary, tensor_json
from support.tensorflow_serving import message, predict_request

LIMIT = 8
ROWS = linear_rows(rows=LIMIT + 1)
REFUSED = f"expected at most {LIMIT} rows, found {LIMIT + 1}"
JSON_LISTS = ROWS.tolist()
POSTS: dict[str, tuple[str, Any]] = {
    "native": ("/models/iris/predict", {"data": JSON_LISTS}),
    "native, labels": ("/models/iris/predict/label", {"data": JSON_LISTS}),
    "native, by name": ("/predict", {"data": {"X": JSON_LISTS}, "outputs": ["label"]}),
    "TensorFlow Serving, rows": ("/v1/models/iris:predict", {"instances": JSON_LISTS}),
    "TensorFlow Serving, whole": ("/v1/models/iris:predict", {"inputs": JSON_LISTS}),
    "MLflow": ("/invocations", {"inputs": JSON_LISTS}),
    "Vertex AI": ("/vertex", {"instances": JSON_LISTS}),
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory) -> Iterator[AppClient]:
    served = served_from(linear_bundle(tmp_path_factory.mktemp("iris") / "iris"))
    runtime = gated(served, 0.0)
    client = hosted(served, max_request_rows=LIMIT, vertex_predict_route="/vertex")
    yield client
    assert max(runtime.rows, default=0) <= LIMIT, "nothing that is refused runs"


@pytest.mark.parametrize("way", POSTS)
def test_a_body_of_too_many_rows_is_refused(limited, way):
    path, body = POSTS[way]
    response = limited.post(path, body)
    assert (response.status_code, REFUSED in response.text) == (413, True), response.text


def test_bytes_csv_and_numpy_files_of_too_many_rows_are_refused(limited):
    binary = tensor_json(ROWS, "float32", name="X", parameters={"binary_data_size": ROWS.nbytes})
    answers = [
        infer(limited, "iris", tensor_json(ROWS, "float32", name="X", data=JSON_LISTS)),
        infer_binary(limited, "iris", {"inputs": [binary]}, ROWS.tobytes()),
    ]
    file = io.BytesIO()
    np.save(file, ROWS)
    text = "\n".join(",".join(map(str, row)) for row in JSON_LISTS)
    lines = "\n".join(map(str, JSON_LISTS))
    for kind, content in (
        ("text/csv", text),
        ("application/jsonlines", lines),
        ("application/x-npy", file.getvalue()),
    ):
        answers.append(limited.post("/invocations", content=content, headers={"content-type": kind}))
    for answer in answers:
        assert (answer.status_code, REFUSED in answer.text) == (413, True), answer.text


def test_a_request_at_the_limit_is_answered(limited):
    answer = limited.post("/predict", {"data": JSON_LISTS[:LIMIT]})
    assert len(answer.json()["prediction"]) == LIMIT


def test_grpc_calls_of_too_many_rows_are_refused(limited):
    steps = request_steps(ServeSettings(max_request_rows=LIMIT))
    with grpc_serving(limited.app.plane, steps=steps) as (channel, _):
        with pytest.raises(grpc.RpcError, match=REFUSED) as oip:
            ask(channel, "ModelInfer", **one_row(rows=LIMIT + 1))
        call = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            lambda sent: sent.SerializeToString(),
            message("PredictResponse").FromString,
        )
        with pytest.raises(grpc.RpcError, match=REFUSED) as tfs:
            call(predict_request("iris", X=ROWS))
        assert {oip.value.code(), tfs.value.code()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert ask(channel, "ModelInfer", **one_row(rows=LIMIT))


def test_rows_that_depend_on_each_other_are_counted_too(tmp_path):
    inputs, outputs = (tensor("x", "float32", "batch", 1),), (tensor("y", "float32", 1, 1),)
    model = graph([node("ReduceSum", "x", "y")], inputs, outputs)
    samples = {"x": np.ones((2, 1), np.float32)}
    served = served_from(bundle_of(tmp_path / "sum", model, Signature(inputs, outputs), samples))
    client = hosted(served, max_request_rows=LIMIT)
    assert client.post("/predict", {"data": [[1.0]] * LIMIT}).json() == {"prediction": [[float(LIMIT)]]}
    assert client.post("/predict", {"data": [[1.0]] * (LIMIT + 1)}).status_code == 413


def test_without_a_limit_a_step_is_not_even_listed():
    assert request_steps(ServeSettings()).look_up == ()
