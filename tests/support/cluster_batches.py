"""Fixtures of runs on clusters: a run of many parts, and the files that one process makes of a run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from lading.batch import plan as planning
from lading.batch.run import Options, run_batch
from lading.runtime.python.host import this_host
from support.batch_bundles import BatchCase
from support.batch_runs import files
from support.bundles import IRIS_COLUMNS, linear_bundle

PART_ROWS, PARTS = 200, 40


@pytest.fixture(scope="session")
def long_case(tmp_path_factory) -> BatchCase:
    """A run of forty parts."""
    folder = tmp_path_factory.mktemp("long")
    values = np.random.default_rng(0).uniform(0, 7, (PARTS * PART_ROWS, 4))
    path = folder / "rows.parquet"
    rows = pa.table({name: values[:, at] for at, name in enumerate(IRIS_COLUMNS)})
    pyarrow.parquet.write_table(rows, path, row_group_size=PART_ROWS)
    return BatchCase(linear_bundle(folder / "bundle"), path)


@pytest.fixture
def locally(tmp_path, monkeypatch) -> Callable[[BatchCase], dict[str, bytes]]:
    """Return a function that makes the files of a run in one process."""
    monkeypatch.setattr(planning, "PART_ROWS", PART_ROWS)

    def locally(case: BatchCase) -> dict[str, bytes]:
        out = tmp_path / f"local-{case.bundle.manifest.name}"
        options = Options(keep=case.keep, processes=1)
        run_batch(case.bundle, [case.source], out, options, python=this_host(case.allow))
        return files(out)

    return locally
