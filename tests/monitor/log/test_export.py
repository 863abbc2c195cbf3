"""Results as CSV, lines of JSON, Parquet and texts."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lading.monitor.log.export import text_rows, write_csv, write_json, write_parquet

AT = datetime(2026, 11, 30, 12, 0, 0, 250_000, tzinfo=UTC)
TABLE = pa.table({"id": ["a", "b,c"], "at": [AT, None], "x": [0.1, None], "in": [{"y": [1]}, None]})


@pytest.fixture
def rows():
    return TABLE.to_reader()


def test_csv_has_a_line_of_names_and_nested_values_as_json(rows):
    stream = io.StringIO()
    assert write_csv(rows, stream) == 2
    assert stream.getvalue() == 'id,at,x,in\na,2026-11-30T12:00:00.250Z,0.1,"{""y"":[1]}"\n"b,c",,,\n'


def test_json_is_an_object_a_line(rows):
    stream = io.StringIO()
    assert write_json(rows, stream) == 2
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["id"], first["in"], second["x"]) == ("a", {"y": [1]}, None)


def test_parquet_keeps_the_types(rows, tmp_path):
    assert write_parquet(rows, tmp_path / "rows.parquet") == 2
    assert pq.read_table(tmp_path / "rows.parquet").equals(TABLE)


def test_a_table_has_at_most_so_many_rows(rows):
    names, texts, more = text_rows(rows, 1)
    assert (names, texts) == (
        ["id", "at", "x", "in"],
        [["a", "2026-11-30T12:00:00.250Z", "0.1", '{"y":[1]}']],
    )
    assert more
