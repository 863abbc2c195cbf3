"""The SQL over the files of a log: quoted, and complete where nothing was logged."""

from __future__ import annotations

from pathlib import Path

import duckdb

from lading.monitor.log.tables import COLUMNS, joined_sql, labels_sql, literal, quoted, records_sql


def test_names_and_texts_are_quoted():
    text, name = literal("it's"), quoted('a "b"')
    row = duckdb.sql(f"SELECT {text} AS {name}")
    assert (row.columns, row.fetchall()) == (['a "b"'], [("it's",)])


def test_a_log_without_files_has_all_columns_and_no_rows():
    joined = duckdb.sql(joined_sql(f"({records_sql([])})", f"({labels_sql([])})"))
    assert joined.columns == [*COLUMNS, "label", "labelled_at"]
    assert joined.fetchall() == []


def test_columns_that_no_file_has_are_null():
    sql = records_sql([Path("a.parquet")], lacking=["outputs"])
    assert 'NULL::STRUCT(nothing BOOLEAN) AS "outputs"' in sql
