"""Predictions over the native routes: right answers, and errors that name the place."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.server.inference.version import ServedVersion, State
from lading.signature import Signature, named_labels
from support.hosted_app import hosted, served_from
from support.onnx_graphs import bundle_of, graph, node, tensor

ROW = [5.1, 3.5, 1.4, 0.2]


def run_iris(iris, version: int, rows: Any) -> dict[str, np.ndarray]:
    served = iris.app.plane.find("iris", version)
    return served.run({"X": np.array(rows, np.float32)})


def test_one_row_at_the_root_is_answered_by_one_flat_row(iris):
    answer = iris.post("/predict", {"data": [ROW]})
    assert answer.status_code == 200
    expected = run_iris(iris, 2, [ROW])["probabilities"][0]
    np.testing.assert_array_equal(np.array(answer.json()["prediction"], np.float32), expected)


def test_ten_rows_are_answered_by_ten_results(iris):
    rows = [[float(i), 1, 2, 3] for i in range(10)]
    answer = iris.post("/predict", {"data": rows}).json()["prediction"]
    np.testing.assert_array_equal(np.array(answer, np.float32), run_iris(iris, 2, rows)["probabilities"])


def test_one_row_under_models_is_answered_by_a_list_of_one(iris):
    answer = iris.post("/models/iris/predict", {"data": [ROW]}).json()["prediction"]
    assert np.array(answer).shape == (1, 3)


def test_labels_are_answered_by_name(iris):
    index = int(run_iris(iris, 2, [ROW])["label"][0])
    names = ["setosa", "versicolor", "virginica"]
    assert iris.get("/label").json() == {"0": "setosa", "1": "versicolor", "2": "virginica"}
    assert iris.post("/predict/label", {"data": [ROW]}).json() == {"prediction": names[index]}
    assert iris.post("/models/iris/predict/label", {"data": [ROW, ROW]}).json() == {
        "prediction": [names[index]] * 2
    }


def test_named_outputs_are_answered_by_name(iris):
    answer = iris.post("/predict", {"data": [ROW], "outputs": ["label"]}).json()
    assert answer == {"outputs": {"label": [int(run_iris(iris, 2, [ROW])["label"][0])]}}


def test_the_test_routes_answer_the_first_golden_sample(iris):
    samples = iris.app.plane.resolve("iris").samples
    answer = iris.get("/predict/test").json()["prediction"]
    np.testing.assert_allclose(answer, samples.outputs["probabilities"][0], rtol=1e-5)
    assert iris.get("/predict/test/label").json()["prediction"] in ("setosa", "versicolor", "virginica")


def test_rows_may_be_objects_by_column_name(iris):
    columns = iris.app.plane.resolve("iris").signature.columns
    row = dict(zip(reversed(columns), reversed(ROW), strict=True))
    assert iris.post("/predict", {"data": [row]}).json() == iris.post("/predict", {"data": [ROW]}).json()


def test_a_model_that_is_loading_answers_503_with_the_reason():
    served = ServedVersion("wine", 1, "sha256:0", State.LOADING)
    answer = hosted(served).post("/predict", {"data": [[1]]})
    assert answer.status_code == 503
    assert answer.json()["code"] == "ModelNotReady"
    assert "`wine:1`" in answer.json()["error"]
    assert answer.headers["retry-after"]


WRONG = [
    ({"data": [[1, 2, 3]]}, "ShapeRefused", "`$.data[0]`", "3 values"),
    ({"data": [ROW, [1, 2]]}, "ShapeRefused", "`$.data[1]`", "2 values"),
    ({"data": [[1, 2, "a", 4]]}, "ValueRefused", "`$.data[0][2]`", "a string"),
    ({"data": [[1, 2, True, 4]]}, "ValueRefused", "`$.data[0][2]`", "true"),
    ({"data": [[1, 2, None, 4]]}, "ValueRefused", "`$.data[0][2]`", "null"),
    ({"data": [[1, 2, 1e39, 4]]}, "ValueRefused", "`$.data[0][2]`", "1e+39"),
    ({"data": []}, "EmptyInput", "`$.data`", "empty"),
    ({"data": [[]]}, "ShapeRefused", "`$.data[0]`", "0 values"),
    ({"data": 3}, "ValueRefused", "`$.data`", "3"),
    ({"data": [{"sepal_length": 1}]}, "InputMissing", "`$.data[0]`", "`sepal_width`"),
    ({"data": {"Y": [ROW]}}, "InputUnknown", "`Y`", "`X`"),
    ({"data": [ROW], "outputs": ["nothing"]}, "OutputUnknown", "`nothing`", "`label`"),
    ({"data": [ROW], "outputs": []}, "BodyInvalid", "`$.outputs`", "none"),
    ({"dada": [ROW]}, "BodyInvalid", "body", "dada"),
    ({}, "BodyInvalid", "body", "data"),
]


@pytest.mark.parametrize(("body", "code", "place", "text"), WRONG)
def test_a_wrong_request_is_refused_with_its_place(iris, body, code, place, text):
    for route in ("/predict", "/models/iris/predict", "/models/iris/versions/2/predict/label"):
        if "outputs" in body and route.endswith("label"):
            continue
        answer = iris.post(route, body)
        assert answer.status_code == 400
        refused = answer.json()
        assert refused["code"] == code
        assert place in refused["error"]
        assert text in refused["error"]
        assert "\n" not in refused["error"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1", b"\xff\xfe", b'{"data": [[NaN]]}', b'{"data": ' + b"[" * 10_000]
)
def test_broken_json_is_refused(iris, body):
    answer = iris.post("/predict", content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "BodyInvalid"


def test_a_sentence_of_the_parser_becomes_part_of_ours(iris):
    assert iris.post("/predict", content=b"{,").json()["error"].startswith("body: JSON is malformed")
    assert iris.post("/predict", content=b"{").json()["error"].startswith("body: input data was truncated")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


rows = st.lists(
    st.lists(st.floats(allow_nan=False) | st.integers() | json_values, min_size=3, max_size=5), max_size=4
)


bodies = st.fixed_dictionaries({"data": rows | json_values}) | json_values


@pytest.mark.slow
@settings(max_examples=1500)
@given(bodies)
def test_no_json_body_gives_a_5xx_or_another_dtype(iris, body):
    try:
        content = json.dumps(body, allow_nan=False)
    except ValueError:
        content = json.dumps(body).replace("Infinity", "1e999").replace("-1e999", "-1e999")
    answer = iris.post("/models/iris/predict", content=content.encode("utf-8", "surrogatepass"))
    assert answer.status_code in (200, 400)
    document = answer.json()
    if answer.status_code == 200:
        prediction = np.array(document["prediction"], dtype=np.float32)
        assert prediction.shape == (len(body["data"]), 3)
    else:
        assert document["error"]
        assert "\n" not in document["error"]


@pytest.mark.slow
@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_no_bytes_give_a_5xx(iris, content):
    assert iris.post("/predict", content=content).status_code == 400


def test_every_label_of_a_model_without_batch_is_answered(tmp_path):
    label = tensor("label", "string", 3)
    signature = Signature(inputs=(tensor("x", "string", 3),), outputs=(label,))
    model = graph([node("Identity", "x", "label")], signature.inputs, signature.outputs)
    values = ["a", "b", "c"]
    served = served_from(bundle_of(tmp_path / "three", model, signature, {"x": np.array(values, object)}))
    answer = hosted(served).post("/predict/label", {"data": {"x": values}})
    assert answer.json() == {"prediction": values}, answer.text
    assert named_labels(tensor("label", "string"), np.array("a", object), {}) == "a"
