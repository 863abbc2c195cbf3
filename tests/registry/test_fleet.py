"""Replicas and leases, over every catalog."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from lading.errors import UsageError
from lading.registry import Registry
from lading.registry.records import Removed
from lading.replica import Replica
from support.registries import registry_over
from support.waiting import wait_until

DAY_S = 86400.0


@pytest.fixture
def registry(three_versions) -> Registry:
    return three_versions


def test_a_lease_has_one_holder_until_it_expires(registry, open_catalog):
    other = registry_over(open_catalog())
    assert registry.fleet.lease_holder("rollout") is None
    assert registry.fleet.lease("rollout", "a", 0.5)
    assert other.fleet.lease_holder("rollout") == "a"
    assert not other.fleet.lease("rollout", "b", 0.5)
    assert other.fleet.lease("something else", "b", 60)
    assert registry.fleet.lease("rollout", "a", 0.5)
    wait_until(lambda: other.fleet.lease_holder("rollout") is None)
    assert other.fleet.lease("rollout", "b", 60)
    assert not registry.fleet.lease("rollout", "a", 60)
    registry.fleet.release_lease("rollout", "a")
    assert registry.fleet.lease_holder("rollout") == "b"
    assert not registry.fleet.lease("rollout", "a", 60)
    other.fleet.release_lease("rollout", "b")
    assert registry.fleet.lease("rollout", "a", 60)
    with pytest.raises(UsageError, match="a time above 0"):
        registry.fleet.lease("rollout", "a", 0)


def test_gone_replicas_are_listed_and_kept_for_as_long_as_the_setting_says(registry, catalog, monkeypatch):
    registry.fleet.beat(Replica(id="a"))
    with catalog.database.transaction("write") as connection:
        connection.execute(text("UPDATE replicas SET last_seen_at = last_seen_at - 3 * 86400"))
    monkeypatch.setenv("LADING_GONE_DAYS", "4")
    assert [replica.gone for replica in registry.fleet.replicas()] == [True]
    assert registry.fleet.prune(dry_run=False) == []
    monkeypatch.setenv("LADING_GONE_DAYS", "2")
    assert registry.fleet.replicas() == []
    assert registry.fleet.prune(dry_run=False) == [Removed("old replicas", "1 replicas", 0)]
