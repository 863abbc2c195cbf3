"""MLflow's scoring protocol: every form of its requests, its answers, its errors."""

from __future__ import annotations

import json

import pytest

import lading
from lading.server.inference.version import ServedVersion, State
from support.bundles import IRIS_COLUMNS, linear_bundle
from support.hosted_app import hosted, served_from
from support.invocations import REVERSED, ROWS, host_one, labels, records
from support.small_models import half_plus_two, people


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return hosted(served_from(linear_bundle(tmp_path_factory.mktemp("mlflow") / "iris", seed=2), 3))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    return host_one(tmp_path_factory, half_plus_two)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    return host_one(tmp_path_factory, people)


BODIES = [
    {"dataframe_split": {"columns": list(IRIS_COLUMNS), "data": ROWS}},
    {"dataframe_split": {"columns": list(IRIS_COLUMNS), "index": [0, 1], "data": ROWS}},
    {"dataframe_split": {"columns": list(REVERSED), "data": [row[::-1] for row in ROWS]}},
    {"dataframe_split": {"data": ROWS}},
    {"dataframe_records": records()},
    {"dataframe_records": records(REVERSED)},
    {"instances": ROWS},
    {"instances": [{"X": row} for row in ROWS]},
    {"instances": records()},
    {"inputs": ROWS},
    {"inputs": {"X": ROWS}},
    {"inputs": {column: [row[column] for row in records()] for column in IRIS_COLUMNS}},
    {"dataframe_split": {"columns": ["z", *IRIS_COLUMNS], "data": [["a", *row] for row in ROWS]}},
    {"dataframe_records": [{"z": None, **record} for record in records()]},
    {"instances": [{**record, "z": [1]} for record in records()]},
    {"inputs": {"z": [1, 2], **{column: [row[column] for row in records()] for column in IRIS_COLUMNS}}},
    {"instances": ROWS, "params": {}},
    {"instances": ROWS, "params": None, "client_request_id": "mine"},
    {"data": ROWS},
]


@pytest.mark.parametrize("body", BODIES)
def test_every_form_is_answered_as_the_frameworks_predict_answers(iris, body):
    answer = iris.post("/invocations", body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": labels(iris)}
    assert answer.headers["x-lading-model"] == "iris:3"


def test_two_inputs_are_two_columns(crowd):
    expected = {"predictions": [1.5, 2.0]}
    rows = [{"age": 1.5, "city": "seoul"}, {"age": 2, "city": "busan"}]
    bodies = [
        {"dataframe_records": rows},
        {"dataframe_split": {"columns": ["city", "age"], "data": [["seoul", 1.5], ["busan", 2]]}},
        {"instances": rows},
        {"inputs": {"age": [1.5, 2], "city": ["seoul", "busan"]}},
        {"inputs": {"age": [[1.5], [2]], "city": [["seoul"], ["busan"]]}},
    ]
    for body in bodies:
        answer = crowd.post("/invocations", body)
        assert answer.json() == expected, body
    for text in ("city,age\nseoul,1.5\nbusan,2\n", "1.5,seoul\n2,busan\n"):
        answer = crowd.post("/invocations", content=text, headers={"content-type": "text/csv"})
        assert answer.json() == expected, text


def test_a_frame_of_one_column_is_an_input_with_one_value_per_row(half):
    for body in (
        {"dataframe_split": {"columns": ["x"], "data": [[1], [2]]}},
        {"dataframe_records": [{"x": 1}, {"x": 2}]},
        {"instances": [1, 2]},
        {"inputs": {"x": [1, 2]}},
    ):
        assert half.post("/invocations", body).json() == {"predictions": [2.5, 3.0]}, body
    answer = half.post("/invocations", content="x\n1\n2\n", headers={"content-type": "text/csv"})
    assert answer.json() == {"predictions": [2.5, 3.0]}


def test_one_value_for_each_column_is_one_row(iris, half, crowd):
    (record, _), (label, _) = records(), labels(iris)
    assert iris.post("/invocations", {"inputs": {**record, "z": "a"}}).json() == {"predictions": [label]}
    assert half.post("/invocations", {"inputs": 1}).json() == {"predictions": [2.5]}
    assert half.post("/invocations", {"dataframe_records": [{"x": 1, "z": 2}]}).json() == {
        "predictions": [2.5]
    }
    answer = crowd.post("/invocations", {"inputs": {"age": 1.5, "city": "seoul"}})
    assert answer.json() == {"predictions": [1.5]}


def test_columns_of_csv_that_the_model_does_not_have_are_left_out(iris):
    text = "z," + ",".join(REVERSED) + "\n" + "".join(f"a,{','.join(map(str, row[::-1]))}\n" for row in ROWS)
    for kind in ("text/csv", "text/csv; header=present"):
        answer = iris.post("/invocations", content=text, headers={"content-type": kind})
        assert answer.json() == {"predictions": labels(iris)}, answer.text
    short = iris.post("/invocations", content=text + "a,1\n", headers={"content-type": "text/csv"})
    assert (short.status_code, "line 4" in short.text) == (400, True)


WRONG = [
    ({}, "exactly one of the input fields"),
    ([1], "Is not object"),
    ({"instances": ROWS, "inputs": ROWS}, "exactly one of the input fields"),
    ({"instances": []}, "empty"),
    ({"instances": {"X": ROWS}}, "expected a list of rows"),
    ({"instances": [[1, 2, 3]]}, "found 3 values at `$.instances[0]`"),
    ({"instances": [[1, 2, 3, "4"]]}, "found a string at `$.instances[0][3]`"),
    ({"inputs": {"Y": ROWS}}, "`Y`"),
    ({"inputs": {"sepal_length": [1], "sepal_width": [1, 2]}}, "columns of one length"),
    ({"dataframe_split": ROWS}, "an object with `columns` and `data`"),
    ({"dataframe_split": {"columns": 3, "data": ROWS}}, "a list of names"),
    ({"dataframe_split": {"columns": ["a"], "data": [3]}}, "`$.dataframe_split.data[0]`"),
    ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "1 values, one for each column"),
    ({"dataframe_split": {"columns": list(IRIS_COLUMNS[:3]), "data": [[1, 2, 3]]}}, "column `petal_width`"),
    ({"dataframe_split": {"columns": [*IRIS_COLUMNS[:3], "z"], "data": [ROWS[0]]}}, "column `petal_width`"),
    ({"inputs": {"sepal_length": 1, "sepal_width": 2}}, "petal_length"),
    ({"inputs": 3}, "expected `float32 [batch, 4]`"),
    (
        {"dataframe_split": {"columns": [*IRIS_COLUMNS, IRIS_COLUMNS[0]], "data": [[1, 2, 3, 4, 5]]}},
        "each column once",
    ),
    ({"dataframe_records": 3}, "a list of objects"),
    ({"dataframe_records": [3]}, "`$.dataframe_records[0]`"),
    ({"dataframe_records": [{"sepal_length": 1}]}, "column `sepal_width`"),
    ({"instances": ROWS, "params": {"temperature": 1}}, "found `temperature`"),
    ({"instances": ROWS, "params": {"outputs": ["none"]}}, "`none`"),
    ({"instances": ROWS, "params": {"outputs": 3}}, "a list of names"),
    ({"instances": ROWS, "params": 3}, "`$.params`"),
]


@pytest.mark.parametrize(("body", "text"), WRONG)
def test_a_wrong_body_is_a_bad_request(iris, body, text):
    answer = iris.post("/invocations", content=json.dumps(body))
    assert answer.status_code == 400, answer.text
    assert sorted(answer.json()) == ["error_code", "message"]
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert text in answer.json()["message"]
    assert "Traceback" not in answer.text


def test_other_errors_have_the_codes_of_mlflow():
    loading = ServedVersion("wine", 1, "sha256:0", State.LOADING)
    for client, status, code in (
        (hosted(loading, default_model="iris"), 404, "RESOURCE_DOES_NOT_EXIST"),
        (hosted(loading), 503, "TEMPORARILY_UNAVAILABLE"),
        (hosted(), 503, "TEMPORARILY_UNAVAILABLE"),
    ):
        answer = client.post("/invocations", BODIES[0])
        assert (answer.status_code, answer.json()["error_code"]) == (status, code)


def test_ping_and_version(iris):
    ping = iris.get("/ping")
    assert (ping.status_code, ping.content) == (200, b"")
    assert iris.get("/version").text == lading.__version__
    assert hosted().get("/ping").status_code == 503
    waiting = hosted(ServedVersion("wine", 1, "sha256:0", State.LOADING)).get("/ping")
    assert waiting.status_code == 503
    assert "`wine:1` is loading" in waiting.json()["message"]


def test_deep_nesting_is_a_bad_request(crowd):
    for depth in (900, 100_000):
        body = b'{"instances": ' + b"[" * depth + b"]" * depth + b"}"
        assert crowd.post("/invocations", content=body).status_code == 400
