"""`lading.batch.spark_udf` in a session with two executors: the answers of a batch run, as columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
from pyspark.errors import PythonException
from pyspark.sql import functions

from lading.batch import spark_udf
from lading.batch.run import Options, run_batch
from lading.errors import InputUnknown, NotSupported, OutputUnknown, UsageError
from lading.runtime.python.host import this_host
from support.batch_bundles import CASES, floats, network
from support.batch_frames import as_parquet
from support.batch_runs import aside, scored
from support.bundles import IRIS_COLUMNS, linear_bundle
from support.environments import environments  # noqa: F401 - a fixture
from support.onnx_graphs import bundle_of, identity
from support.small_models import echo

pytestmark = pytest.mark.xdist_group("spark")

QUICK = ("floats", "texts", "images")
REST = [pytest.param(name, marks=[pytest.mark.slow, pytest.mark.wide]) for name in CASES if name not in QUICK]


def batch(case, path, folder):
    """Return what a batch run makes of the rows at `path`: the answers, and reasons by row."""
    run_batch(case.bundle, [path], folder, Options(processes=1), python=this_host(case.allow))
    return scored(folder), {row["row"]: row["reason"] for row in aside(folder)}


@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize("name", [*QUICK, *REST])
def test_columns_have_the_answers_and_reasons_of_a_batch_run(name, tmp_path, session):
    (tmp_path / name).mkdir()
    case = CASES[name](tmp_path / name)
    path = as_parquet(case, tmp_path / "rows.parquet")
    expected, reasons = batch(case, path, tmp_path / "out")
    score = spark_udf(session, case.bundle, allow=case.allow)
    frame = session.read.parquet(str(path)).select(score().alias("scored")).select("scored.*")
    answers = frame.toArrow()
    assert {at: why for at, why in enumerate(answers["reason"].to_pylist()) if why is not None} == reasons
    fit = answers.filter(pc.is_null(answers["reason"]))
    # Bit for bit: a list of Python's floats holds every bit of what it was made of.
    for column in expected.column_names[1:]:
        assert fit[column].to_pylist() == expected[column].to_pylist(), column
    aside_rows = answers.filter(pc.is_valid(answers["reason"])).drop_columns(["reason"])
    assert all(set(row.values()) == {None} for row in aside_rows.to_pylist())


def test_batches_of_arrow_do_not_decide_the_bits_and_partitions_only_the_last_of_them(tmp_path, session):
    case = network(tmp_path)
    expected, _ = batch(case, case.source, tmp_path / "out")
    rows = session.read.parquet(str(case.source))
    score = spark_udf(session, str(case.bundle.path), output="Y")
    before = session.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "777")
    try:
        answers = rows.select(score().alias("y")).where("y is not null").toArrow()
    finally:
        session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", before)
    assert answers["y"].to_pylist() == expected["Y"].to_pylist()
    spread = rows.withColumn("at", functions.monotonically_increasing_id()).repartition(7)
    others = spread.select("at", score().alias("y")).where("y is not null").orderBy("at").toArrow()
    assert np.allclose(others["y"].to_numpy(), expected["Y"].to_numpy(), rtol=1e-5, atol=1e-6)


def test_columns_come_by_name_under_other_names_as_a_struct_and_next_to_another_model(tmp_path, session):
    case = floats(tmp_path)
    successor = linear_bundle(tmp_path / "successor", seed=1)
    score, other = (spark_udf(session, bundle, output="label") for bundle in (case.bundle, successor))
    assert score.inputs == IRIS_COLUMNS
    rows = session.read.parquet(str(case.source))
    renamed = rows.withColumnRenamed("sepal_length", "long.one")
    answers = rows.select(
        score().alias("all"),
        score(*IRIS_COLUMNS).alias("named"),
        score(functions.struct("*")).alias("struct"),
    ).toArrow()
    of_renamed = renamed.select(score(sepal_length="long.one").alias("label")).toArrow()["label"]
    assert answers["all"].null_count > 0
    assert answers["named"].equals(answers["all"])
    assert answers["struct"].equals(answers["all"])
    assert of_renamed.equals(answers["all"])
    both = rows.select(score().alias("live"), other().alias("next")).toArrow()
    assert both["live"].equals(answers["all"])
    assert not both["next"].equals(both["live"])
    with pytest.raises(InputUnknown, match=r"columns to score: expected `sepal_length`, .* found `length`"):
        score(length="sepal_length")


def test_what_fails_on_an_executor_ends_with_the_sentence_of_lading(tmp_path, session):
    case = floats(tmp_path)
    rows = session.read.parquet(str(case.source))
    strict = spark_udf(session, case.bundle, on_misfit="error")
    with pytest.raises(
        PythonException, match=r"a row of the frame, column `petal_width`: expected `float32`"
    ):
        rows.select(strict()).collect()
    assert "reason" not in rows.select(strict().alias("s")).select("s.*").columns
    with pytest.raises(PythonException, match="the columns to be scored: expected column `petal_width`"):
        rows.select(strict(*IRIS_COLUMNS[:3])).collect()
    # A whole frame of rows that do not fit, and one without rows.
    bad = rows.where("petal_width is null").select(spark_udf(session, case.bundle)().alias("s"))
    assert {row.s.label for row in bad.collect()} == {None}
    assert rows.where("false").select(strict()).collect() == []


def test_a_model_or_choice_that_cannot_be_is_refused_before_anything_runs(tmp_path, session):
    bundle = linear_bundle(tmp_path / "iris")
    with pytest.raises(OutputUnknown, match="`output`: expected `label`, `0`, `1`, `2`, found `classes`"):
        spark_udf(session, bundle, output="classes")
    with pytest.raises(UsageError, match="`on_misfit`"):
        spark_udf(session, bundle, on_misfit="drop")
    with pytest.raises(UsageError, match="no output with the name `reason`"):
        spark_udf(session, echo(tmp_path / "reason", "why", "float32", "reason"))
    from lading.signature import Signature
    from support.onnx_graphs import tensor

    signature = Signature((tensor("X", "float32", 3),), (tensor("Y", "float32", 3),))
    rows = {"X": np.zeros(3, np.float32)}
    fixed = bundle_of(tmp_path / "fixed", identity("float32", 3), signature, rows, name="fixed")
    with pytest.raises(NotSupported, match="rows are independent"):
        spark_udf(session, fixed)


@pytest.mark.slow
@pytest.mark.wide
@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64", "float64"]
)
def test_every_dtype_has_a_type_of_spark_that_holds_it(dtype, tmp_path, session):
    bundle = echo(tmp_path / "bundle", dtype, dtype)
    limits = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    # Decimals, as which Spark holds the largest of them, are cast by way of float64.
    largest = 2**53 if dtype == "uint64" else limits.max
    pa.parquet.write_table(
        pa.table({"x": np.array([largest, limits.min, 1], dtype)}), tmp_path / "rows.parquet"
    )
    answers = session.read.parquet(str(tmp_path / "rows.parquet")).select(
        spark_udf(session, bundle, output="y")()
    )
    assert [row[0] for row in answers.collect()] == [largest, limits.min, 1]
