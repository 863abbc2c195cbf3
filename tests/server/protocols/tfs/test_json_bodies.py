"""Bodies of TensorFlow Serving: rows and columns, base64, bare NaN words, and errors in its words."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest

from lading.server.protocols.tfs import json_bodies
from support.bundles import IRIS_COLUMNS
from support.tensorflow_serving import error_of, run_iris

ROW = [5.1, 3.5, 1.4, 0.2]


def test_the_published_example_works(models):
    answer = models.post("/v1/models/half:predict", content=b'{"instances": [1.0, 2.0, 5.0]}')
    assert answer.status_code == 200
    assert answer.json() == {"predictions": [2.5, 3.0, 4.5]}


def test_columns_are_answered_by_columns(models):
    assert models.post("/v1/models/half:predict", {"inputs": [1.0, 2.0]}).json() == {"outputs": [2.5, 3.0]}
    assert models.post("/v1/models/half:predict", {"inputs": {"x": [1.0]}}).json() == {"outputs": [2.5]}
    assert models.post("/v1/models/half:predict", {"inputs": {"x": [1], "extra": 3}}).status_code == 200


def test_many_rows_of_several_outputs_are_written_as_few_are():
    texts = ["a", 'quoted "%d", and [a list],[more]', "서울", "b", "a", "%", "c"]
    outputs = {
        "label %": np.array(texts, object),
        "scores": np.array([[0.1, -2.5, 1e-30]] * 7, np.float32) * np.arange(1, 8, dtype=np.float32)[:, None],
        "value": np.arange(7) / 3,
        "kept": np.array([True, False, True, True, False, False, True]),
        "codes": np.arange(14, dtype=np.int8).reshape(7, 2) - 5,
        "nothing": np.zeros((7, 0), np.float32),
    }
    one_by_one = [json_bodies.row_body({k: v[at : at + 1] for k, v in outputs.items()}) for at in range(7)]
    objects = b",".join(text.removeprefix(b'{"predictions":[').removesuffix(b"]}") for text in one_by_one)
    assert json_bodies.row_body(outputs) == b'{"predictions":[%b]}' % objects
    assert [row["label %"] for row in json.loads(json_bodies.row_body(outputs))["predictions"]] == texts


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_many_rows_keep_numbers_that_are_not_finite(value):
    scores = np.array([[0.5, 1.0]] * 5, np.float32)
    scores[3, 1] = value
    body = json_bodies.row_body({"label": np.array(["a"] * 5, object), "scores": scores})
    np.testing.assert_array_equal([row["scores"] for row in json.loads(body)["predictions"]], scores)


def test_several_outputs_come_as_objects(models):
    rows = [ROW, [1, 2, 3, 4]]
    expected = run_iris(models, 2, rows)
    answer = models.post("/v1/models/iris:predict", {"instances": rows}).json()["predictions"]
    assert [row["label"] for row in answer] == expected["label"].tolist()
    probabilities = np.array([row["probabilities"] for row in answer], np.float32)
    np.testing.assert_array_equal(probabilities, expected["probabilities"])
    outputs = models.post("/v1/models/iris:predict", {"inputs": rows}).json()["outputs"]
    np.testing.assert_array_equal(np.array(outputs["probabilities"], np.float32), expected["probabilities"])


def test_rows_may_be_objects_by_input_or_by_column(models):
    plain = models.post("/v1/models/iris:predict", {"instances": [ROW]}).json()
    named = models.post("/v1/models/iris:predict", {"instances": [{"X": ROW}]}).json()
    columns = dict(zip(IRIS_COLUMNS, ROW, strict=True))
    assert models.post("/v1/models/iris:predict", {"instances": [columns]}).json() == plain == named


def test_several_inputs_come_by_name(models):
    rows = [{"age": 1.5, "city": "seoul"}, {"city": {"b64": "YnVzYW4="}, "age": 2}]
    expected = [{"value": [1.5], "where": ["seoul"]}, {"value": [2.0], "where": ["busan"]}]
    assert models.post("/v1/models/people:predict", {"instances": rows}).json() == {"predictions": expected}
    columns = {"age": [[1.5], [2]], "city": [["seoul"], ["busan"]]}
    assert models.post("/v1/models/people:predict", {"inputs": columns}).json() == {
        "outputs": {"value": [[1.5], [2.0]], "where": [["seoul"], ["busan"]]}
    }
    lists = error_of(models.post("/v1/models/people:predict", {"instances": [[1, "seoul"]]}))
    assert lists.startswith("instances is a plain list, but expecting list of objects as multiple input")
    value = error_of(models.post("/v1/models/people:predict", {"inputs": [1]}))
    assert value.startswith("inputs is a plain value/list, but expecting an object as multiple input tensors")


def test_nan_and_infinity_are_bare_words_in_and_out(models):
    body = b'{"instances": [[NaN, 1.5], [Infinity, -Infinity]]}'
    answer = models.post("/v1/models/echo:predict", content=body)
    assert answer.status_code == 200, answer.text
    assert answer.content == b'{"predictions":[[NaN,1.5],[Infinity,-Infinity]]}'
    whole = models.post("/v1/models/echo:predict", content=b'{"inputs": [[NaN, 0.1]]}')
    assert whole.content == b'{"outputs":[[NaN,0.1]]}'


def test_nan_is_refused_if_the_golden_samples_have_none(models):
    answer = models.post("/v1/models/half:predict", content=b'{"instances": [1.0, NaN]}')
    assert "found NaN at `$.instances[1]`" in error_of(answer)


def test_strings_are_read_from_base64_and_written_as_base64_if_the_name_ends_in_bytes(models):
    encoded = base64.b64encode("각".encode()).decode()
    body = {"instances": ["plain", {"b64": encoded}, {"b64": encoded.rstrip("=")}]}
    answer = models.post("/v1/models/text:predict", body)
    assert answer.status_code == 200, answer.text
    assert [base64.b64decode(value["b64"]).decode() for value in answer.json()["predictions"]] == [
        "plain",
        "각",
        "각",
    ]


def test_floats_are_written_as_briefly_as_float32_allows(models):
    assert models.post("/v1/models/half:predict", {"instances": [0.2]}).content == b'{"predictions":[2.1]}'


ERRORS = [
    ("half", b"", "JSON Parse error: The document is empty"),
    ("half", b"instances = [1, 2]", "JSON Parse error: Invalid value."),
    ("half", b'{"instances": [1e400]}', "JSON Parse error: Invalid value."),
    ("half", b'{"instances": [1e400, NaN]}', "JSON Parse error: Invalid value."),
    ("half", b"[1]", "Is not object"),
    ("half", b"{}", "Missing 'inputs' or 'instances' key"),
    (
        "half",
        b'{"instances": [1], "inputs": [1]}',
        "expecting only one of 'inputs' or 'instances' keys to exist",
    ),
    ("half", b'{"instances": 1}', "Expecting 'instances' to be an list/array"),
    ("half", b'{"instances": []}', "No values in 'instances' array"),
    ("half", b'{"signature_name": 100}', "'signature_name' key must be a string value."),
    (
        "half",
        b'{"signature_name": "no", "instances": [1]}',
        'Serving signature name: "no" not found in signature def',
    ),
    ("half", b'{"instances": ["x", "y"]}', 'JSON Value: "x" Type: String is not of expected type: float'),
    ("half", b'{"instances": [null]}', "JSON Value: null Type: Null is not of expected type: float"),
    ("half", b'{"instances": [true]}', "JSON Value: true Type: True is not of expected type: float"),
    ("half", b'{"instances": [{"b64": "aGk="}]}', "Type: Object is not of expected type: float"),
    (
        "half",
        b'{"instances": [16777217]}',
        "Cannot convert JSON value: 16777217 to float without loss of precision.",
    ),
    (
        "half",
        b'{"instances": [1e39]}',
        "Cannot convert JSON value: 1e+39 to float without loss of precision.",
    ),
    ("half", b'{"inputs": {"y": 1}}', "Missing named input: x in 'inputs' object."),
    ("half", b'{"instances": [{"y": 1}]}', "keys must be equal to: x"),
    ("half", b'{"instances": [{"x": 1}, 2]}', "Expecting object but got list at item 1 of input list"),
    ("half", b'{"instances": [1, {"x": 1}]}', "Expecting value/list but got object at item 1 of input list"),
    ("iris", b'{"instances": [[1,2,3,4], [1,2,3]]}', "Expecting tensor size: 4 but got: 3"),
    ("iris", b'{"instances": [[1,2,3,[4]]]}', "Encountered list at unexpected level: 1 expected < 1"),
    (
        "iris",
        b'{"inputs": [[1,2,3,4], [1,2]]}',
        "Encountered list at unexpected size: 2 at level: 1 expected size: 4",
    ),
    ("iris", b'{"inputs": [[1,2,3,4], 5]}', "JSON Value: 5 found at incorrect level: 2 in the JSON DOM."),
    (
        "iris",
        b'{"instances": [[1,2,3]]}',
        "expected `float32 [batch, 4]`, found 3 values at `$.instances[0]`",
    ),
    ("echo-int32", b'{"instances": [1.5]}', "JSON Value: 1.5 Type: Number is not of expected type: int32"),
    ("echo-int32", b'{"instances": [1.0]}', "JSON Value: 1.0 Type: Number is not of expected type: int32"),
    ("echo-int32", b'{"instances": [2147483648]}', "is not of expected type: int32"),
    ("echo-int8", b'{"instances": [300]}', "found 300, which is beyond int8,"),
    ("echo-float64", b'{"instances": [9007199254740993]}', "to double without loss of precision."),
    ("text", b'{"instances": [1]}', "JSON Value: 1 Type: Number is not of expected type: string"),
    ("text", b'{"instances": [{"b64": "*"}]}', "Unable to base64 decode"),
    ("text", b'{"instances": [{"b64": "/w=="}]}', "expected UTF-8 text"),
    ("text", b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}", ""),
    ("half", b'{"instances": ' + b"[" * 100_000, "JSON Parse error"),
]


@pytest.mark.parametrize(("model", "body", "text"), ERRORS)
def test_a_wrong_body_is_refused_in_the_words_of_tensorflow_serving(models, model, body, text):
    assert text in error_of(models.post(f"/v1/models/{model}:predict", content=body))


def test_an_integer_input_accepts_integers(models):
    answer = models.post("/v1/models/echo-int32:predict", {"instances": [1, -(2**31)]})
    assert answer.json() == {"predictions": [1, -(2**31)]}


def test_finite_answers_are_valid_json(models):
    value = json.loads(models.post("/v1/models/half:predict", {"instances": [1e30]}).content)
    assert math.isclose(value["predictions"][0], 5e29, rel_tol=1e-6)
