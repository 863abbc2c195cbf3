"""A lock in a bucket: one holder at a time, renewed while it lives, and free when it is gone."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from lading.batch.objects import Objects
from lading.batch.places.lease import Holder, Lease, machine
from lading.errors import OutputInUse
from support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def url(bucket) -> str:
    return f"{bucket.url}/lock"


def lease(url: str, lease_s: float = 60.0) -> Lease:
    return Lease(Objects(), url, "s3://there", lease_s=lease_s)


def test_a_lock_is_held_by_one_until_it_is_given_back(bucket, url):
    first = lease(url)
    first.acquire()
    with pytest.raises(OutputInUse, match="one that is at work"):
        lease(url).acquire()
    first.check()
    first.release()
    assert bucket.names("lock") == []
    second = lease(url)
    second.acquire()
    second.release()


def test_a_lock_that_is_renewed_outlives_its_lease(bucket, url):
    held = lease(url, 1.2)
    held.acquire()
    wait_until(lambda: msgspec.json.decode(bucket.read("lock"), type=Holder).renewals >= 6)
    held.check()
    with pytest.raises(OutputInUse):
        lease(url).acquire()
    held.release()


def test_a_lock_that_nobody_renews_is_taken_once_it_is_old(bucket, url):
    bucket.put("lock", msgspec.json.encode(Holder("gone", "another machine", 1, 2.0)))
    with pytest.raises(OutputInUse):
        lease(url).acquire()

    def take() -> bool:
        held = lease(url)
        try:
            held.acquire()
        except OutputInUse:
            return False
        held.release()
        return True

    wait_until(take)


def test_a_lock_of_a_process_of_this_machine_that_has_ended_is_taken_at_once(bucket, url):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for process, is_free in ((os.getpid(), False), (ended.pid, True)):
        bucket.put("lock", msgspec.json.encode(Holder("other", machine(), process, 3600.0)))
        if is_free:
            held = lease(url)
            held.acquire()
            held.release()
        else:
            with pytest.raises(OutputInUse):
                lease(url).acquire()


def test_a_lock_that_somebody_took_is_found_and_left_alone(bucket, url):
    held = lease(url, 0.8)
    held.acquire()
    bucket.put("lock", msgspec.json.encode(Holder("other", "another machine", 1, 60.0)))

    def is_lost() -> bool:
        try:
            held.check()
        except OutputInUse as error:
            return "the lock of this run" in str(error)
        return False

    wait_until(is_lost)
    held.release()
    assert msgspec.json.decode(bucket.read("lock"), type=Holder).run == "other"


def test_what_is_no_lock_of_lading_counts_as_one(bucket, url):
    bucket.put("lock", b"mine")
    with pytest.raises(OutputInUse):
        lease(url).acquire()
