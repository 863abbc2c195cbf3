"""Every protocol takes the same arrays for a model, and gives the same answer to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.echo_models import echo_bundle
from support.grpc_client import ask, grpc_serving
from support.hosted_app import AppClient, hosted, served_from
from support.open_inference import infer, infer_binary, tensor_json
from support.tensorflow_serving import message

VERTEX = "/vertex"
Shape = tuple[int | str, ...]
SHAPES: tuple[Shape, ...] = (
    ("batch", 3),
    ("batch", "n"),
    ("batch", "?", "?"),
    ("batch", "n", "n"),
    ("batch", 2, "?", "?"),
    ("batch", "?", 2, "?"),
    ("?", "?"),
    ("n", "n"),
    ("n", "m"),
    ("n", 2, "?"),
    (2, "n", "?"),
)


@dataclass(frozen=True)
class Asked:
    """One model behind every protocol."""

    shape: Shape
    rest: AppClient
    channel: grpc.Channel


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Iterator[list[Asked]]:
    folder = tmp_path_factory.mktemp("agreement")
    with contextlib.ExitStack() as stack:
        asked = []
        for at, shape in enumerate(SHAPES):
            served = served_from(echo_bundle(folder / str(at), "float32", "m", shape))
            rest = hosted(served, vertex_predict_route=VERTEX)
            channel, _ = stack.enter_context(grpc_serving(rest.app.plane))
            asked.append(Asked(shape, rest, channel))
        yield asked


def posted(path: str, body: Callable[[Any], Any], key: str) -> Callable[[Asked, Any], Any]:
    """Return the way to ask by a JSON body; `key` has the answer."""

    def ask_by_json(asked: Asked, array: Any) -> Any:
        response = asked.rest.post(path, body(array.tolist()))
        assert response.status_code in (200, 400), response.text
        return response.json()[key] if response.status_code == 200 else None

    return ask_by_json


def by_oip(asked: Asked, array: Any, data: Any) -> Any:
    response = infer(asked.rest, "m", tensor_json(array, "float32", data=data))
    assert response.status_code in (200, 400), response.text
    return values_of(response.json()["outputs"][0]) if response.status_code == 200 else None


def by_oip_bytes(asked: Asked, array: Any) -> Any:
    tensor = tensor_json(array, "float32", parameters={"binary_data_size": array.nbytes})
    response = infer_binary(asked.rest, "m", {"inputs": [tensor]}, array.tobytes())
    assert response.status_code in (200, 400), response.text
    return values_of(response.json()["outputs"][0]) if response.status_code == 200 else None


def by_oip_grpc(asked: Asked, array: Any) -> Any:
    tensor = {"name": "x", "datatype": "FP32", "shape": array.shape}
    fields: dict[str, Any] = {"inputs": [tensor], "raw_input_contents": [array.tobytes()]}
    answered = unless_refused(lambda: ask(asked.channel, "ModelInfer", model_name="m", **fields)[0])
    if answered is None:
        return None
    flat = np.frombuffer(answered.raw_output_contents[0], np.float32)
    return flat.reshape(tuple(answered.outputs[0].shape)).tolist()


def by_tfs_grpc(asked: Asked, array: Any) -> Any:
    request = message("PredictRequest")()
    request.model_spec.name = "m"
    proto = request.inputs["x"]
    proto.dtype, proto.tensor_content = 1, array.tobytes()  # DT_FLOAT
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    call = asked.channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        lambda sent: sent.SerializeToString(),
        message("PredictResponse").FromString,
    )
    answered = unless_refused(lambda: call(request))
    if answered is None:
        return None
    output = answered.outputs["y"]
    sizes = [dim.size for dim in output.tensor_shape.dim]
    content = output.tensor_content
    values = np.frombuffer(content, np.float32) if content else np.array(output.float_val, np.float32)
    return values.reshape(sizes).tolist()


def unless_refused(call: Callable[[], Any]) -> Any:
    """Return the answer of a gRPC call, or None if it refuses its input."""
    try:
        return call()
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            return None
        raise


def values_of(output: dict[str, Any]) -> Any:
    return np.array(output["data"], np.float32).reshape(output["shape"]).tolist()


WAYS: dict[str, Callable[[Asked, Any], Any]] = {
    "native": posted("/models/m/predict", lambda rows: {"data": rows}, "prediction"),
    "native by name": posted("/models/m/predict", lambda rows: {"data": {"x": rows}}, "prediction"),
    "OIP, nested": lambda asked, array: by_oip(asked, array, array.tolist()),
    "OIP, flat": lambda asked, array: by_oip(asked, array, array.ravel().tolist()),
    "OIP, bytes": by_oip_bytes,
    "OIP, gRPC": by_oip_grpc,
    "TensorFlow Serving, rows": posted(
        "/v1/models/m:predict", lambda rows: {"instances": rows}, "predictions"
    ),
    "TensorFlow Serving, whole": posted("/v1/models/m:predict", lambda rows: {"inputs": rows}, "outputs"),
    "TensorFlow Serving, gRPC": by_tfs_grpc,
    "MLflow, whole": posted("/invocations", lambda rows: {"inputs": {"x": rows}}, "predictions"),
    "MLflow, rows": posted("/invocations", lambda rows: {"instances": rows}, "predictions"),
    "Vertex AI": posted(VERTEX, lambda rows: {"instances": rows}, "predictions"),
}


def fits(shape: Shape, sizes: tuple[int, ...]) -> bool:
    """Return whether a model of `shape` must take `sizes`: equal names are equal sizes, but for `?`."""
    named: dict[str, int] = {}
    return all(
        size == wanted if isinstance(size, int) else size == "?" or named.setdefault(size, wanted) == wanted
        for size, wanted in zip(shape, sizes, strict=True)
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    at=st.integers(0, len(SHAPES) - 1),
    sizes=st.tuples(*[st.integers(1, 3)] * 4),
    fitted=st.booleans(),
)
def test_all_protocols_take_the_same_shapes_and_answer_the_same(models, at, sizes, fitted):
    asked = models[at]
    # Fixed sizes are mostly kept: a wrong one is refused whatever the open ones are.
    wanted = tuple(
        size if isinstance(size, int) and fitted else drawn
        for size, drawn in zip(asked.shape, sizes[: len(asked.shape)], strict=True)
    )
    array = np.arange(np.prod(wanted), dtype=np.float32).reshape(wanted)
    expected = array.tolist() if fits(asked.shape, wanted) else None
    answers = {name: way(asked, array) for name, way in WAYS.items()}
    assert answers == dict.fromkeys(WAYS, expected), (asked.shape, wanted)
