"""Following releases: converge, split traffic, keep former versions, go on without the catalog."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lading.errors import ModelNotReady, RegistryUnavailable, TagNotFound
from lading.registry import Registry
from lading.release import EventDraft, HeaderRule, Plan
from lading.server.inference.traffic import KEY_HEADER
from lading.server.loading.follower import NOTHING_RELEASED
from support.following_server import FollowingServer, damage, three_versions


@pytest.fixture
def server(tmp_path) -> Iterator[FollowingServer]:
    server = FollowingServer(three_versions(tmp_path))
    yield server
    server.close()


@pytest.fixture
def released(server) -> FollowingServer:
    """A server that has version 1 live and ready."""
    server.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    server.until(lambda: server.ready() == [1])
    return server


def unreachable(*_arguments: object) -> None:
    raise RegistryUnavailable("the catalog", expected="an answer", found="none")


@pytest.mark.alone
def test_a_server_converges_on_a_release_within_two_seconds(server):
    began = time.monotonic()
    server.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    server.until(lambda: server.ready() == [1])
    assert time.monotonic() - began < 2
    server.registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    server.until(lambda: server.ready() == [2] and len(server.versions) == 1)
    assert server.ask() == 2


def test_a_server_without_releases_logs_so_once_and_is_not_ready(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        server = FollowingServer(three_versions(tmp_path))
        server.wait_turns()
    try:
        assert [record.message for record in caplog.records] == [NOTHING_RELEASED]
        assert server.plane.readiness.not_ready_reason == NOTHING_RELEASED
        for name in ("", "iris"):
            with pytest.raises(ModelNotReady, match="no model is loaded: nothing is released yet"):
                server.plane.versions(name)
        server.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
        server.until(lambda: server.ready() == [1] and not server.plane.readiness.not_ready_reason)
    finally:
        server.close()


@pytest.mark.slow
def test_a_canary_gets_its_share_its_header_rules_and_sticky_keys(released):
    rules = (HeaderRule("x-team", "qa", "candidate"),)
    released.registry.releases.begin("iris", 2, Plan(mode="canary", steps=(25, 100), rules=rules), actor="t")
    released.until(lambda: released.ready() == [1, 2])
    count = 2000
    candidates = sum(released.ask() == 2 for _ in range(count))
    # Four and a half standard deviations of a binomial: fails once in 150,000 runs.
    assert abs(candidates - count / 4) < 4.5 * math.sqrt(count * 0.25 * 0.75)
    assert {released.ask(headers={b"x-team": b"qa"}) for _ in range(20)} == {2}
    for key in (b"a", b"b", b"c"):
        assert len({released.ask(headers={KEY_HEADER: key}) for _ in range(5)}) == 1
    assert released.plane.find("iris", tag="candidate").version == 2
    assert released.plane.find("iris", tag="live").version == 1


@pytest.mark.slow
def test_former_versions_stay_loaded_if_the_setting_asks_for_it(tmp_path):
    server = FollowingServer(three_versions(tmp_path), keep=1)
    try:
        for version in (1, 2, 3):
            server.registry.releases.begin("iris", version, Plan(mode="live"), actor="t")
            server.until(lambda version=version: version in server.ready())
        server.until(lambda: server.ready() == [2, 3])
        assert server.ask() == 3
        before = server.plane.find("iris", version=2)
        server.registry.releases.rollback("iris", actor="t")
        server.until(lambda: server.ask() == 2)
        assert server.plane.find("iris", version=2) is before, "it was not loaded again"
    finally:
        server.close()


@pytest.mark.slow
def test_a_former_version_that_was_removed_from_the_registry_is_not_kept(tmp_path):
    registry = three_versions(tmp_path)
    for version in (1, *[2, 3] * 6):
        registry.releases.begin("iris", version, Plan(mode="live"), actor="t")
    registry.remove("iris:1")
    server = FollowingServer(registry, keep=5)
    try:
        server.until(lambda: server.ready() == [2, 3])
    finally:
        server.close()


def test_a_server_goes_on_while_the_catalog_is_unreachable(released, monkeypatch):
    readiness = released.plane.readiness
    # A PostgreSQL that is really stopped is in tests/registry/test_catalog_unreachable.py; here the moment
    # must be exact.
    with monkeypatch.context() as patch:
        patch.setattr(released.registry.releases, "wanted", unreachable)
        patch.setattr(released.registry.traffic, "add_windows", unreachable)
        released.until(lambda: readiness.catalog_unreachable_since is not None)
        for _ in range(50):
            assert released.ask() == 1
    released.until(lambda: readiness.catalog_unreachable_since is None)
    released.until(
        lambda: sum(window.requests for window in released.registry.traffic.windows("iris", 1)) >= 50
    )


def test_answers_do_not_pile_up_in_memory_while_the_catalog_is_unreachable(released, monkeypatch):
    windows = released.observer.windows
    with monkeypatch.context() as patch:
        patch.setattr(released.registry.releases, "wanted", unreachable)
        for _ in range(50):
            released.ask()
        released.until(lambda: windows.pending_answers == 0)
    released.until(
        lambda: sum(window.requests for window in released.registry.traffic.windows("iris", 1)) == 50
    )


def test_a_server_follows_on_after_the_version_of_a_rollback_could_not_be_loaded(tmp_path):
    registry = three_versions(tmp_path)
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    release = registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    registry.releases.change(release, state="rolled_back", event=EventDraft(kind="rolled_back", actor="t"))
    before = registry.releases.current("iris")
    assert (before.state, before.live, before.replaces) == ("rolled_back", 1, 1)
    damage(registry, "iris:1")

    def refusals() -> list[str]:
        return [event.reason for event in registry.releases.events("iris") if event.kind == "refused"]

    server = FollowingServer(registry)
    try:
        server.until(refusals)
        assert "replica-1" in refusals()[0]
        assert registry.releases.current("iris") == before
        registry.releases.begin("iris", 3, Plan(mode="live"), actor="t")
        server.until(lambda: server.ready() == [3])
        assert len(refusals()) == 1
    finally:
        server.close()


def test_requests_that_are_answered_while_the_next_live_version_loads_are_counted(released, monkeypatch):
    fetch, asked = released.registry.fetch, threading.Event()

    def fetch_slowly(ref):
        assert asked.wait(10)
        return fetch(ref)

    monkeypatch.setattr(released.registry, "fetch", fetch_slowly)
    release = released.registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    released.until(lambda: len(released.versions) == 2)
    assert released.ask() == 1
    asked.set()
    released.until(lambda: released.ready() == [2])
    released.until(lambda: released.registry.traffic.windows("iris", release.number))
    (window,) = released.registry.traffic.windows("iris", release.number)
    assert (window.version, window.requests, sum(window.outputs.values())) == (1, 1, 1)


def test_an_unexpected_error_is_logged_once_and_the_follower_goes_on(released, monkeypatch, caplog):
    def fail(*_arguments: object) -> None:
        raise ValueError("unexpected")

    # No real catalog is known to fail in this way.
    with monkeypatch.context() as patch:
        patch.setattr(released.registry.releases, "wanted", fail)
        released.ask()
        released.until(lambda: "unexpected" in caplog.text)
        released.until(lambda: released.registry.traffic.windows("iris", 1))
        released.wait_turns()
        logged = [record for record in caplog.records if "the next turn tries again" in record.message]
        assert [record.exc_info is not None for record in logged] == [True]
    released.registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    released.until(lambda: released.ready() == [2])


def test_a_catalog_that_answers_nonsense_at_first_does_not_keep_a_server_from_starting(tmp_path, monkeypatch):
    registry = three_versions(tmp_path)
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    wanted, nonsense = registry.releases.wanted, iter([[None]])
    monkeypatch.setattr(registry.releases, "wanted", lambda: next(nonsense, None) or wanted())
    server = FollowingServer(registry)
    try:
        server.until(lambda: server.ready() == [1])
    finally:
        server.close()


def test_a_row_that_was_rewritten_does_not_decide_what_is_live(released, caplog):
    with closing(sqlite3.connect(Path(released.registry.where) / "catalog.db")) as connection, connection:
        connection.execute("update releases set live = 3")
    released.until(lambda: "is not what lading wrote" in caplog.text)
    released.wait_turns()
    assert {released.ask() for _ in range(20)} == {1}
    assert (
        "its row says that version 3 is live, its history version 1; serving what the history says"
        in caplog.text
    )
    # What lading writes is followed again.
    released.registry.releases.rollback("iris", to=2, actor="ann")
    released.until(lambda: released.ask() == 2)


def test_no_version_is_tagged_candidate_when_the_release_has_none(released):
    release = released.registry.releases.begin("iris", 2, Plan(mode="ab"), actor="t")
    released.until(lambda: released.ready() == [1, 2])
    assert released.plane.find("iris", tag="candidate").version == 2
    released.registry.releases.change(release, state="live", event=EventDraft(kind="promoted", actor="t"))
    released.until(lambda: released.ready() == [2])
    with pytest.raises(TagNotFound):
        released.plane.find("iris", tag="candidate")
    assert released.plane.find("iris", tag="live").version == 2


@pytest.mark.slow
def test_a_free_tag_that_is_moved_is_followed(tmp_path):
    server = FollowingServer(three_versions(tmp_path), tags_interval_s=0.1)
    try:
        server.registry.tag("iris:1", "stable")
        server.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
        server.registry.releases.begin("iris", 2, Plan(mode="ab"), actor="t")
        server.until(lambda: server.ready() == [1, 2])
        assert server.plane.find("iris", tag="stable").version == 1
        server.registry.tag("iris:2", "stable")
        server.until(lambda: server.plane.find("iris", tag="stable").version == 2)
    finally:
        server.close()


@pytest.mark.slow
@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 86400.0])
def test_windows_are_neither_long_nor_negative_when_the_clock_is_set(tmp_path, jump_s):
    registry, ahead_s = three_versions(tmp_path), 0.0
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    server = FollowingServer(registry, clock=lambda: time.time() + ahead_s)
    try:
        server.until(lambda: server.ready() == [1])
        for ahead_s in (0.0, jump_s):  # noqa: B007 - the clock reads it
            # The second that runs while the clock is set began before.
            server.wait_turns(3)
            for _ in range(20):
                server.ask()
            server.wait_turns(3)
    finally:
        server.close()
    windows = registry.traffic.windows("iris", 1)
    assert sum(window.requests for window in windows) == 40
    assert all(0 <= window.seconds < 5 for window in windows)
    assert any(abs(window.at - time.time() - jump_s) < 60 for window in windows)


@pytest.mark.parametrize("sealed", [False, True])
def test_a_server_with_a_key_serves_nothing_that_no_seal_covers(tmp_path, monkeypatch, sealed):
    keys = tmp_path / "keys"
    keys.write_text(f"k1 {'a' * 40}\n")
    three_versions(tmp_path).releases.begin("iris", 1, actor="somebody")
    monkeypatch.setenv("LADING_HISTORY_KEY_FILE", str(keys))
    registry = Registry.open(str(tmp_path / "registry"))
    if sealed:
        current = registry.releases.current("iris")
        registry.releases.note(current, EventDraft(kind="sealed", actor="ann"))
    server = FollowingServer(registry)
    try:
        server.wait_turns(3)
        if sealed:
            server.until(lambda: server.ready() == [1])
            # Written by a process that has no key.
            monkeypatch.delenv("LADING_HISTORY_KEY_FILE")
            Registry.open(str(tmp_path / "registry")).releases.begin("iris", 2, actor="mallory")
            server.wait_turns(4)
            assert server.ready() == [1]
        else:
            assert server.versions == []
    finally:
        server.close()
