"""A cluster of two workers, and runs on it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pyspark
import pytest

from lading.batch import plan as planning
from lading.batch.run import Options, run_batch
from lading.runtime.python.host import this_host
from support.batch_bundles import BatchCase
from support.batch_runs import files
from support.bundles import IRIS_COLUMNS, linear_bundle
from support.environments import shared_cache
from support.spark_clusters import PART_ROWS, PARTS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if shutil.which("java") is None:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="Spark needs a Java, which `scripts/services` installs"))


@pytest.fixture(scope="session")
def session(tmp_path_factory) -> Iterator[Any]:
    """A session with two executors, which are processes of their own."""
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        # The JVM and what it starts keep the environment of this moment; all of it listens on this address.
        patch.setenv("LADING_CACHE", str(shared_cache(tmp_path_factory)))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        builder = SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.ui.enabled", "false")
        session = builder.getOrCreate()
    yield session
    session.stop()
    # Where such a cluster keeps the logs of its executors cannot be said.
    shutil.rmtree(Path(pyspark.__file__).parent / "work", ignore_errors=True)


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
