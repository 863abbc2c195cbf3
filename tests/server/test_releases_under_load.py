"""Fifty releases in a row under constant load, with kills: nothing dropped, nothing unwanted answered."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import pytest

from lading.registry import Registry
from lading.release import Plan
from lading.rollout import moves
from support.bundles import linear_bundle
from support.load_clients import Clients, grpc, rest
from support.recorded_evidence import push_proved
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.alone]

RELEASES = int(os.environ.get("LADING_TEST_RELEASES", "50"))
CONVERGED_S = 2.0
"""Servers converge within this; on a machine that also runs the clients an answer may be late by as much."""


@dataclass
class Timeline:
    """What was wanted from when on: digests by moment."""

    moments: list[tuple[float, frozenset[str]]] = field(default_factory=list)

    def want(self, *digests: str) -> None:
        self.moments.append((time.time(), frozenset(digests)))

    def wanted_between(self, start: float, end: float) -> set[str]:
        """Return every digest that was wanted at some time from `start` to `end`."""
        wanted: set[str] = set()
        for at, (since, digests) in enumerate(self.moments):
            until = self.moments[at + 1][0] if at + 1 < len(self.moments) else float("inf")
            if since <= end and until >= start:
                wanted |= digests
        return wanted


class Story:
    """A registry, a following server with two workers, and what is done to them."""

    def __init__(self, registry: Registry, clients: Clients) -> None:
        self.registry = registry
        self.clients = clients
        self.digests = [registry.resolve(f"iris:{version}").digest for version in (1, 2, 3)]
        self.timeline = Timeline()

    def digest(self, version: int | None) -> str:
        assert version is not None
        return self.digests[version - 1]

    def live(self, version: int) -> None:
        self.timeline.want(self.digest(self.current), self.digest(version))
        self.registry.releases.begin("iris", version, Plan(mode="live"), actor="story")
        self.timeline.want(self.digest(version))

    @property
    def current(self) -> int:
        release = self.registry.releases.current("iris")
        assert release is not None
        assert release.live is not None
        return release.live

    def canary(self, version: int, *, promote: bool) -> None:
        """Release step by step, as a person does by hand; then promote or roll back."""
        before = self.current
        self.timeline.want(self.digest(before), self.digest(version))
        plan = Plan(mode="canary", steps=(10, 50), hold_s=3600)
        release = self.registry.releases.begin("iris", version, plan, actor="story")
        self.clients.wait_for(self.digest(version))
        if not promote:
            moves.apply(self.registry, release, moves.rolled_back(release, "story", "not wanted"))
            self.timeline.want(self.digest(before))
            return
        for _ in range(2):
            release = moves.apply(self.registry, release, moves.promoted(release, "story", "by hand"))
            self.clients.wait_for(self.digest(version))
        self.timeline.want(self.digest(version))

    def rollback(self) -> None:
        before = self.current
        release = self.registry.releases.rollback("iris", actor="story")
        self.timeline.moments.append(
            (time.time() - 1, frozenset({self.digest(before), self.digest(release.live)}))
        )
        self.timeline.want(self.digest(release.live))


def test_fifty_releases_under_load_drop_nothing(tmp_path):
    url = str(tmp_path / "registry")
    registry = Registry.open(url)
    for seed in (1, 2, 3):
        push_proved(registry, linear_bundle(tmp_path / str(seed), seed=seed))
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="story")
    flags = ("--workers", "2", "--grpc-port", "0", "--drain-delay-s", "0.2")
    with serving(flags=flags, environ={"LADING_REGISTRY": url, "LADING_KEEP": "1"}) as server:
        clients = Clients()
        story = Story(registry, clients)
        story.timeline.moments.append((0.0, frozenset({story.digest(1)})))
        leader = start_driver(url)
        clients.start(rest(port_of(server, "http")), count=3)
        clients.start(grpc(port_of(server, "grpc")), count=1)
        killed_at = 0.0
        try:
            for number in range(RELEASES):
                others = [version for version in (1, 2, 3) if version != story.current]
                match number % 5:
                    case 0 | 3:
                        story.live(others[number % 2])
                    case 1:
                        story.canary(others[number % 2], promote=True)
                    case 2:
                        story.canary(others[number % 2], promote=False)
                    case 4:
                        story.rollback()
                if number == RELEASES // 3:
                    killed_at = time.time()
                    os.kill(server.worker_pids()[0], signal.SIGKILL)
                if number == RELEASES // 2:
                    leader.kill()
                    leader.wait()
                    leader = start_driver(url)
                clients.wait_for(story.digest(story.current))
            # So many answers that their count means something.
            wait_until(lambda: len(clients.answers) >= min(50_000, RELEASES * 1000), 60, "50,000 answers")
        finally:
            clients.stop()
            leader.kill()
            leader.wait()
        server.wait_ready()
        assert server.stop() == 0
        assert "starting another" in server.log, "a worker was killed"
    answers, broken = clients.answers, clients.broken
    print(f"{len(answers)} answers over {RELEASES} releases, {len(broken)} broken by the kill")
    assert len(answers) >= min(50_000, RELEASES * 1000)
    assert [answer for answer in answers if answer.status != 200] == []
    # What the killed worker had in flight: at most one request of each connection.
    assert all(abs(at - killed_at) < 1.0 for at in broken), [at - killed_at for at in broken]
    assert len(broken) <= 4
    unwanted = [
        answer
        for answer in answers
        if answer.digest not in story.timeline.wanted_between(answer.asked_at - CONVERGED_S, answer.came_at)
    ]
    assert unwanted == []
    assert {answer.digest for answer in answers} == set(story.digests)


def start_driver(url: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lading", "rollout", "run"]
    return subprocess.Popen(command, env={**os.environ, "LADING_REGISTRY": url}, stderr=subprocess.DEVNULL)


def port_of(server: ServerProcess, scheme: str) -> int:
    server.wait_until(lambda: re.search(rf"{scheme}://[\w.]+:(\d+)", server.log))
    address = re.search(rf"{scheme}://[\w.]+:(\d+)", server.log)
    assert address is not None
    return int(address.group(1))
