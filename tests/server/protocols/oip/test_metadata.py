"""Metadata, index and statistics of the Open Inference Protocol."""

from __future__ import annotations

import numpy as np

from lading.server.grpc import descriptors
from support.grpc_client import ask, grpc_serving, plane_of
from support.open_inference import infer, tensor_json


def test_metadata_names_versions_datatypes_and_dynamic_shapes(client):
    metadata = client.get("/v2/models/iris").json()
    assert metadata == {
        "name": "iris",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }
    assert client.get("/v2/models/iris/versions/1").json() == metadata


IRIS_CONFIG = {
    "name": "iris",
    "platform": "onnxruntime_onnx",
    "backend": "onnxruntime",
    "max_batch_size": 1024,
    "input": [{"name": "X", "data_type": "TYPE_FP32", "dims": [4]}],
    "output": [
        {"name": "label", "data_type": "TYPE_INT64", "dims": []},
        {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [3]},
    ],
    "instance_group": [{"name": "iris_0", "kind": "KIND_CPU", "count": 1}],
    "model_transaction_policy": {"decoupled": False},
    "dynamic_batching": {"max_queue_delay_microseconds": 0},
}


def test_the_configuration_is_written_as_triton_writes_it(client):
    assert client.get("/v2/models/iris/config").json() == IRIS_CONFIG
    assert client.get("/v2/models/iris/versions/1/config").json() == IRIS_CONFIG
    whole = client.get("/v2/models/row/config").json()
    assert (whole["max_batch_size"], whole["input"][0]["dims"]) == (0, [-1])
    assert "dynamic_batching" not in whole
    text = client.get("/v2/models/echo-string/config").json()
    assert text["input"][0]["data_type"] == "TYPE_STRING"
    assert client.get("/v2/models/wine/config").status_code == 404


def test_grpc_has_the_configuration_that_rest_has(client, versions):
    with grpc_serving(plane_of(*versions)) as (channel, _):
        for name in ("iris", "row", "echo-string", "scalar"):
            answer, _ = ask(channel, "ModelConfig", name=name)
            expected = descriptors.message("oip", "inference.ModelConfig")(
                **client.get(f"/v2/models/{name}/config").json()
            )
            assert answer.config == expected


def test_the_server_names_its_extensions(client):
    for path in ("/v2", "/v2/"):
        metadata = client.get(path).json()
        assert metadata["name"] == "lading"
        assert "binary_tensor_data" in metadata["extensions"]


def test_statistics_are_summed_over_protocols(client):
    before = client.get("/v2/models/sum/stats").json()["model_stats"][0]
    a = np.ones((3, 2), np.float32)
    pair = [tensor_json(a, "float32", name, data=a.tolist()) for name in "ab"]
    assert infer(client, "sum", *pair).status_code == 200
    client.post("/models/sum/predict", {"data": {"a": [[1, 1]], "b": [[1, 1]]}})
    (after,) = client.get("/v2/models/sum/versions/1/stats").json()["model_stats"]
    assert after["inference_count"] - before["inference_count"] == 4
    success = after["inference_stats"]["success"]
    assert success["count"] - before["inference_stats"]["success"]["count"] == 2
    assert success["ns"] > before["inference_stats"]["success"]["ns"]
    assert len(client.get("/v2/models/stats").json()["model_stats"]) > 10
