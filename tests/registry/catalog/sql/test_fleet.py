"""Replicas and leases in SQL, by the clock of the database."""

from __future__ import annotations

import time

import msgspec
import pytest
from sqlalchemy import text

from lading.registry import Registry
from lading.registry.records import Removed
from lading.replica import GONE_AFTER_S, Replica

DAY_S = 86400.0


@pytest.fixture
def registry(three_versions) -> Registry:
    return three_versions


def test_replicas_are_pruned_once_their_last_heartbeat_is_old(registry, catalog):
    registry.fleet.beat(Replica(id="a"))
    assert catalog.fleet.prune(DAY_S, dry_run=False) == []
    for dry_run in (True, False):
        assert catalog.fleet.prune(-1.0, dry_run=dry_run) == [Removed("old replicas", "1 replicas", 0)]
    assert registry.fleet.replicas() == []


def test_a_replica_is_read_as_it_reported_and_is_gone_once_silent(registry, catalog):
    reported = Replica(
        id="b", host="h", cpus=1.5, packages={"numpy": "2.4"}, started_at="2026-11-20T08:00:00Z"
    )
    registry.fleet.beat(reported)
    registry.fleet.beat(Replica(id="a"))
    first, second = registry.fleet.replicas()
    assert (first.id, second.id) == ("a", "b")
    assert msgspec.structs.replace(second, last_seen_at="", silent_s=0.0) == reported
    assert 0 <= second.silent_s < 5
    assert not second.gone
    with catalog.database.transaction("write") as connection:
        connection.execute(text("UPDATE replicas SET last_seen_at = last_seen_at - 100 WHERE id = 'a'"))
    assert [(replica.id, replica.gone) for replica in registry.fleet.replicas()] == [
        ("a", True),
        ("b", False),
    ]
    assert [replica.id for replica in registry.fleet.replicas(include_gone_days=0)] == ["b"]
    assert registry.fleet.replicas()[0].silent_s > 100 > GONE_AFTER_S
    registry.fleet.beat(Replica(id="a", host="back"))
    assert [(replica.host, replica.gone) for replica in registry.fleet.replicas()] == [
        ("back", False),
        ("h", False),
    ]
    assert (registry.fleet.forget("a"), registry.fleet.forget("a")) == (True, False)


def test_a_lease_from_before_the_clock_was_set_back_is_free(registry, catalog):
    assert registry.fleet.lease("rollout", "a", 5.0)
    assert not registry.fleet.lease("rollout", "b", 5.0)
    with catalog.database.transaction("write") as connection:
        connection.execute(text("UPDATE leases SET expires_at = expires_at + 3600"))
    assert registry.fleet.lease("rollout", "b", 5.0)
    assert not registry.fleet.lease("rollout", "a", 5.0)


def test_releases_are_dated_by_the_clock_of_the_catalog(registry, monkeypatch):
    now = registry.fleet.now()
    assert abs(now - time.time()) < 5
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    assert registry.fleet.now() >= now
