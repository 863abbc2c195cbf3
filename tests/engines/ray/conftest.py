"""A cluster of two machines, and runs on it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

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
from support.environments import shared_cache
from support.ray_clusters import RayCluster, kill
from support.ray_runs import PART_ROWS, PARTS, Started


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[RayCluster]:
    with RayCluster(LADING_CACHE=str(shared_cache(tmp_path_factory))) as cluster:
        cluster.add_machine()
        cluster.add_machine()
        yield cluster


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
def start(cluster) -> Iterator[Callable[..., Started]]:
    """Return a function that starts runs on the cluster."""
    started: list[subprocess.Popen[str]] = []

    def start(*runs: tuple[BatchCase, Path], processes: int = 0) -> Started:
        begun = Started(cluster, list(runs), processes)
        started.append(begun.process)
        return begun

    yield start
    for process in started:
        if process.poll() is None:
            kill(process)
        process.communicate()


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
