"""Runs from a bucket to a bucket on a Ray cluster: the bytes of one process, or one sentence."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.batch_bundles import BatchCase
from support.bridges import Bridge
from support.cluster_batches import PART_ROWS, PARTS
from support.data_buckets import DataBucket
from support.ray_buckets import IN_BUCKETS, NO_CREDENTIALS, bridged
from support.ray_clusters import RayCluster, kill
from support.ray_runs import Started
from support.s3_faults import FaultyS3, Refuse, faulty_s3, first_times

pytestmark = [pytest.mark.slow, pytest.mark.wide, pytest.mark.xdist_group("ray-buckets")]

NAMED = f"on `{socket.gethostname()}`: expected to read and write it, found "


@pytest.fixture(scope="module")
def bridge(cluster, s3_server) -> Iterator[Bridge]:
    with bridged(cluster, s3_server.address) as opened:
        yield opened


@pytest.fixture
def faulty(bridge, s3_server) -> Iterator[FaultyS3]:
    """Return a proxy through which the cluster reaches the bucket."""
    with faulty_s3(s3_server.address) as proxy:
        bridge.target = proxy.url.removeprefix("http://")
        yield proxy
        bridge.target = s3_server.address


@pytest.fixture
def bucket(s3_url, s3_buckets) -> DataBucket:
    return DataBucket(s3_url, s3_buckets)


@pytest.fixture
def sent(bucket, long_case) -> BatchCase:
    """Return the run of forty parts, its file in the bucket."""
    bucket.put("in/rows.parquet", long_case.source)
    return replace(long_case, source=f"{bucket.url}/in")


def test_an_actor_that_is_killed_and_requests_that_fail_once_change_no_byte(
    bucket, faulty, sent, long_case, start, locally
):
    faulty.fault = first_times(Refuse(503, "SlowDown"), "/in/rows.parquet", "/part-000011", "manifest.json")
    run = start((sent, f"{bucket.url}/out"), records=lambda: bucket.records("out"))
    os.kill(run.frozen_actor(), signal.SIGKILL)
    (report,) = run.reports()
    assert (report["manifest"]["rows"], report["resumed"], report["refused"]) == (PARTS * PART_ROWS, 0, [])
    assert bucket.output("out") == locally(long_case)
    assert not bucket.names("out/.lading/parts/")


@pytest.mark.usefixtures("bridge")
def test_a_run_whose_driver_was_killed_goes_on(bucket, sent, long_case, start, locally):
    first = start((sent, f"{bucket.url}/out"), records=lambda: bucket.records("out"))
    first.comes_to(3)
    kill(first.process)
    kept = first.done()
    (report,) = start((sent, f"{bucket.url}/out")).reports()
    assert 3 <= kept <= report["resumed"] < PARTS
    assert bucket.output("out") == locally(long_case)


def test_what_stays_wrong_is_one_sentence_with_the_machine_and_the_run_goes_on_later(
    bucket, faulty, sent, long_case, start, locally
):
    def no_right(asked):
        is_late = any(f"parts/part-0000{tens}" in asked.path for tens in (2, 3))
        return Refuse(403, "AccessDenied") if asked.method == "PUT" and is_late else None

    faulty.fault = no_right
    (report,) = start((sent, f"{bucket.url}/out")).reports()
    assert report["error"] == "RegistryUnavailable"
    assert NAMED in report["message"]
    assert "AccessDenied" in report["message"]
    assert "a run needs GetObject and ListBucket" in report["message"]
    assert "out/manifest.json" not in bucket.names("out/")
    faulty.fault = lambda _: None
    (report,) = start((sent, f"{bucket.url}/out")).reports()
    assert 0 < report["resumed"] <= 20
    assert bucket.output("out") == locally(long_case)


@pytest.mark.usefixtures("bridge")
def test_a_machine_without_credentials_is_refused_by_name_and_the_others_go_on(
    bucket, cluster, sent, long_case, start, locally
):
    machine = cluster.add_machine(**NO_CREDENTIALS)
    (report,) = start((sent, f"{bucket.url}/out"), processes=3).reports()
    os.kill(machine, signal.SIGKILL)
    (refused,) = report["refused"]
    assert f"{NAMED}Unable to locate credentials" in refused["reason"]
    assert bucket.output("out") == locally(long_case)


def test_a_cluster_without_credentials_ends_a_run_with_that_sentence(bucket, sent, s3_server):
    with RayCluster(**IN_BUCKETS) as bare, bridged(bare, s3_server.address):
        bare.add_machine(**NO_CREDENTIALS)
        # The command has credentials: nobody sends them to the machines.
        (report,) = Started(bare, [(sent, f"{bucket.url}/out")]).reports()
    assert report["error"] == "RegistryUnavailable"
    assert f"{NAMED}Unable to locate credentials" in report["message"]
    assert "no machine of the cluster is left; this was" in report["message"]
    assert "out/manifest.json" not in bucket.names("out/")
