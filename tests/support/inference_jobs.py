"""Jobs for one small model, and the place that they return to."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from support.bundles import linear_bundle
from support.hosted_app import GatedRuntime, expect_short, gated, served_from


def gated_version(folder: Path) -> ServedVersion:
    """Load a version whose runs are recorded; its gate is open, and a run is expected to take no time."""
    served = served_from(linear_bundle(folder / "iris"))
    gated(served, 10).gate.set()
    expect_short(served)
    return served


def gated_runtime(served: ServedVersion) -> GatedRuntime:
    """Return the runtime of a `gated_version`."""
    runtime = served.model.runtime
    assert isinstance(runtime, GatedRuntime)
    return runtime


def random_job(
    served: ServedVersion, rows: int = 1, outputs: tuple[str, ...] | None = ("probabilities",), seed: int = 0
) -> Job:
    """Make a job of random rows; the same seed makes the same rows."""
    values = np.random.default_rng(seed).standard_normal((rows, 4)).astype(np.float32)
    return Job(served, {"X": values}, outputs, lambda outputs: outputs, rows)


class Sink:
    """Where jobs return to: ``jobs`` in the order of their return, ``calls`` how often some came."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.calls = 0
        self.deliver = self._deliver  # One object, by which the batcher groups jobs.
        self._changed = threading.Condition()

    def _deliver(self, jobs: list[Job]) -> None:
        with self._changed:
            self.calls += 1
            self.jobs += jobs
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        """Wait until `count` jobs have returned."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.jobs) >= count, 10)
