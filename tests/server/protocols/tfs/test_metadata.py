"""States and signatures of versions, over REST and gRPC."""

from __future__ import annotations

from lading.server.inference.version import ServedVersion, State
from support.hosted_app import hosted
from support.tensorflow_serving import (
    message,
    refusal,
)


def test_status_lists_versions_newest_first_and_indented(models):
    answer = models.get("/v1/models/iris")
    assert answer.json() == {
        "model_version_status": [
            {
                "version": str(version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for version in (2, 1)
        ]
    }
    assert answer.text.startswith('{\n "model_version_status": [\n  {\n   "version": "2",')
    first = models.get("/v1/models/iris/versions/1").json()["model_version_status"]
    assert [status["version"] for status in first] == ["1"]


def test_states_have_the_names_of_tensorflow_serving():
    names = {
        State.LOADING: "LOADING",
        State.WARMING: "LOADING",
        State.READY: "AVAILABLE",
        State.DRAINING: "UNLOADING",
        State.UNLOADED: "END",
        State.FAILED: "END",
    }
    for state, name in names.items():
        answer = hosted(ServedVersion("wine", 1, "sha256:0", state, "because")).get("/v1/models/wine").json()
        status = answer["model_version_status"][0]
        assert status["state"] == name
        assert status["status"]["error_message"] == ("because" if state is State.FAILED else "")


def test_metadata_nests_the_signature_twice(models):
    metadata = models.get("/v1/models/iris/metadata").json()
    assert metadata["model_spec"] == {"name": "iris", "signature_name": "", "version": "2"}
    definition = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["inputs"]["X"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "4", "name": ""}],
            "unknown_rank": False,
        },
        "name": "X:0",
    }
    assert definition["outputs"]["label"]["dtype"] == "DT_INT64"
    assert definition["method_name"] == "tensorflow/serving/predict"


def test_metadata_is_an_any_of_signatures_over_grpc(client):
    request = message("GetModelMetadataRequest")()
    request.model_spec.name = "iris"
    assert refusal(client.GetModelMetadata, request)[0] == "INVALID_ARGUMENT"
    request.metadata_field.append("signature_def")
    answer = client.GetModelMetadata(request)
    packed = answer.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    definitions = message("SignatureDefMap").FromString(packed.value)
    definition = definitions.signature_def["serving_default"]
    assert definition.inputs["X"].dtype == 1
    assert [dim.size for dim in definition.inputs["X"].tensor_shape.dim] == [-1, 4]
    request.metadata_field.append("other")
    assert "other" in refusal(client.GetModelMetadata, request)[1]


def test_status_has_states_and_reasons_over_grpc(client):
    request = message("GetModelStatusRequest")()
    assert refusal(client.GetModelStatus, request) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    request.model_spec.name = "iris"
    versions = client.GetModelStatus(request).model_version_status
    assert [(version.version, version.state) for version in versions] == [(2, 30), (1, 30)]
    request.model_spec.name = "wine"
    failed = client.GetModelStatus(request).model_version_status[0]
    assert (failed.state, failed.status.error_code, failed.status.error_message) == (50, 9, "because")
    request.model_spec.name = "rose"
    assert refusal(client.GetModelStatus, request)[1] == "Could not find any versions of model rose"
