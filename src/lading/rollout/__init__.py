"""Rollouts: a release on its way from its first share of traffic to live, or back.

``moves`` holds the pure decisions, `Driver` carries them out under a lease, ``preflight`` is what comes
before a release, and ``snapshot`` is what people see of one. Talks to the registry only: servers read what
was written there. Does not judge traffic itself: the verdict does.
"""

from __future__ import annotations

from lading.rollout.driver import LEASE, LEASE_S, Driver, unique_holder
from lading.rollout.evidence import WindowReader, assess
from lading.rollout.moves import Move, apply, decide, paused, promoted, resumed, rolled_back

__all__ = [
    "LEASE",
    "LEASE_S",
    "Driver",
    "Move",
    "WindowReader",
    "apply",
    "assess",
    "decide",
    "paused",
    "promoted",
    "resumed",
    "rolled_back",
    "unique_holder",
]
