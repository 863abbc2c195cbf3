"""A file of a hundred rows, of which one does not fit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from support.batch_runs import COLUMNS


@pytest.fixture
def rows(tmp_path):
    values = np.random.default_rng(0).uniform(0, 7, (100, 4))
    columns = {name: values[:, at].tolist() for at, name in enumerate(COLUMNS)}
    columns["petal_width"][4] = None
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"
