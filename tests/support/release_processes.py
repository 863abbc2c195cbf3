"""What processes of the tests of releases do; multiprocessing starts each and imports only this."""

from __future__ import annotations

from typing import Any

from lading.errors import StaleRelease
from lading.registry.open import open_catalog
from lading.registry.records import NewVersion
from lading.release import EventDraft
from lading.replica import Replica
from lading.traffic import FeedbackCounts, ShadowCounts, Window
from support.registries import rows_at


def new_version(name: str = "iris", bundle: int = 1) -> NewVersion:
    """Make up a version; no bundle of it is anywhere."""
    return NewVersion(
        name=name,
        digest=f"sha256:{bundle:064x}",
        blob=f"sha256:{bundle + 1000:064x}",
        size_bytes=1,
        purpose="classification",
        owner="ml@example.com",
        description="",
        pushed_at="2026-11-20T08:00:00Z",
        metrics={},
    )


def add_weight(url: str, times: int, results: Any) -> None:
    """Add 0.25 percent `times` times, whatever others do; report how often another was quicker."""
    registry, quicker = rows_at(url), 0
    for _ in range(times):
        while True:
            release = registry.releases.current("iris")
            assert release is not None
            draft = EventDraft(kind="step", actor="driver", to=f"{release.weight_percent + 0.25}")
            try:
                registry.releases.change(release, weight_percent=release.weight_percent + 0.25, event=draft)
                break
            except StaleRelease:
                quicker += 1
    results.put(quicker)


def open_and_count(url: str, results: Any) -> None:
    """Open a catalog, as one of many at once, and report how many models there are."""
    try:
        results.put(len(open_catalog(url).versions.models()))
    except BaseException as error:  # the test shows it
        results.put(repr(error))
        raise


def replica(name: str = "a") -> Replica:
    """Make up a replica."""
    return Replica(id=name)


def window(**changes: Any) -> Window:
    """Make up a window of traffic."""
    fields = {
        "name": "iris",
        "release": 1,
        "version": 2,
        "digest": f"sha256:{2:064x}",
        "replica": "a",
        "at": 1_000_000.0,
        "seconds": 1.0,
        "requests": 7,
        "errors": {"RunFailed": 1},
        "latency": (0, 3, 4),
        "outputs": {"setosa": 6},
        "shadow": ShadowCounts(agreed=1),
        "feedback": FeedbackCounts(wrong=2),
    }
    return Window(**{**fields, **changes})
