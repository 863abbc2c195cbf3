"""TensorFlow Serving over gRPC, on a real port."""

from __future__ import annotations

import numpy as np

from support.tensorflow_serving import (
    message,
    predict_request,
    refusal,
    run_iris,
    shape_of,
)

ROW = [5.1, 3.5, 1.4, 0.2]


def test_predict_answers_every_output_and_names_the_version(client, models):
    answer = client.Predict(predict_request("iris", X=np.array([ROW], np.float32)))
    expected = run_iris(models, 2, [ROW])
    assert answer.model_spec.version.value == 2
    assert answer.model_spec.signature_name == "serving_default"
    assert shape_of(answer.outputs["probabilities"]) == [1, 3]
    probabilities = np.array(answer.outputs["probabilities"].float_val, np.float32)
    np.testing.assert_array_equal(probabilities, expected["probabilities"][0])
    assert list(answer.outputs["label"].int64_val) == expected["label"].tolist()


def test_an_output_filter_selects_outputs(client):
    request = predict_request("iris", X=np.array([ROW], np.float32))
    request.output_filter.append("label")
    assert list(client.Predict(request).outputs) == ["label"]
    request.output_filter.append("label")
    assert refusal(client.Predict, request) == ("INVALID_ARGUMENT", "duplicate output tensor alias: label")
    request.output_filter[:] = ["nothing"]
    status, text = refusal(client.Predict, request)
    assert status == "INVALID_ARGUMENT"
    assert text.startswith("output tensor alias not found in signature: nothing")


def test_several_inputs_and_strings_over_grpc(client):
    request = predict_request("people", age=np.array([[3]], np.float32), city=np.array([["각"]], object))
    answer = client.Predict(request)
    assert list(answer.outputs["where"].string_val) == ["각".encode()]
    assert list(answer.outputs["value"].float_val) == [3]


def test_a_new_configuration_is_not_supported_and_the_error_has_a_hint(client):
    status, text = refusal(client.HandleReloadConfigRequest, message("ReloadConfigRequest")())
    assert status == "UNIMPLEMENTED"
    assert "hint: " in text
