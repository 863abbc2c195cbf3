"""Reports to the catalog: windows, feedback between replicas, versions that are ready, versions that fail."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lading.errors import RegistryUnavailable
from lading.registry import Registry
from lading.registry.releases import Releases
from lading.release import EventDraft, Plan
from lading.server.inference.version import State
from lading.traffic import Window
from support.following_server import FollowingServer, damage, three_versions


@pytest.fixture
def server(tmp_path) -> Iterator[FollowingServer]:
    """A server that has version 1 live and ready."""
    server = FollowingServer(three_versions(tmp_path))
    server.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    server.until(lambda: server.ready() == [1])
    yield server
    server.close()


def note_ready(registry: Registry, version: int, ago_s: float) -> None:
    """Have another replica report that a version was ready, some time ago."""
    release = registry.releases.current("iris")
    assert release is not None
    event = EventDraft(kind="ready", actor="replica-2", version=version)
    earlier = Releases(registry.catalog, lambda: time.time() - ago_s, registry.releases.check)
    earlier.note(release, event)


def refusals(registry: Registry) -> list[str]:
    return [event.reason for event in registry.releases.events("iris") if event.kind == "refused"]


def test_windows_of_both_sides_reach_the_catalog(server):
    release = server.registry.releases.begin("iris", 2, Plan(mode="ab"), actor="t")
    server.until(lambda: server.ready() == [1, 2])
    for at in range(200):
        server.ask(request_id=str(at).encode())
    assert server.observer.add_feedback("iris", b"7", ("versicolor",)) == "here"
    assert server.observer.add_feedback("iris", b"7", ("versicolor",)) == "before", "one truth counts once"
    assert server.observer.add_feedback("iris", b"nobody", ("setosa",)) == "passed on"

    def counted() -> int:
        return sum(window.requests for window in server.registry.traffic.windows("iris", release.number))

    server.until(lambda: counted() == 200)
    windows = server.registry.traffic.windows("iris", release.number)
    assert {window.version for window in windows} == {1, 2}
    assert sum(sum(window.latency) for window in windows) == 200
    assert sum(sum(window.outputs.values()) for window in windows) == 200
    assert set().union(*(window.outputs for window in windows)) <= {"setosa", "versicolor", "virginica"}
    assert sum(window.feedback.right + window.feedback.wrong for window in windows) == 1


def test_shadow_copies_are_compared_and_never_answer(server):
    release = server.registry.releases.begin("iris", 2, Plan(mode="shadow"), actor="t")
    server.until(lambda: server.ready() == [1, 2])
    assert {server.ask() for _ in range(30)} == {1}

    def copies() -> int:
        shadows = [window.shadow for window in server.registry.traffic.windows("iris", release.number)]
        return sum(shadow.agreed + shadow.differed + shadow.dropped + shadow.failed for shadow in shadows)

    server.until(lambda: copies() == 30)
    shadows = [window.shadow for window in server.registry.traffic.windows("iris", release.number)]
    assert sum(shadow.differed for shadow in shadows) > 0, "another model answers differently"


def test_feedback_that_another_replica_received_reaches_the_one_that_answered(server):
    server.ask(request_id=b"r-1")
    other = FollowingServer(server.registry, "replica-2")
    assert other.observer.add_feedback("iris", b"r-1", ("setosa",)) == "passed on"

    def with_feedback() -> list[Window]:
        windows = server.registry.traffic.windows("iris", 1)
        return [window for window in windows if window.feedback.right + window.feedback.wrong]

    server.until(with_feedback)
    (window,) = with_feedback()
    assert window.feedback.right + window.feedback.wrong == 1
    assert window.replica == "replica-1"
    other.close()


def test_one_window_that_the_catalog_rejects_does_not_hold_up_the_others(server, caplog):
    def window(**counts) -> Window:
        digest = server.registry.resolve("iris:1").digest
        return Window(
            name="iris", release=1, version=1, digest=digest, replica="r", at=1.0, seconds=1.0, **counts
        )

    # A lone surrogate cannot be stored as UTF-8.
    server.observer.windows.put_back([window(outputs={"\ud800": 1}), window(requests=7)])
    server.until(lambda: server.registry.traffic.windows("iris", 1))
    assert [window.requests for window in server.registry.traffic.windows("iris", 1)] == [7]
    assert "delivering a window of iris:1 failed" in caplog.text


def test_a_candidate_that_cannot_be_served_gets_no_traffic_and_its_release_is_refused(server):
    damage(server.registry, "iris:2")
    server.registry.releases.begin("iris", 2, Plan(mode="canary"), actor="t")
    server.until(lambda: server.registry.releases.current("iris").state == "refused")
    release = server.registry.releases.current("iris")
    assert "replica-1" in release.reason
    assert release.live == 1
    assert server.registry.releases.events("iris")[-1].kind == "refused"
    assert {server.ask() for _ in range(20)} == {1}


def test_a_version_that_becomes_ready_is_noted_once(server):
    server.until(
        lambda: [event.kind for event in server.registry.releases.events("iris")] == ["released", "ready"]
    )
    server.wait_turns()
    event = server.registry.releases.events("iris")[-1]
    assert (event.kind, event.actor, event.reason) == ("ready", "replica-1", "loaded and proved on replica-1")


def test_one_server_on_which_an_established_version_fails_does_not_undo_it_for_all(tmp_path):
    registry = three_versions(tmp_path)
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    note_ready(registry, 2, ago_s=11 * 60)
    before = registry.releases.current("iris")
    damage(registry, "iris:2")
    server = FollowingServer(registry)
    try:
        server.until(lambda: refusals(registry))
        server.wait_turns()
        assert registry.releases.current("iris") == before
        assert len(refusals(registry)) == 1
        assert server.plane.find("iris", version=2).state is State.FAILED, "it stays visible here"
    finally:
        server.close()


@pytest.mark.parametrize(("version", "ago_s"), [(2, 60), (1, 3600)])
def test_a_recent_release_whose_version_fails_is_refused_for_all(tmp_path, version, ago_s):
    registry = three_versions(tmp_path)
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    note_ready(registry, version, ago_s)
    damage(registry, "iris:2")
    server = FollowingServer(registry)
    try:
        server.until(lambda: registry.releases.current("iris").state == "refused")
        assert registry.releases.current("iris").live == 1
        server.until(lambda: server.ready() == [1])
    finally:
        server.close()


@pytest.mark.parametrize("obstacle", ["unreachable", "changed"])
def test_a_refusal_that_the_catalog_does_not_accept_at_first_is_repeated(server, monkeypatch, obstacle):
    registry = server.registry
    damage(registry, "iris:2")
    change, first = registry.releases.change, iter([True])

    def fail_once(release, *, event, **changes):
        if next(first, False):
            if obstacle == "unreachable":
                raise RegistryUnavailable("the catalog", expected="an answer", found="none")
            change(release, step=1, event=EventDraft(kind="step", actor="driver"))
        return change(release, event=event, **changes)

    # The moment between reading a release and changing it cannot be hit at will.
    monkeypatch.setattr(registry.releases, "change", fail_once)
    registry.releases.begin("iris", 2, Plan(mode="canary"), actor="t")
    server.until(lambda: registry.releases.current("iris").state == "refused")
