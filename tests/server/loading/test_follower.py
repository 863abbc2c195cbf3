"""Following releases: converge, split, refuse what does not hold, tell the catalog, live without it."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path

import numpy as np
import pytest

from lading.errors import ModelNotReady, RegistryUnavailable, TagNotFound
from lading.registry import Registry
from lading.registry.releases import Releases
from lading.release import EventDraft, HeaderRule, Plan
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.traffic import KEY_HEADER
from lading.server.inference.version import State
from lading.server.loading import follower as follow_module
from lading.server.loading.follower import NOTHING_RELEASED, Follower
from lading.server.loading.manager import Manager
from lading.server.observe.observer import Observer
from lading.traffic import Window
from support.bundles import linear_bundle
from support.waiting import wait_until


def three_versions(folder: Path) -> Registry:
    """Make a registry with three versions of one model."""
    registry = Registry.open(str(folder / "registry"))
    for seed in (1, 2, 3):
        registry.push(linear_bundle(folder / str(seed), seed=seed))
    return registry


def damage(registry: Registry, ref: str) -> None:
    """Change one byte of the blob of a version."""
    digest = registry.resolve(ref).blob
    blob = next(Path(registry.where).rglob(f"*{digest.removeprefix('sha256:')[4:]}*"))
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)


def note_ready(registry: Registry, version: int, ago_s: float) -> None:
    """Have another replica say that a version was ready, some time ago."""
    earlier = Releases(registry.catalog, lambda: time.time() - ago_s)
    event = EventDraft(kind="ready", actor="replica-2", version=version)
    earlier.note(registry.releases.current("iris"), event)


class Following:
    """One process that follows a registry (without a wire), by default of three versions."""

    def __init__(self, folder: Path, keep: int = 0, registry: Registry | None = None) -> None:
        self.registry = registry or three_versions(folder)
        self.observer = Observer("replica-1")
        self.plane = DataPlane(observer=self.observer)
        self.manager = Manager(self.plane, threads=1)
        self.follower = Follower(
            self.registry,
            self.manager,
            self.plane,
            self.observer,
            replica="replica-1",
            keep=keep,
            interval_s=0.05,
        )
        self.manager.start()
        self.follower.start()

    def close(self) -> None:
        self.follower.stop()
        self.manager.drain("done")
        self.manager.close()
        self.observer.stop()
        self.registry.close()

    def until(self, condition, timeout_s: float = 10.0) -> None:
        wait_until(
            condition, timeout_s, lambda: [(one.label, one.state, one.reason) for one in self.versions]
        )

    @property
    def versions(self):
        return [one for versions in self.plane.models.values() for one in versions]

    def ready(self) -> list[int]:
        return sorted(one.version for one in self.versions if one.state is State.READY)

    def ask(self, rows: int = 1, headers: dict[bytes, bytes] | None = None, request_id: bytes = b"r") -> int:
        served = self.plane.for_caller(headers or {}).resolve("iris")
        data = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
        job = Job(served, {"X": data}, ("probabilities",), lambda outputs: outputs, rows)
        self.plane.run(job)
        self.plane.record(job, request_id, 0.001, "")
        return served.version


@pytest.fixture
def following(tmp_path):
    one = Following(tmp_path)
    yield one
    one.close()


def test_a_release_is_converged_on_within_two_seconds(following):
    began = time.monotonic()
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    assert time.monotonic() - began < 2
    following.registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [2] and len(following.versions) == 1)
    assert following.ask() == 2


def test_nothing_released_is_said_once_until_something_is(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        following = Following(tmp_path)
        following.follower._turn()
    try:
        assert [one.message for one in caplog.records] == [NOTHING_RELEASED]
        assert following.plane.readiness.not_ready_reason == NOTHING_RELEASED
        for name in ("", "iris"):
            with pytest.raises(ModelNotReady, match="no model is loaded: nothing is released yet"):
                following.plane.versions(name)
        following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
        following.until(lambda: following.ready() == [1] and not following.plane.readiness.not_ready_reason)
    finally:
        following.close()


def test_a_canary_gets_its_share_and_its_keys(following):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    rules = (HeaderRule("x-team", "qa", "candidate"),)
    following.registry.releases.begin("iris", 2, Plan(mode="canary", steps=(25, 100), rules=rules), actor="t")
    following.until(lambda: following.ready() == [1, 2])
    count = 2000
    found = sum(following.ask() == 2 for _ in range(count))
    assert abs(found - count / 4) < 4.5 * math.sqrt(count * 0.25 * 0.75)
    assert {following.ask(headers={b"x-team": b"qa"}) for _ in range(20)} == {2}
    for key in (b"a", b"b", b"c"):
        assert len({following.ask(headers={KEY_HEADER: key}) for _ in range(5)}) == 1
    assert following.plane.find("iris", tag="candidate").version == 2
    assert following.plane.find("iris", tag="live").version == 1


def test_windows_of_both_sides_reach_the_catalog(following):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    release = following.registry.releases.begin("iris", 2, Plan(mode="ab"), actor="t")
    following.until(lambda: following.ready() == [1, 2])
    for at in range(200):
        following.ask(request_id=str(at).encode())
    assert following.observer.add_feedback("iris", b"7", ("versicolor",))
    assert not following.observer.add_feedback("iris", b"7", ("versicolor",)), "one truth counts once"
    assert not following.observer.add_feedback("iris", b"nobody", ("setosa",))

    def counted() -> int:
        return sum(one.requests for one in following.registry.traffic.windows("iris", release.number))

    following.until(lambda: counted() == 200)
    windows = following.registry.traffic.windows("iris", release.number)
    assert {one.version for one in windows} == {1, 2}
    assert sum(sum(one.latency) for one in windows) == 200
    assert sum(sum(one.outputs.values()) for one in windows) == 200
    assert set().union(*(one.outputs for one in windows)) <= {"setosa", "versicolor", "virginica"}
    assert sum(one.feedback.right + one.feedback.wrong for one in windows) == 1


def test_shadow_copies_are_compared_and_never_answer(following):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    release = following.registry.releases.begin("iris", 2, Plan(mode="shadow"), actor="t")
    following.until(lambda: following.ready() == [1, 2])
    assert {following.ask() for _ in range(30)} == {1}

    def copies() -> int:
        shadows = [one.shadow for one in following.registry.traffic.windows("iris", release.number)]
        return sum(one.agreed + one.differed + one.dropped + one.failed for one in shadows)

    following.until(lambda: copies() == 30)
    shadows = [one.shadow for one in following.registry.traffic.windows("iris", release.number)]
    assert sum(one.differed for one in shadows) > 0, "another model answers otherwise"


def test_a_candidate_that_does_not_hold_gets_no_traffic_and_the_release_says_why(following):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    damage(following.registry, "iris:2")
    following.registry.releases.begin("iris", 2, Plan(mode="canary"), actor="t")
    following.until(lambda: following.registry.releases.current("iris").state == "refused")
    release = following.registry.releases.current("iris")
    assert "replica-1" in release.reason
    assert release.live == 1
    assert following.registry.releases.events("iris")[-1].kind == "refused"
    assert {following.ask() for _ in range(20)} == {1}


def test_former_versions_are_kept_warm_when_asked(tmp_path):
    following = Following(tmp_path, keep=1)
    try:
        for version in (1, 2, 3):
            following.registry.releases.begin("iris", version, Plan(mode="live"), actor="t")
            following.until(lambda version=version: version in following.ready())
        following.until(lambda: following.ready() == [2, 3])
        assert following.ask() == 3
        before = following.plane.find("iris", version=2)
        following.registry.releases.rollback("iris", actor="t")
        following.until(lambda: following.ask() == 2)
        assert following.plane.find("iris", version=2) is before, "it was warm: nothing was loaded"
    finally:
        following.close()


def test_a_catalog_that_is_away_stops_nothing(following, monkeypatch):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])

    def away(*_given: object) -> None:
        raise RegistryUnavailable("the catalog", expected="an answer", found="none")

    # A PostgreSQL that is really stopped is in tests/registry_conformance; here the moment must be exact.
    with monkeypatch.context() as patch:
        patch.setattr(following.registry.releases, "wanted", away)
        patch.setattr(following.registry.traffic, "add_windows", away)
        following.until(lambda: following.plane.readiness.catalog_unreachable_since is not None)
        for _ in range(50):
            assert following.ask() == 1
    following.until(lambda: following.plane.readiness.catalog_unreachable_since is None)
    following.until(lambda: sum(one.requests for one in following.registry.traffic.windows("iris", 1)) >= 50)


def test_feedback_told_to_another_process_reaches_the_one_that_answered(following, tmp_path):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    following.ask(request_id=b"r-1")
    other = Observer("replica-2")
    plane = DataPlane(observer=other)
    manager = Manager(plane, threads=1)
    second = Follower(following.registry, manager, plane, other, replica="replica-2", interval_s=0.05)
    manager.start()
    second.start()
    assert not other.add_feedback("iris", b"r-1", ("setosa",))

    def counted() -> int:
        windows = following.registry.traffic.windows("iris", 1)
        return sum(one.feedback.right + one.feedback.wrong for one in windows)

    following.until(lambda: counted() == 1)
    assert {
        one.replica
        for one in following.registry.traffic.windows("iris", 1)
        if one.feedback.right + one.feedback.wrong
    } == {"replica-1"}
    second.stop()
    manager.drain("done")
    manager.close()


def refusals(registry: Registry) -> list[str]:
    return [event.reason for event in registry.releases.events("iris") if event.kind == "refused"]


def test_a_live_version_that_fails_after_a_rollback_is_told_and_the_server_follows_on(tmp_path):
    registry = three_versions(tmp_path)
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    release = registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    registry.releases.change(release, state="rolled_back", event=EventDraft(kind="rolled_back", actor="t"))
    before = registry.releases.current("iris")
    assert (before.state, before.live, before.replaces) == ("rolled_back", 1, 1)
    damage(registry, "iris:1")
    following = Following(tmp_path, registry=registry)
    try:
        following.until(lambda: refusals(registry))
        assert "replica-1" in refusals(registry)[0]
        assert registry.releases.current("iris") == before
        registry.releases.begin("iris", 3, Plan(mode="live"), actor="t")
        following.until(lambda: following.ready() == [3])
        assert len(refusals(registry)) == 1
    finally:
        following.close()


def test_one_server_on_which_a_version_fails_long_after_its_release_undoes_it_for_nobody(tmp_path):
    registry = three_versions(tmp_path)
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    note_ready(registry, 2, ago_s=11 * 60)
    before = registry.releases.current("iris")
    damage(registry, "iris:2")
    following = Following(tmp_path, registry=registry)
    try:
        following.until(lambda: refusals(registry))
        time.sleep(0.3)
        assert registry.releases.current("iris") == before
        assert len(refusals(registry)) == 1
        assert following.plane.find("iris", version=2).state is State.FAILED, "it stays visible here"
    finally:
        following.close()


@pytest.mark.parametrize(("version", "ago_s"), [(2, 60), (1, 3600)])
def test_a_release_of_a_moment_ago_is_refused_for_all(tmp_path, version, ago_s):
    registry = three_versions(tmp_path)
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    note_ready(registry, version, ago_s)
    damage(registry, "iris:2")
    following = Following(tmp_path, registry=registry)
    try:
        following.until(lambda: registry.releases.current("iris").state == "refused")
        assert registry.releases.current("iris").live == 1
        following.until(lambda: following.ready() == [1])
    finally:
        following.close()


def test_requests_that_are_answered_while_the_next_live_version_loads_are_counted(following, monkeypatch):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    fetch = following.registry.fetch

    def fetch_slowly(ref):
        time.sleep(0.5)
        return fetch(ref)

    monkeypatch.setattr(following.registry, "fetch", fetch_slowly)
    release = following.registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    following.until(lambda: len(following.versions) == 2)
    assert following.ask() == 1
    following.until(lambda: following.ready() == [2])
    following.until(lambda: following.registry.traffic.windows("iris", release.number))
    (window,) = following.registry.traffic.windows("iris", release.number)
    assert (window.version, window.requests, sum(window.outputs.values())) == (1, 1, 1)


def test_what_nobody_foresaw_is_logged_once_and_the_follower_goes_on(following, monkeypatch, caplog):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])

    def fail(*_given: object) -> None:
        raise ValueError("nobody foresaw this")

    # There is no catalog of which it is known that it fails so.
    with monkeypatch.context() as patch:
        patch.setattr(following.registry.releases, "wanted", fail)
        following.ask()
        following.until(lambda: "nobody foresaw this" in caplog.text)
        following.until(lambda: following.registry.traffic.windows("iris", 1))
        time.sleep(0.3)
        assert [one.exc_info is not None for one in caplog.records if "the next turn" in one.message] == [
            True
        ]
    following.registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [2])


def test_a_catalog_that_answers_nonsense_does_not_keep_a_server_from_starting(tmp_path, monkeypatch):
    registry = three_versions(tmp_path)
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    wanted, nonsense = registry.releases.wanted, iter([[None]])
    monkeypatch.setattr(registry.releases, "wanted", lambda: next(nonsense, None) or wanted())
    following = Following(tmp_path, registry=registry)
    try:
        following.until(lambda: following.ready() == [1])
    finally:
        following.close()


def test_a_window_that_the_catalog_does_not_take_takes_no_other_along(following, caplog):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])

    def window(**given) -> Window:
        digest = following.registry.resolve("iris:1").digest
        return Window(
            name="iris", release=1, version=1, digest=digest, replica="r", at=1.0, seconds=1.0, **given
        )

    following.observer.windows.put_back([window(outputs={"\ud800": 1}), window(requests=7)])
    following.until(lambda: following.registry.traffic.windows("iris", 1))
    assert [one.requests for one in following.registry.traffic.windows("iris", 1)] == [7]
    assert "telling what iris:1 answered failed" in caplog.text


def test_a_former_version_that_was_removed_is_not_kept(tmp_path):
    registry = three_versions(tmp_path)
    for version in (1, *[2, 3] * 6):
        registry.releases.begin("iris", version, Plan(mode="live"), actor="t")
    registry.remove("iris:1")
    following = Following(tmp_path, keep=5, registry=registry)
    try:
        following.until(lambda: following.ready() == [2, 3])
    finally:
        following.close()


def test_what_is_counted_does_not_grow_while_the_catalog_is_away(following, monkeypatch):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    windows = following.observer.windows

    def away(*_given: object) -> None:
        raise RegistryUnavailable("the catalog", expected="an answer", found="none")

    # A PostgreSQL that is really stopped is in tests/registry_conformance; here the moment must be exact.
    with monkeypatch.context() as patch:
        patch.setattr(following.registry.releases, "wanted", away)
        for _ in range(50):
            following.ask()
        following.until(lambda: windows.pending_answers == 0)
    following.until(lambda: sum(one.requests for one in following.registry.traffic.windows("iris", 1)) == 50)


@pytest.mark.parametrize("stumble", ["away", "changed"])
def test_a_refusal_at_which_the_catalog_stumbles_is_made_the_next_time(following, monkeypatch, stumble):
    registry = following.registry
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    damage(registry, "iris:2")
    change, first = registry.releases.change, iter([True])

    def stumble_once(release, *, event, **changes):
        if next(first, False):
            if stumble == "away":
                raise RegistryUnavailable("the catalog", expected="an answer", found="none")
            change(release, step=1, event=EventDraft(kind="step", actor="driver"))
        return change(release, event=event, **changes)

    # The moment between reading a release and changing it cannot be hit by will.
    monkeypatch.setattr(registry.releases, "change", stumble_once)
    registry.releases.begin("iris", 2, Plan(mode="canary"), actor="t")
    following.until(lambda: registry.releases.current("iris").state == "refused")


def test_no_version_is_the_candidate_where_the_release_has_none(following):
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    release = following.registry.releases.begin("iris", 2, Plan(mode="ab"), actor="t")
    following.until(lambda: following.ready() == [1, 2])
    assert following.plane.find("iris", tag="candidate").version == 2
    following.registry.releases.change(release, state="live", event=EventDraft(kind="promoted", actor="t"))
    following.until(lambda: following.ready() == [2])
    with pytest.raises(TagNotFound):
        following.plane.find("iris", tag="candidate")
    assert following.plane.find("iris", tag="live").version == 2


@pytest.mark.slow
def test_a_free_tag_is_followed_where_it_is_moved(following, monkeypatch):
    monkeypatch.setattr(follow_module, "_TAGS_S", 0.1)
    following.registry.tag("iris:1", "stable")
    following.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    following.registry.releases.begin("iris", 2, Plan(mode="ab"), actor="t")
    following.until(lambda: following.ready() == [1, 2])
    assert following.plane.find("iris", tag="stable").version == 1
    following.registry.tag("iris:2", "stable")
    following.until(lambda: following.plane.find("iris", tag="stable").version == 2)
