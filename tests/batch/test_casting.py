"""Values that do not fit are set aside with their reason; all others are cast as a server casts them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from lading.batch.casting import Caster
from lading.batch.run import run_batch
from lading.batch.tables import Rows
from lading.signature import Signature, Tensor
from support.batch_runs import COLUMNS, HERE, answers, aside, scored


def test_rows_that_do_not_fit_are_set_aside_with_their_reason(tmp_path, iris):
    path = tmp_path / "rows.csv"
    path.write_text(
        ",".join(["customer", *COLUMNS])
        + "\n1,5.1,3.5,1.4,0.2\n2,x,3,1,0\n3,1,2\n4,,1,1,1\n5,1e400,1,1,1\n6,1e39,1,1,1\n"
        + '"seven\nlines",+5.5,3.5,1.4,.2\n'
    )
    run = run_batch(iris, [path], tmp_path / "out", HERE)
    assert scored(tmp_path / "out")["customer"].to_pylist() == ["1", "seven\nlines"]
    assert scored(tmp_path / "out")["row"].to_pylist() == [0, 6]
    assert [(row["row"], row["reason"]) for row in aside(tmp_path / "out")] == [
        (1, "column `sepal_length`: expected a number, found `x`"),
        (2, "expected 5 cells, found 3"),
        (3, "column `sepal_length`: expected `float32`, found no value"),
        (4, "column `sepal_length`: expected `float32`, found a number beyond float64"),
        (5, "column `sepal_length`: expected `float32`, found 1e+39, which is beyond float32,"),
    ]
    assert json.loads(aside(tmp_path / "out")[0]["content"])["sepal_length"] == "x"
    assert (run.manifest.rows, run.manifest.scored, run.manifest.rejected) == (7, 2, 5)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([2**60, None, 5], pa.int64()),
        pa.array([2.0**60, None, 5.0], pa.float64()),
        pa.array([2**60, None, 5], pa.decimal128(20, 0)),
    ],
    ids=lambda values: str(values.type),
)
def test_a_missing_value_is_nan_where_the_model_knows_them_and_its_neighbours_stay_exact(values):
    tensor = Tensor(name="X", dtype="float64", shape=("batch", 1), columns=("a",), allows_nan=True)
    caster = Caster(Signature(inputs=(tensor,), outputs=()))
    batch = pa.RecordBatch.from_arrays([values], ["a"])
    fitting = caster.cast(Rows(pa.array([0, 1, 2]), batch))
    assert fitting.rejected == ()
    np.testing.assert_array_equal(fitting.inputs["X"], [[2.0**60], [np.nan], [5.0]])


def test_a_whole_number_that_a_float_does_not_hold_is_set_aside_beside_a_missing_value():
    tensor = Tensor(name="X", dtype="float64", shape=("batch", 1), columns=("a",), allows_nan=True)
    caster = Caster(Signature(inputs=(tensor,), outputs=()))
    batch = pa.RecordBatch.from_arrays([pa.array([2**60 + 1, None], pa.int64())], ["a"])
    fitting = caster.cast(Rows(pa.array([7, 8]), batch))
    assert [each.row for each in fitting.rejected] == [7]
    assert str(2**60 + 1) in fitting.rejected[0].reason
    assert np.isnan(fitting.inputs["X"]).tolist() == [[True]]


def test_missing_values_of_a_table_are_set_aside(tmp_path, iris, table):
    rows = table(300).to_pydict()
    rows["petal_width"][100] = None
    rows["petal_width"][200] = float("nan")
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "rows.parquet")
    run = run_batch(iris, [tmp_path / "rows.parquet"], tmp_path / "out", HERE)
    assert [row["row"] for row in aside(tmp_path / "out")] == [100, 200]
    assert run.manifest.reasons == (
        ("column `petal_width`: expected `float32`, found NaN", 1),
        ("column `petal_width`: expected `float32`, found no value", 1),
    )
    assert len(scored(tmp_path / "out")) == 298


def _texts(table: pa.Table) -> pa.Table:
    return table.set_column(0, COLUMNS[0], pa.array([str(value) for value in table[COLUMNS[0]].to_pylist()]))


def test_texts_in_a_table_are_no_numbers(tmp_path, iris, table):
    pyarrow.parquet.write_table(_texts(table(5)), tmp_path / "rows.parquet")
    run = run_batch(iris, [tmp_path / "rows.parquet"], tmp_path / "out", HERE)
    assert run.manifest.reasons == (("column `sepal_length`: expected `float32`, found a text", 5),)
    assert not list((tmp_path / "out").glob("part-*"))


def test_columns_may_come_in_any_order_and_of_other_kinds(tmp_path, iris, table):
    rows = table(50)
    other = rows.select(list(reversed(rows.column_names)))
    whole = [int(value) for value in rows[COLUMNS[3]].to_pylist()]
    other = other.set_column(other.column_names.index(COLUMNS[3]), COLUMNS[3], pa.array(whole, pa.int8()))
    kind = pa.dictionary(pa.int32(), pa.float32())
    narrow = pa.array(rows[COLUMNS[0]].to_pylist(), pa.float32())
    other = other.set_column(
        other.column_names.index(COLUMNS[0]), COLUMNS[0], narrow.dictionary_encode().cast(kind)
    )
    pyarrow.parquet.write_table(other, tmp_path / "rows.parquet")
    run = run_batch(iris, [tmp_path / "rows.parquet"], tmp_path / "out", HERE)
    assert run.manifest.scored == 50
    changed = rows.set_column(3, COLUMNS[3], pa.array(whole)).set_column(0, COLUMNS[0], narrow)
    assert (scored(tmp_path / "out")["label"].to_numpy() == answers(iris, changed)).all()
