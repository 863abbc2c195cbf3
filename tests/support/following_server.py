"""A server that follows a registry, in this process and without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lading.registry import Registry
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion, State
from lading.server.loading.follower import Follower
from lading.server.loading.manager import Manager
from lading.server.observe.observer import Observer
from support.bundles import linear_bundle
from support.recorded_evidence import push_proved
from support.waiting import wait_until


def three_versions(folder: Path) -> Registry:
    """Make a registry with three versions of one model, each proved elsewhere."""
    registry = Registry.open(str(folder / "registry"))
    for seed in (1, 2, 3):
        push_proved(registry, linear_bundle(folder / str(seed), seed=seed))
    return registry


def damage(registry: Registry, ref: str) -> None:
    """Change one byte of the blob of a version."""
    digest = registry.resolve(ref).blob
    blob = next(Path(registry.where).rglob(f"*{digest.removeprefix('sha256:')[4:]}*"))
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)


class FollowingServer:
    """One replica that follows `registry`, by reading it twenty times a second."""

    def __init__(self, registry: Registry, replica: str = "replica-1", **options: Any) -> None:
        self.registry = registry
        self.observer = Observer(replica)
        self.plane = DataPlane(observer=self.observer)
        self.manager = Manager(self.plane, threads=1)
        options = {"interval_s": 0.05, **options}
        self.follower = Follower(registry, self.manager, self.plane, self.observer, **options)
        self.manager.start()
        self.follower.start()

    def close(self) -> None:
        self.follower.stop()
        self.manager.close()
        self.observer.close()

    def until(self, condition: Callable[[], Any], within_s: float = 10.0) -> None:
        wait_until(
            condition,
            within_s,
            lambda: [(version.label, version.state, version.reason) for version in self.versions],
        )

    def wait_turns(self, count: int = 2) -> None:
        """Wait until `count` more turns have begun: with two, one whole turn has passed since the call."""
        before = self.follower.turns
        self.until(lambda: self.follower.turns >= before + count)

    @property
    def versions(self) -> list[ServedVersion]:
        return [served for versions in self.plane.models.values() for served in versions]

    def ready(self) -> list[int]:
        return sorted(served.version for served in self.versions if served.state is State.READY)

    def ask(self, headers: dict[bytes, bytes] | None = None, request_id: bytes = b"r") -> int:
        """Predict for one row, and return the version that answered."""
        served = self.plane.for_caller(headers or {}).resolve("iris")
        rows = np.random.default_rng(1).standard_normal((1, 4)).astype(np.float32)
        job = Job(served, {"X": rows}, ("probabilities",), lambda outputs: outputs)
        self.plane.run(job)
        self.plane.record(job, request_id, 0.001, "")
        return served.version
