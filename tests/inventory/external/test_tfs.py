"""TensorFlow Serving, by the JSON in its documentation."""

from __future__ import annotations

import pytest

from lading.errors import RemoteError
from lading.inventory import adopt
from support.canned_server import answering

TFS = {
    "GET /v1/models/half": {
        "model_version_status": [
            {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
            {
                "version": "124",
                "state": "END",
                "status": {"error_code": "NOT_FOUND", "error_message": "no file"},
            },
        ]
    },
    "GET /v1/models/half/versions/123/metadata": {
        "model_spec": {"name": "half", "signature_name": "", "version": "123"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {
                            "x": {
                                "dtype": "DT_FLOAT",
                                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                                "name": "x:0",
                            }
                        },
                        "outputs": {},
                        "method_name": "tensorflow/serving/predict",
                    }
                }
            }
        },
    },
}


def test_tensorflow_serving_is_asked_about_named_models():
    with answering(TFS) as server:
        replica = adopt(server, ["half", "nobody"])
        with pytest.raises(RemoteError, match="found none") as caught:
            adopt(server)
    assert "--model" in str(caught.value.hint)
    assert (replica.pattern, replica.software) == ("foreign", "tensorflow-serving")
    ready, ended = replica.models
    assert (ready.version, ready.state, ready.input_format) == (123, "ready", "x: float [-1]")
    assert (ended.version, ended.state, ended.reason) == (124, "unloaded", "no file")
