"""TensorFlow Serving as its clients use it: messages, the two services, tensors, examples, errors."""

from __future__ import annotations

from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from lading.server.grpc import descriptors
from lading.server.protocols.tfs import tensor_proto
from lading.signature import Tensor
from support.hosted_app import AppClient


def message(name: str) -> Any:
    """Return a message class of TensorFlow Serving, or of TensorFlow by its full name."""
    return descriptors.message("tfs", name if name.startswith("tensorflow") else f"tensorflow.serving.{name}")


class Client:
    """Both services, with the methods of a generated stub."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def __getattr__(self, method: str) -> Any:
        for name in ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
            descriptor = descriptors.service("tfs", name).methods_by_name.get(method)
            if descriptor is not None:
                answer = descriptors.message("tfs", descriptor.output_type.full_name)
                return self.channel.unary_unary(
                    f"/{name}/{method}", lambda request: request.SerializeToString(), answer.FromString
                )
        raise AttributeError(method)


def refusal(call: Any, request: Any) -> tuple[str, str]:
    """Return status and sentence of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code().name, caught.value.details()


def error_of(response: httpx.Response, status: int = 400) -> str:
    """Return the sentence of a refused REST request, which must have the form of TensorFlow Serving."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    error: str = body["error"]
    return error


def run_iris(models: AppClient, version: int, rows: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return what a version of `iris` computes, past every protocol."""
    return models.app.plane.find("iris", version).run({"X": np.array(rows, np.float32)})


def predict_request(model: str, **inputs: Any) -> Any:
    """Return a request with typed tensors."""
    request = message("PredictRequest")()
    request.model_spec.name = model
    for name, array in inputs.items():
        put_tensor(request.inputs[name], np.asarray(array))
    return request


def put_tensor(proto: Any, array: np.ndarray[Any, Any]) -> None:
    """Write an array into a TensorProto."""
    dtype: Any = "string" if array.dtype.kind in "UO" else array.dtype.name
    tensor = Tensor(name="x", dtype=dtype, shape=("batch",) * array.ndim)
    tensor_proto.to_proto(tensor, array.astype(tensor.numpy_dtype), proto)


def shape_of(proto: Any) -> list[int]:
    """Return the shape of a TensorProto."""
    return [dim.size for dim in proto.tensor_shape.dim]


def examples_input(*rows: dict[str, list[Any]], kind: str = "example_list") -> Any:
    """Return an Input with an example per row."""
    made = message("Input")()
    examples = getattr(made, kind).examples
    for row in rows:
        fill_example(examples.add(), row)
    return made


def fill_example(example: Any, row: dict[str, list[Any]]) -> None:
    """Write features into an example, in the list of their type."""
    for name, values in row.items():
        feature = example.features.feature[name]
        if isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
