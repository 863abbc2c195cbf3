"""Rollouts: a release on its way from its first share of traffic to live, or back.

`moves` holds the pure decisions, `Driver` carries them out under a lease, `proof` is what comes before a
release and `snapshot` what people are shown of one. Talks to the registry only: servers read what was
written there. Judges no traffic itself, for the verdict does.
"""

from __future__ import annotations

from lading.rollout.driver import LEASE, LEASE_S, Driver, holder_here
from lading.rollout.evidence import Reading, assess
from lading.rollout.moves import Move, apply, decide, paused, promoted, resumed, rolled_back

__all__ = [
    "LEASE",
    "LEASE_S",
    "Driver",
    "Move",
    "Reading",
    "apply",
    "assess",
    "decide",
    "holder_here",
    "paused",
    "promoted",
    "resumed",
    "rolled_back",
]
