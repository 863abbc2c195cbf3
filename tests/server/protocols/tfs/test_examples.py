"""Classify and regress over REST and gRPC."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import BodyInvalid, ShapeRefused
from lading.server.protocols.tfs.examples import inputs_of
from lading.signature import Signature, Tensor
from support.bundles import IRIS_COLUMNS
from support.tensorflow_serving import (
    error_of,
    examples_input,
    fill_example,
    message,
    refusal,
    run_iris,
)

ROW = [5.1, 3.5, 1.4, 0.2]


def test_classify_answers_labels_and_scores(models):
    examples = [dict(zip(IRIS_COLUMNS, ROW, strict=True)), {"X": ROW}]
    expected = run_iris(models, 2, [ROW])["probabilities"][0]
    for example in examples:
        answer = models.post("/v1/models/iris:classify", {"examples": [example, example]})
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert [label for label, _ in results[1]] == ["setosa", "versicolor", "virginica"]
        scores = np.array([score for _, score in results[1]], np.float32)
        np.testing.assert_array_equal(scores, expected)


def test_every_example_has_the_features_of_the_context(models):
    common = {IRIS_COLUMNS[0]: ROW[0], IRIS_COLUMNS[1]: [ROW[1]]}
    example = dict(zip(IRIS_COLUMNS[2:], ROW[2:], strict=True))
    answer = models.post("/v1/models/iris:classify", {"context": common, "examples": [example]})
    whole = models.post("/v1/models/iris:classify", {"examples": [{"X": ROW}]})
    assert answer.json() == whole.json()


def test_regress_answers_one_value_per_example(models):
    answer = models.post("/v1/models/half:regress", {"examples": [{"x": 1.0}, {"x": [2]}]})
    assert answer.content == b'{"results":[2.5,3.0]}'


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("half:classify", {"examples": [{"x": 1}]}, "Expected classification signature method_name to be"),
        ("iris:regress", {"examples": [{"X": ROW}]}, "Expected regression signature method_name to be"),
        ("half:regress", {}, "key 'examples' is expected and was not found"),
        ("half:regress", {"examples": 1}, "Expecting 'examples' value to be an list/array"),
        ("half:regress", {"examples": []}, "'examples' value is an empty array"),
        ("half:regress", {"examples": [1]}, "Example must be JSON object but got JSON Number"),
        (
            "half:regress",
            {"examples": [{"x": [[1]]}]},
            "Feature: x has element with unexpected JSON type: Array",
        ),
        (
            "half:regress",
            {"examples": [{"x": None}]},
            "Feature: x has element with unexpected JSON type: Null",
        ),
        ("half:regress", {"examples": [{"x": "a"}]}, "found a string"),
        ("half:regress", {"examples": [{"x": [1, 2]}]}, "found 2 values"),
        ("half:regress", {"examples": [{"y": 1}]}, "expected feature `x`"),
        ("half:regress", {"examples": [{"x": 1, "z": 1}]}, "found `z`"),
        ("iris:classify", {"examples": [{IRIS_COLUMNS[0]: 1}]}, f"expected feature `{IRIS_COLUMNS[1]}`"),
    ],
)
def test_wrong_examples_are_error_of(models, path, body, text):
    assert text in error_of(models.post(f"/v1/models/{path}", body))


def test_classify_and_regress_over_grpc(client, models):
    row = {name: [value] for name, value in zip(IRIS_COLUMNS, ROW, strict=True)}
    request = message("ClassificationRequest")(input=examples_input(row, {**row}))
    request.model_spec.name = "iris"
    result = client.Classify(request).result
    assert [label.label for label in result.classifications[1].classes] == [
        "setosa",
        "versicolor",
        "virginica",
    ]
    expected = run_iris(models, 2, [ROW])["probabilities"][0]
    scores = np.array([label.score for label in result.classifications[0].classes], np.float32)
    np.testing.assert_array_equal(scores, expected)
    request = message("RegressionRequest")(input=examples_input({"x": [1.0]}, {"x": [2]}))
    request.model_spec.name = "half"
    answer = client.Regress(request)
    assert [regression.value for regression in answer.result.regressions] == [2.5, 3.0]
    assert answer.model_spec.version.value == 123


def test_every_example_has_the_features_of_the_context_over_grpc(client):
    row = {name: [value] for name, value in zip(IRIS_COLUMNS, ROW, strict=True)}
    first = {name: row.pop(name) for name in IRIS_COLUMNS[:2]}
    features = examples_input(row, kind="example_list_with_context")
    fill_example(features.example_list_with_context.context, first)
    request = message("ClassificationRequest")(input=features)
    request.model_spec.name = "iris"
    assert len(client.Classify(request).result.classifications) == 1


def test_no_examples_and_bytes_that_are_no_text_are_error_of(client):
    request = message("RegressionRequest")()
    request.model_spec.name = "half"
    assert refusal(client.Regress, request) == ("INVALID_ARGUMENT", "Input is empty.")
    request.input.CopyFrom(examples_input({"x": [b"\xff"]}))
    assert "UTF-8" in refusal(client.Regress, request)[1]


def test_multi_inference_answers_several_tasks_from_one_run(client):
    row = {name: [value] for name, value in zip(IRIS_COLUMNS, ROW, strict=True)}
    request = message("MultiInferenceRequest")(input=examples_input(row))
    assert "at least one task" in refusal(client.MultiInference, request)[1]
    for _ in range(2):
        task = request.tasks.add(method_name="tensorflow/serving/classify")
        task.model_spec.name = "iris"
    answer = client.MultiInference(request)
    assert [len(result.classification_result.classifications) for result in answer.results] == [1, 1]
    request.tasks[1].method_name = "tensorflow/serving/regress"
    assert refusal(client.MultiInference, request)[0] == "INVALID_ARGUMENT"
    request.tasks[1].method_name = "something/else"
    assert refusal(client.MultiInference, request)[0] == "UNIMPLEMENTED"
    request.tasks[1].model_spec.name = "half"
    assert "same model name" in refusal(client.MultiInference, request)[1]


def signature_of(*shape: int | str) -> Signature:
    return Signature((Tensor(name="x", dtype="float32", shape=shape),), ())


def test_flat_values_become_rows_with_one_dynamic_dimension():
    examples = [{"x": [1, 2, 3, 4, 5, 6]}, {"x": [6, 5, 4, 3, 2, 1]}]
    for shape, sizes in (
        (("batch", 2, 3), (2, 2, 3)),
        (("batch", "n", 3), (2, 2, 3)),
        (("batch", "n"), (2, 6)),
    ):
        array = inputs_of(signature_of(*shape), examples)["x"]
        assert array.shape == sizes
        assert array.reshape(-1).tolist() == [1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("shape", [("batch", "n", 4), ("batch", "n", "m")])
def test_flat_values_that_determine_no_shape_are_refused(shape):
    with pytest.raises(ShapeRefused, match="found 6 values an example"):
        inputs_of(signature_of(*shape), [{"x": [1, 2, 3, 4, 5, 6]}])


def test_an_input_without_a_batch_takes_no_examples():
    with pytest.raises(BodyInvalid, match="a batch dimension"):
        inputs_of(signature_of(3), [{"x": [1, 2, 3]}])
