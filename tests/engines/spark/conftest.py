"""A cluster of two workers, and runs on it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyspark
import pytest

from support.cluster_batches import locally, long_case  # noqa: F401 - fixtures
from support.environments import shared_cache
from support.s3_faults import FaultyS3, faulty_s3
from support.store_servers import AWS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if shutil.which("java") is None:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="Spark needs a Java, which `scripts/services` installs"))


@pytest.fixture(scope="session")
def front(s3_server) -> Iterator[FaultyS3]:
    """Return a proxy through which all executors reach buckets."""
    with faulty_s3(s3_server.address) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def session(tmp_path_factory, front) -> Iterator[Any]:
    """A session with two executors, which are processes of their own."""
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        # The JVM and what it starts keep the environment of this moment; all of it listens on this address.
        patch.setenv("LADING_CACHE", str(shared_cache(tmp_path_factory)))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        for name, value in {**AWS, "AWS_ENDPOINT_URL": front.url}.items():
            patch.setenv(name, value)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        builder = SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.ui.enabled", "false")
        session = builder.getOrCreate()
    yield session
    session.stop()
    # Where such a cluster keeps the logs of its executors cannot be said.
    shutil.rmtree(Path(pyspark.__file__).parent / "work", ignore_errors=True)
