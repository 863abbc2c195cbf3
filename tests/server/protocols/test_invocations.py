"""The route `/invocations`: content types, CSV, and the outputs that parameters select."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.bundles import IRIS_COLUMNS, linear_bundle
from support.hosted_app import hosted, served_from
from support.invocations import REVERSED, ROWS, host_one, labels, records
from support.small_models import echo, echo_with_nan, people


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return hosted(served_from(linear_bundle(tmp_path_factory.mktemp("mlflow") / "iris", seed=2), 3))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    return host_one(tmp_path_factory, people)


def frame(columns: tuple[str, ...] = IRIS_COLUMNS, *, header: bool = True) -> str:
    lines = [",".join(f'"{column}"' for column in columns)] if header else []
    lines += [",".join(str(row[column]) for column in columns) for row in records()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", ""]
)
def test_json_is_the_default_content_type(iris, kind):
    headers = {"content-type": kind} if kind else {}
    answer = iris.post("/invocations", content=json.dumps({"instances": ROWS}), headers=headers)
    assert answer.status_code == 200, answer.text


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
def test_csv_is_read_with_and_without_a_header(iris, text, kind):
    answer = iris.post("/invocations", content=text.encode(), headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": labels(iris)}


def test_params_select_other_outputs(iris):
    answer = iris.post("/invocations", {"instances": ROWS, "params": {"outputs": ["probabilities", "label"]}})
    expected = iris.app.plane.find("iris").run({"X": np.array(ROWS, np.float32)})
    rows = answer.json()["predictions"]
    assert [row["label"] for row in rows] == expected["label"].tolist()
    np.testing.assert_array_equal(
        np.array([row["probabilities"] for row in rows], np.float32), expected["probabilities"]
    )


def test_missing_values_are_accepted_if_the_golden_samples_have_some(tmp_path_factory, iris):
    client = host_one(tmp_path_factory, echo_with_nan, "echo")
    headers = {"content-type": "text/csv"}
    for text in ("1,\n", "1,NaN\n", "1,nan\n", "1,NA\n"):
        answer = client.post("/invocations", content=text, headers=headers)
        assert answer.content == b'{"predictions":[[1.0,NaN]]}', text
    answer = client.post("/invocations", content=b'{"instances": [[1, NaN]]}')
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
def test_cells_are_parsed_strictly_by_their_dtype(tmp_path_factory, dtype, cell, value):
    client = host_one(tmp_path_factory, echo, "echo", dtype)
    text = f"x\n{cell}\n" if cell else 'x\n""\n'
    answer = client.post("/invocations", content=text.encode(), headers={"content-type": "text/csv"})
    if value is None:
        assert answer.status_code == 400
        assert answer.json()["error_code"] == "BAD_REQUEST"
    else:
        assert answer.json() == {"predictions": value}


@pytest.mark.parametrize(
    ("text", "sentence"),
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
def test_wrong_csv_is_refused_with_its_line(iris, text, sentence):
    content = text if isinstance(text, bytes) else text.encode()
    answer = iris.post("/invocations", content=content, headers={"content-type": "text/csv"})
    assert answer.status_code == 400
    assert sentence in answer.json()["message"]


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
