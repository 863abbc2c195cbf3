"""The rows of a `batch_bundles` case as one Parquet file that Spark and lading read alike."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from support.batch_bundles import BatchCase


def as_parquet(case: BatchCase, path: Path) -> Path:
    """Write the rows of a case to `path`; a value of another kind than its column is missing there."""
    pa.parquet.write_table(_table(case.source), path)
    return path


def _table(source: Path) -> pa.Table:
    if source.suffix == ".parquet":
        return pa.parquet.read_table(source)
    if source.suffix == ".arrow":
        return pa.feather.read_table(source)
    if source.suffix == ".csv":
        table = pa.csv.read_csv(source, parse_options=pa.csv.ParseOptions(delimiter=";"))
        ages = table["age"].combine_chunks()
        wrong = pc.invert(pc.match_substring_regex(ages, r"^\d+$"))
        numbers = pc.if_else(wrong, pa.scalar(None, pa.string()), ages).cast(pa.int64())
        return table.set_column(table.schema.names.index("age"), "age", numbers)
    rows = [json.loads(line) for line in gzip.decompress(source.read_bytes()).decode().splitlines()]
    ages = [None if isinstance(row["age"], str) else row["age"] for row in rows]
    return pa.table({"age": ages, "city": [row["city"] for row in rows]})
