"""Following releases: converge, split, refuse what does not hold, tell the catalog, live without it."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest

from lading.errors import RegistryUnavailable
from lading.registry import Registry
from lading.release import HeaderRule, Plan
from lading.server.dataplane import DataPlane
from lading.server.follow import Follower
from lading.server.job import Job
from lading.server.manager import Manager
from lading.server.states import State
from lading.server.traffic import KEY_HEADER
from lading.server.witness import Witness
from making import linear_bundle


class Following:
    """A registry with three versions, and one process that follows it (without a wire)."""

    def __init__(self, folder: Path, keep: int = 0) -> None:
        self.registry = Registry.open(str(folder / "registry"))
        self.bundles = [linear_bundle(folder / str(seed), seed=seed) for seed in (1, 2, 3)]
        for bundle in self.bundles:
            self.registry.push(bundle)
        self.witness = Witness("replica-1")
        self.plane = DataPlane(witness=self.witness)
        self.manager = Manager(self.plane, threads=1)
        self.follower = Follower(
            self.registry,
            self.manager,
            self.plane,
            self.witness,
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
        self.witness.stop()
        self.registry.close()

    def until(self, condition, timeout_s: float = 10.0) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, [(one.label, one.state, one.reason) for one in self.versions]
            time.sleep(0.005)

    @property
    def versions(self):
        return [one for versions in self.plane.models.values() for one in versions]

    def ready(self) -> list[int]:
        return sorted(one.version for one in self.versions if one.state is State.READY)

    def ask(self, rows: int = 1, headers: dict[bytes, bytes] | None = None, request_id: bytes = b"r") -> int:
        served = self.plane.seen_by(headers or {}).resolve("iris")
        data = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
        job = Job(served, {"X": data}, ("probabilities",), lambda outputs: outputs, rows)
        self.plane.run(job)
        self.plane.saw(job, request_id, 0.001, "")
        return served.version


@pytest.fixture
def following(tmp_path):
    one = Following(tmp_path)
    yield one
    one.close()


def test_a_release_is_converged_on_within_two_seconds(following):
    began = time.monotonic()
    following.registry.release("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    assert time.monotonic() - began < 2
    following.registry.release("iris", 2, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [2] and len(following.versions) == 1)
    assert following.ask() == 2


def test_a_canary_gets_its_share_and_its_keys(following):
    following.registry.release("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    rules = (HeaderRule("x-team", "qa", "candidate"),)
    following.registry.release("iris", 2, Plan(mode="canary", steps=(25, 100), rules=rules), actor="t")
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
    following.registry.release("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    release = following.registry.release("iris", 2, Plan(mode="ab"), actor="t")
    following.until(lambda: following.ready() == [1, 2])
    for at in range(200):
        following.ask(request_id=str(at).encode())
    assert following.witness.learn("iris", b"7", ("versicolor",))
    assert not following.witness.learn("iris", b"7", ("versicolor",)), "one truth counts once"
    assert not following.witness.learn("iris", b"nobody", ("setosa",))

    def counted() -> int:
        return sum(one.requests for one in following.registry.windows("iris", release.number))

    following.until(lambda: counted() == 200)
    windows = following.registry.windows("iris", release.number)
    assert {one.version for one in windows} == {1, 2}
    assert sum(sum(one.latency) for one in windows) == 200
    assert sum(sum(one.outputs.values()) for one in windows) == 200
    assert set().union(*(one.outputs for one in windows)) <= {"setosa", "versicolor", "virginica"}
    assert sum(one.feedback.right + one.feedback.wrong for one in windows) == 1


def test_shadow_copies_are_compared_and_never_answer(following):
    following.registry.release("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    release = following.registry.release("iris", 2, Plan(mode="shadow"), actor="t")
    following.until(lambda: following.ready() == [1, 2])
    assert {following.ask() for _ in range(30)} == {1}

    def copies() -> int:
        shadows = [one.shadow for one in following.registry.windows("iris", release.number)]
        return sum(one.agreed + one.differed + one.dropped + one.failed for one in shadows)

    following.until(lambda: copies() == 30)
    shadows = [one.shadow for one in following.registry.windows("iris", release.number)]
    assert sum(one.differed for one in shadows) > 0, "another model answers otherwise"


def test_a_candidate_that_does_not_hold_gets_no_traffic_and_the_release_says_why(following):
    following.registry.release("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    digest = following.registry.resolve("iris:2").blob
    blob = next(Path(following.registry.where).rglob(f"*{digest.removeprefix('sha256:')[4:]}*"))
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    following.registry.release("iris", 2, Plan(mode="canary"), actor="t")
    following.until(lambda: following.registry.current("iris").state == "refused")
    release = following.registry.current("iris")
    assert "replica-1" in release.reason
    assert release.live == 1
    assert following.registry.events("iris")[-1].kind == "refused"
    assert {following.ask() for _ in range(20)} == {1}


def test_former_versions_are_kept_warm_when_asked(tmp_path):
    following = Following(tmp_path, keep=1)
    try:
        for version in (1, 2, 3):
            following.registry.release("iris", version, Plan(mode="live"), actor="t")
            following.until(lambda version=version: version in following.ready())
        following.until(lambda: following.ready() == [2, 3])
        assert following.ask() == 3
        before = following.plane.find("iris", version=2)
        following.registry.rollback("iris", actor="t")
        following.until(lambda: following.ask() == 2)
        assert following.plane.find("iris", version=2) is before, "it was warm: nothing was loaded"
    finally:
        following.close()


def test_a_catalog_that_is_away_stops_nothing(following, monkeypatch):
    following.registry.release("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])

    def away(*_given: object) -> None:
        raise RegistryUnavailable("the catalog", expected="an answer", found="none")

    # A PostgreSQL that is really stopped is in tests/registry_conformance; here the moment must be exact.
    with monkeypatch.context() as patch:
        patch.setattr(following.registry, "wanted", away)
        patch.setattr(following.registry, "add_windows", away)
        following.until(lambda: following.follower.away_since is not None)
        for _ in range(50):
            assert following.ask() == 1
    following.until(lambda: following.follower.away_since is None)
    following.until(lambda: sum(one.requests for one in following.registry.windows("iris", 1)) >= 50)


def test_feedback_told_to_another_process_reaches_the_one_that_answered(following, tmp_path):
    following.registry.release("iris", 1, Plan(mode="live"), actor="t")
    following.until(lambda: following.ready() == [1])
    following.ask(request_id=b"r-1")
    other = Witness("replica-2")
    plane = DataPlane(witness=other)
    manager = Manager(plane, threads=1)
    second = Follower(following.registry, manager, plane, other, replica="replica-2", interval_s=0.05)
    manager.start()
    second.start()
    assert not other.learn("iris", b"r-1", ("setosa",))

    def counted() -> int:
        windows = following.registry.windows("iris", 1)
        return sum(one.feedback.right + one.feedback.wrong for one in windows)

    following.until(lambda: counted() == 1)
    assert {
        one.replica
        for one in following.registry.windows("iris", 1)
        if one.feedback.right + one.feedback.wrong
    } == {"replica-1"}
    second.stop()
    manager.drain("done")
    manager.close()
