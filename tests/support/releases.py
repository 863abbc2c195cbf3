"""Releases in the states that tests begin with."""

from __future__ import annotations

from lading.release import (
    Plan,
    Release,
    begin,
)

AT = "2026-11-20T08:00:00.000Z"


LATER = "2026-11-20T08:01:00.000Z"


CANARY = Plan(mode="canary", steps=(5, 25, 100))


def released(version: int, plan: Plan | None = None, before: Release | None = None) -> Release:
    plan = plan or Plan(mode="live")
    return begin(before, "iris", version, plan, actor="ann", at=AT, runtime="0123456789ab")


def canary() -> Release:
    return released(2, CANARY, released(1))
