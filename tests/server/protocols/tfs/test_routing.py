"""Versions, labels and unknown names, over REST and gRPC."""

from __future__ import annotations

import numpy as np
import pytest

from support.tensorflow_serving import (
    error_of,
    predict_request,
    refusal,
)

ROW = [5.1, 3.5, 1.4, 0.2]


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/v1/models/iris:predict", 2),
        ("/v1/models/iris/versions/1:predict", 1),
        ("/v1/models/iris/versions/2:predict", 2),
        ("/v1/models/iris/labels/best:predict", 2),
        ("/v1/models/iris/labels/stable:predict", 2),
        ("/V1/Models/iris/Versions/1:Predict", 1),
        ("/v1/models/%69ris/labels/b%65st:predict", 2),
    ],
)
def test_versions_and_labels_are_found_in_any_case(models, path, version):
    answer = models.post(path, {"instances": [ROW], "signature_name": "serving_default"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-lading-model"] == f"iris:{version}"


def test_a_request_needs_a_name_and_a_possible_version(models):
    assert error_of(models.get("/v1/models")) == "Missing model name in request."
    huge = f"/v1/models/iris/versions/{2**64}:predict"
    assert error_of(models.post(huge, {})) == f"Failed to convert version: {2**64} to numeric."


def test_unknown_names_are_refused_in_the_words_of_tensorflow_serving(models):
    rows = {"instances": [ROW]}
    assert error_of(models.post("/v1/models/rose:predict", rows), 404) == (
        "Servable not found for request: Latest(rose)"
    )
    assert error_of(models.post("/v1/models/iris/versions/9:predict", rows), 404) == (
        "Servable not found for request: Specific(iris, 9)"
    )
    assert error_of(models.post("/v1/models/iris/labels/none:predict", rows)) == (
        "Unrecognized servable version label: none"
    )
    assert error_of(models.get("/v1/models/rose"), 404) == "Could not find any versions of model rose"
    assert error_of(models.get("/v1/models/iris/versions/9"), 404) == "Could not find version 9 of model iris"


def test_a_version_or_label_chooses_the_version_over_grpc(client):
    request = predict_request("iris", X=np.array([ROW], np.float32))
    request.model_spec.version.value = 1
    assert client.Predict(request).model_spec.version.value == 1
    for label in ("best", "stable"):
        request.model_spec.version_label = label
        assert client.Predict(request).model_spec.version.value == 2


def test_wrong_requests_over_grpc_are_refused_in_the_words_of_tensorflow_serving(client):
    rows = np.array([ROW], np.float32)
    assert refusal(client.Predict, predict_request("rose", X=rows)) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(rose)",
    )
    request = predict_request("iris", X=rows)
    request.model_spec.version.value = 9
    assert refusal(client.Predict, request)[1] == "Servable not found for request: Specific(iris, 9)"
    request.model_spec.version_label = "none"
    assert refusal(client.Predict, request) == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: none",
    )
    assert refusal(client.Predict, predict_request("", X=rows))[1] == "ModelSpec has no name specified."
    status, text = refusal(client.Predict, predict_request("iris", Y=rows))
    assert text == (
        "input size does not match signature: 1!=1 len({Y}) != len({X}). "
        "Sent extra: {Y}. Missing but required: {X}."
    )
    assert status == "INVALID_ARGUMENT"
    assert "found shape `[1, 3]`" in refusal(client.Predict, predict_request("iris", X=rows[:, :3]))[1]
    assert refusal(client.Predict, predict_request("wine", X=rows))[0] == "UNAVAILABLE"
    named = predict_request("iris", X=rows)
    named.model_spec.signature_name = "other"
    assert 'Serving signature name: "other" not found' in refusal(client.Predict, named)[1]
