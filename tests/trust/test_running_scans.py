"""Scans of what runs: made again when something has changed, and a failure is said once."""

from __future__ import annotations

import threading

import pytest

from lading.errors import FeedStale
from lading.trust.running import digests_of
from lading.trust.running_scans import RunningScanner
from support.feeds import osv, published, write
from support.scanned_servers import replica
from support.waiting import wait_until


def test_nothing_is_scanned_again_until_a_feed_or_a_server_or_the_day_changes(
    registry, feeds, scanner, clock
):
    registry.fleet.beat(replica("web-1"))
    assert scanner.turn()
    assert scanner.turn() is None
    write(feeds, "pypi/new.json", osv("PYSEC-2026-9", "numpy", {"introduced": "0"}))
    (scan,) = scanner.turn().values()
    assert "PYSEC-2026-9" in {each.id for each in scan.findings}
    registry.fleet.beat(replica("web-2", packages={}))
    assert scanner.turn() is None  # It states no packages that could be scanned.
    registry.fleet.beat(replica("web-3", packages={"numpy": "1.16.0"}))
    assert len(scanner.turn()) == 2
    clock.now += 86_400
    assert scanner.turn()


def test_a_stale_feed_is_an_error_each_time(registry, tmp_path, clock):
    scanner = RunningScanner(registry, published(tmp_path / "old", fresh=""), actor="me", clock=clock)
    registry.fleet.beat(replica("web-1"))
    for _ in range(2):
        with pytest.raises(FeedStale):
            scanner.turn()


def test_a_watch_says_once_what_fails_and_goes_on(registry, tmp_path, caplog, clock):
    stop = threading.Event()
    scanner = RunningScanner(registry, tmp_path / "nothing-yet", actor="me", clock=clock)
    registry.fleet.beat(replica("web-1"))
    thread = threading.Thread(target=scanner.run, args=(stop, 0.01))
    thread.start()
    try:
        wait_until(lambda: "what runs is not scanned" in caplog.text)
        published(tmp_path / "nothing-yet")
        wait_until(lambda: registry.attachments.listed(digests_of(registry.fleet.replicas())))
    finally:
        stop.set()
        thread.join()
    assert caplog.text.count("found nothing there") == 1
