"""``lading log query``: SQL over the log as a table, CSV, JSON and Parquet; what is no query is refused."""

from __future__ import annotations

import csv
import io
import json

import pyarrow.parquet as pq
import pytest


@pytest.mark.usefixtures("log")
def test_a_query_is_a_table(lading):
    code, out, _ = lading(
        "log", "query", "iris", "select id, count(*) as rows from log group by id order by id"
    )
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [["id", "rows"], ["a", "2"], ["b", "1"]]


@pytest.mark.usefixtures("log")
def test_a_query_in_other_forms(lading, tmp_path):
    sql = "select id, row, label, inputs from log order by id, row"
    _, out, _ = lading("log", "query", "iris", sql, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert rows[0] == {"id": "a", "row": "0", "label": "class 0", "inputs": '{"length":0.0,"width":1.0}'}
    _, out, _ = lading("log", "query", "iris", sql, "--format", "json")
    assert lading("log", "query", "iris", sql, "--json")[1] == out
    assert json.loads(out.splitlines()[2]) == {
        "id": "b",
        "row": 0,
        "label": None,
        "inputs": {"length": 4.0, "width": 5.0},
    }
    code, out, err = lading("log", "query", "iris", sql, "-o", tmp_path / "rows.parquet")
    assert (code, out) == (0, "")
    assert err == f"3 rows in {tmp_path / 'rows.parquet'}\n"
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 3


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("query", "iris", "select nothing from log"), 2, "`log` has the columns id, row, time"),
        (("query", "iris", "delete from log"), 2, "the log is read-only"),
        (("query", "rose", "select 1"), 3, "expected records of `rose`, found none\nhint: it has `iris`"),
        (("show", "iris", "--log", "nowhere"), 3, "expected a log, found none"),
        (("show", "iris", "--since", "yesterday"), 2, "expected a span such as `2h` or `1d`, or an ISO time"),
        (("query", "iris", "select 1", "--format", "parquet"), 2, "expected `--output`"),
    ],
)
def test_what_cannot_be_is_said(lading, arguments, code, sentence):
    exit_code, _, err = lading("log", *arguments)
    assert exit_code == code
    assert sentence in err
