"""The columns of a run beside the training data: as in training, or not, or nothing is known."""

from __future__ import annotations

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.linear_model import LogisticRegression

import lading
from lading.batch.run import Options, run_batch
from lading.errors import GateNotMet, UsageError
from support.batch_runs import COLUMNS


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return a bundle with the profile of the data that it was fitted on."""
    rows = np.random.default_rng(0).normal(5, 1, (4000, 4))
    model = LogisticRegression().fit(pandas.DataFrame(rows, columns=list(COLUMNS)), rows[:, 0] > 5)
    frame = pandas.DataFrame(rows, columns=list(COLUMNS))
    return lading.pack(
        model,
        samples=frame[:50],
        reference=frame,
        name="iris",
        owner="tests@example.com",
        purpose="classification",
        to=tmp_path_factory.mktemp("fitted") / "iris.bundle",
    )


def rows_of(path, values: np.ndarray) -> None:
    pyarrow.parquet.write_table(pa.table({name: values[:, at] for at, name in enumerate(COLUMNS)}), path)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [200, 20_000])
def test_rows_of_the_same_law_have_not_drifted(tmp_path, fitted, rows):
    for seed in range(5):
        rows_of(tmp_path / "rows.parquet", np.random.default_rng(seed + 1).normal(5, 1, (rows, 4)))
        run = run_batch(
            fitted, [tmp_path / "rows.parquet"], tmp_path / f"out-{seed}", Options(refuse_drift=True)
        )
        assert not [column for column in run.drift if column.drifted]
        assert {column.column for column in run.drift} >= set(COLUMNS)


@pytest.mark.slow
def test_a_shifted_column_is_named_and_refused_if_asked(tmp_path, fitted):
    values = np.random.default_rng(1).normal(5, 1, (2000, 4))
    values[:, 2] += 1
    rows_of(tmp_path / "rows.parquet", values)
    with pytest.raises(GateNotMet, match=r"`petal_length`"):
        run_batch(fitted, [tmp_path / "rows.parquet"], tmp_path / "out", Options(refuse_drift=True))
    assert not (tmp_path / "out/manifest.json").exists()
    run = run_batch(fitted, [tmp_path / "rows.parquet"], tmp_path / "out")
    assert [column.column for column in run.drift if column.drifted] == ["petal_length"]


@pytest.mark.slow
def test_rows_that_fail_an_input_check_are_scored_and_counted(tmp_path, fitted):
    values = np.random.default_rng(1).normal(5, 1, (2000, 4))
    values[:17, 1] = 1000
    rows_of(tmp_path / "rows.parquet", values)
    run = run_batch(fitted, [tmp_path / "rows.parquet"], tmp_path / "out")
    assert run.manifest.scored == 2000
    failed = {rule.partition(":")[0]: count for rule, count in run.failed}
    assert failed["sepal_width range"] == 17


def test_without_a_profile_nothing_is_known(tmp_path, iris, parquet):
    run = run_batch(iris, [parquet("rows.parquet", 100)], tmp_path / "out")
    assert run.drift == ()
    with pytest.raises(UsageError, match="a profile of its training data"):
        run_batch(iris, [tmp_path / "rows.parquet"], tmp_path / "other", Options(refuse_drift=True))
    assert not (tmp_path / "other").exists()
