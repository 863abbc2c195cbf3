"""Runs from a bucket to a bucket on Spark: the bytes of one process, or one sentence."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lading.batch.recording import Recorder
from lading.batch.run import Options, run_batch
from lading.errors import RegistryUnavailable
from support.batch_bundles import BatchCase
from support.cluster_batches import PART_ROWS, PARTS
from support.data_buckets import DataBucket
from support.environments import shared_cache
from support.s3_faults import FaultyS3, Refuse, first_times
from support.spark_clusters import SparkCluster, SparkRuns, executors

# One session for all of them, as for the runs in folders.
pytestmark = [pytest.mark.slow, pytest.mark.wide, pytest.mark.xdist_group("spark")]

ON_SPARK = Options(engine="spark")
NAMED = f"on `{socket.gethostname()}`: expected to read and write it, found "


@pytest.fixture
def faulty(front) -> Iterator[FaultyS3]:
    """Return the proxy before the bucket, without faults before and afterwards."""
    yield front
    front.fault = lambda _: None


@pytest.fixture
def bucket(s3_url, s3_buckets) -> DataBucket:
    return DataBucket(s3_url, s3_buckets)


@pytest.fixture
def sent(bucket, long_case) -> BatchCase:
    """Return the run of forty parts, its file in the bucket."""
    bucket.put("in/rows.parquet", long_case.source)
    return replace(long_case, source=f"{bucket.url}/in")


def test_an_executor_that_is_killed_and_requests_that_fail_once_change_no_byte(
    bucket, session, faulty, sent, long_case, locally
):
    expected = locally(long_case)
    faulty.fault = first_times(Refuse(503, "SlowDown"), "/in/rows.parquet", "/part-000011", "manifest.json")
    killed: list[int] = []

    def progress(done: int, parts: int, rows: int) -> None:
        if done == 3 and not killed:
            # Stopped, it keeps the part that it is at while the other scores all the rest.
            killed.append(executors(session)[0])
            os.kill(killed[0], signal.SIGSTOP)
        if done == PARTS - 1:
            os.kill(killed[0], signal.SIGKILL)

    recorder = Recorder(progress=progress)
    run = run_batch(sent.bundle, [sent.source], f"{bucket.url}/out", ON_SPARK, recorder=recorder)
    assert (run.manifest.rows, run.resumed) == (PARTS * PART_ROWS, 0)
    assert bucket.output("out") == expected
    assert not bucket.names("out/.lading/parts/")


@pytest.mark.usefixtures("session")
def test_what_stays_wrong_is_one_sentence_with_the_machine_and_the_run_goes_on_later(
    bucket, faulty, sent, long_case, locally
):
    expected = locally(long_case)

    def no_right(asked):
        is_late = any(f"parts/part-0000{tens}" in asked.path for tens in (2, 3))
        return Refuse(403, "AccessDenied") if asked.method == "PUT" and is_late else None

    faulty.fault = no_right
    with pytest.raises(RegistryUnavailable, match="AccessDenied") as caught:
        run_batch(sent.bundle, [sent.source], f"{bucket.url}/out", ON_SPARK)
    assert NAMED in caught.value.message
    assert "a run needs GetObject and ListBucket" in caught.value.hint
    assert "out/manifest.json" not in bucket.names("out/")
    faulty.fault = lambda _: None
    run = run_batch(sent.bundle, [sent.source], f"{bucket.url}/out", ON_SPARK)
    assert 0 < run.resumed <= 20
    assert bucket.output("out") == expected


def test_a_worker_without_credentials_ends_the_run_with_its_name_unless_another_has_some(
    bucket, sent, long_case, locally, tmp_path_factory
):
    with SparkCluster(shared_cache(tmp_path_factory)) as cluster:
        # The driver has credentials, and so has what its cluster starts without these.
        cluster.add_worker(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
        with SparkRuns(cluster, [(sent, f"{bucket.url}/out")]) as alone:
            (report,) = alone.reports()
        assert report["error"] == "RegistryUnavailable"
        assert f"{NAMED}Unable to locate credentials" in report["message"]
        assert "out/manifest.json" not in bucket.names("out/")
        cluster.add_worker()
        with SparkRuns(cluster, [(sent, f"{bucket.url}/out")]) as both:
            (report,) = both.reports()
    assert "error" not in report, report
    assert bucket.output("out") == locally(long_case)
