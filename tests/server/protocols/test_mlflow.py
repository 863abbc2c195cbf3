"""MLflow's scoring protocol: every form of its requests, its answers, its refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import lading
from lading.server.inference.version import ServedVersion, State
from support.bundles import IRIS_COLUMNS, linear_bundle
from support.hosted_app import hosted, served_from
from support.small_models import echo, echo_with_nan, half_plus_two, people

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]
REVERSED = tuple(reversed(IRIS_COLUMNS))


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return hosted(served_from(linear_bundle(tmp_path_factory.mktemp("mlflow") / "iris", seed=2), 3))


def alone(tmp_path_factory, make: Any, *given: Any) -> Any:
    return hosted(served_from(make(tmp_path_factory.mktemp("mlflow") / "one", *given), 1))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    return alone(tmp_path_factory, half_plus_two)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    return alone(tmp_path_factory, people)


def labels(asked: Any, rows: Any = ROWS) -> list[int]:
    return asked.app.plane.find("iris").run({"X": np.array(rows, np.float32)})["label"].tolist()


def records(columns: tuple[str, ...] = IRIS_COLUMNS) -> list[dict[str, float]]:
    named = [dict(zip(IRIS_COLUMNS, row, strict=True)) for row in ROWS]
    return [{column: row[column] for column in columns} for row in named]


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
    {"instances": ROWS, "params": {}},
    {"instances": ROWS, "params": None, "client_request_id": "mine"},
    {"data": ROWS},
]


@pytest.mark.parametrize("body", BODIES)
def test_every_form_gives_what_the_frameworks_predict_gives(iris, body):
    answer = iris.post("/invocations", body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": labels(iris)}
    assert answer.headers["x-lading-model"] == "iris:3"


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", ""]
)
def test_json_may_be_named_in_several_ways(iris, kind):
    headers = {"content-type": kind} if kind else {}
    answer = iris.post("/invocations", content=json.dumps(BODIES[0]), headers=headers)
    assert answer.status_code == 200, answer.text


def frame(columns: tuple[str, ...] = IRIS_COLUMNS, *, header: bool = True) -> str:
    lines = [",".join(f'"{column}"' for column in columns)] if header else []
    lines += [",".join(str(row[column]) for column in columns) for row in records()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (frame(), "text/csv"),
        (frame(REVERSED), "text/csv; charset=utf-8"),
        ("\ufeff" + frame().replace("\n", "\r\n"), "text/csv"),
        (frame(header=False), "text/csv"),
        (frame(header=False), "text/csv; header=absent; label_size=0"),
        (frame(), "text/csv; header=present"),
    ],
)
def test_csv_goes_with_a_header_and_without(iris, text, kind):
    answer = iris.post("/invocations", content=text.encode(), headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": labels(iris)}


def test_other_outputs_come_when_params_ask_for_them(iris):
    answer = iris.post("/invocations", {"instances": ROWS, "params": {"outputs": ["probabilities", "label"]}})
    expected = iris.app.plane.find("iris").run({"X": np.array(ROWS, np.float32)})
    found = answer.json()["predictions"]
    assert [one["label"] for one in found] == expected["label"].tolist()
    np.testing.assert_array_equal(
        np.array([one["probabilities"] for one in found], np.float32), expected["probabilities"]
    )


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


def test_a_frame_of_one_column_is_an_input_of_one_value_a_row(half):
    for body in (
        {"dataframe_split": {"columns": ["x"], "data": [[1], [2]]}},
        {"dataframe_records": [{"x": 1}, {"x": 2}]},
        {"instances": [1, 2]},
        {"inputs": {"x": [1, 2]}},
    ):
        assert half.post("/invocations", body).json() == {"predictions": [2.5, 3.0]}, body
    answer = half.post("/invocations", content="x\n1\n2\n", headers={"content-type": "text/csv"})
    assert answer.json() == {"predictions": [2.5, 3.0]}


def test_missing_values_are_taken_where_the_model_was_proved_with_them(tmp_path_factory, iris):
    asked = alone(tmp_path_factory, echo_with_nan, "echo")
    headers = {"content-type": "text/csv"}
    for text in ("1,\n", "1,NaN\n", "1,nan\n", "1,NA\n"):
        answer = asked.post("/invocations", content=text, headers=headers)
        assert answer.content == b'{"predictions":[[1.0,NaN]]}', text
    answer = asked.post("/invocations", content=b'{"instances": [[1, NaN]]}')
    assert answer.content == b'{"predictions":[[1.0,NaN]]}'
    refused = iris.post("/invocations", content=frame(header=False).replace("5.1", ""), headers=headers)
    assert refused.status_code == 400
    assert "found an empty cell in line 1, column `sepal_length`" in refused.json()["message"]


CELLS = [
    ("int32", "1", [1]),
    ("int32", "-7", [-7]),
    ("int32", "2.0", [2]),
    ("int32", "1.5", None),
    ("int32", "3000000000", None),
    ("int32", "1_000", None),
    ("int32", "0x10", None),
    ("int32", "", None),
    ("float64", "1e3", [1000.0]),
    ("float64", ".5", [0.5]),
    ("float64", " 2 ", [2.0]),
    ("float64", "1e400", None),
    ("float64", "one", None),
    ("float64", "１", None),
    ("bool", "true", [True]),
    ("bool", "False", [False]),
    ("bool", "1", None),
    ("string", "5.1", ["5.1"]),
    ("string", '"a, ""b"""', ['a, "b"']),
    ("int64", "9223372036854775807", [2**63 - 1]),
    ("uint64", "18446744073709551615", [2**64 - 1]),
]


@pytest.mark.parametrize(("dtype", "cell", "value"), CELLS)
def test_text_is_parsed_strictly_by_the_dtype(tmp_path_factory, dtype, cell, value):
    asked = alone(tmp_path_factory, echo, "echo", dtype)
    text = f"x\n{cell}\n" if cell else 'x\n""\n'
    answer = asked.post("/invocations", content=text.encode(), headers={"content-type": "text/csv"})
    if value is None:
        assert answer.status_code == 400
        assert answer.json()["error_code"] == "BAD_REQUEST"
    else:
        assert answer.json() == {"predictions": value}


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
    ({"dataframe_split": {"columns": [*IRIS_COLUMNS, "z"], "data": [[1, 2, 3, 4, 5]]}}, "found column `z`"),
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


@pytest.mark.parametrize(("body", "words"), WRONG)
def test_a_wrong_body_is_a_bad_request(iris, body, words):
    answer = iris.post("/invocations", content=json.dumps(body))
    assert answer.status_code == 400, answer.text
    assert sorted(answer.json()) == ["error_code", "message"]
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert words in answer.json()["message"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one row"),
        (frame().splitlines()[0], "a header alone"),
        ("a,b,c,d\n1,2,3,4\n", "column `sepal_length`"),
        ("1,2,3\n", "line 1: expected 4 values, found 3"),
        (frame() + "1,2\n", "line 4: expected 4 values, found 2"),
        ("1,2,3,four\n5,6,7,8\n", "found `four` in line 1, column `petal_width`"),
        ("0,1,2,3\n5,6,7,8\n", "`text/csv; header=present` or `header=absent`"),
        (frame() + "1,2,3,four\n", "found `four` in line 4, column `petal_width`"),
        ('"1,2', "expected CSV"),
        (b"\xff\xfe", "expected CSV in UTF-8"),
    ],
)
def test_wrong_csv_is_refused_with_its_line(iris, text, words):
    content = text if isinstance(text, bytes) else text.encode()
    answer = iris.post("/invocations", content=content, headers={"content-type": "text/csv"})
    assert answer.status_code == 400
    assert words in answer.json()["message"]


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-parquet",
        "text/csv; charset=latin-1",
        "application/json; format=pandas-split",
        "application/json; header=present",
    ],
)
def test_another_content_type_is_415_in_plain_text(iris, kind):
    answer = iris.post("/invocations", content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 415
    assert answer.headers["content-type"].startswith("text/plain")


def test_other_failures_have_their_codes():
    loading = ServedVersion("wine", 1, "sha256:0", State.LOADING)
    for asked, status, code in (
        (hosted(loading, default_model="iris"), 404, "RESOURCE_DOES_NOT_EXIST"),
        (hosted(loading), 503, "TEMPORARILY_UNAVAILABLE"),
        (hosted(), 503, "TEMPORARILY_UNAVAILABLE"),
    ):
        answer = asked.post("/invocations", BODIES[0])
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
