"""A cluster of two machines, and runs on it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.batch_bundles import BatchCase
from support.cluster_batches import locally, long_case  # noqa: F401 - fixtures
from support.environments import shared_cache
from support.ray_buckets import IN_BUCKETS
from support.ray_clusters import RayCluster, kill
from support.ray_runs import Started


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[RayCluster]:
    with RayCluster(LADING_CACHE=str(shared_cache(tmp_path_factory)), **IN_BUCKETS) as cluster:
        cluster.add_machine()
        cluster.add_machine()
        yield cluster


@pytest.fixture
def start(cluster) -> Iterator[Callable[..., Started]]:
    """Return a function that starts runs on the cluster."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *runs: tuple[BatchCase, Path | str], processes: int = 0, records: Callable[[], int] | None = None
    ) -> Started:
        begun = Started(cluster, list(runs), processes, records)
        started.append(begun.process)
        return begun

    yield start
    for process in started:
        if process.poll() is None:
            kill(process)
        process.communicate()
