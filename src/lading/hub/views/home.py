"""The first page: what needs somebody now, and how much runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import msgspec

from lading.clock import unix_time
from lading.hub.knowledge import Knowledge
from lading.hub.views.runs import run_row

ConcernKind = Literal["alarm", "failed", "silent", "run failed", "run lost", "paused", "release", "run"]
# The order in which somebody is needed: what is wrong first, what goes on by itself last.
_ORDER: tuple[ConcernKind, ...] = get_args(ConcernKind)
_FAILED = "failed"
_RECENT_S = 2 * 86_400.0
# Longer ago than that, a run that has failed is history: it was run again, or nobody misses it.


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that needs somebody, or that somebody should know of, since a Unix time; 0 if not known.

    ``subject`` is the column or slice of an alarm, the replica of a failed load or of silence, or the mode of
    a release; ``detail`` what is known in words, as it was written down. ``percent`` is a candidate's share,
    or of a run what is done. ``run`` is the id of a run, of which ``version`` is 0 if the registry has none.
    ``count`` is how many are alike, such as replicas on which a version fails.
    """

    kind: ConcernKind
    model: str
    version: int
    since: float
    subject: str = ""
    detail: str = ""
    percent: float = 0.0
    count: int = 1
    run: str = ""


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """The first page. ``live`` is how many models have a live version; ``gone`` are silent replicas."""

    concerns: list[Concern]
    models: int
    live: int
    replicas: int
    gone: int
    read_at: float


def home(knowledge: Knowledge) -> Home:
    """Return the first page."""
    running = [replica for replica in knowledge.replicas if not replica.gone]
    concerns = sorted(_concerns(knowledge), key=lambda each: (_ORDER.index(each.kind), -each.since))
    return Home(
        concerns=concerns,
        models=len(knowledge.names),
        live=sum(release.live is not None for release in knowledge.releases.values()),
        replicas=len(running),
        gone=sum(_is_silent(replica.gone, replica.stopped_at) for replica in knowledge.replicas),
        read_at=knowledge.read_at,
    )


def _concerns(knowledge: Knowledge) -> Iterator[Concern]:
    for alarm in knowledge.alarms:
        yield Concern(
            kind="alarm",
            model=alarm.name,
            version=alarm.version,
            since=alarm.raised_at,
            subject=alarm.subject,
            detail=alarm.text,
        )
    for release in knowledge.releases.values():
        if release.is_open:
            # A release that was paused waits for somebody; a running one goes on by itself.
            yield Concern(
                kind="paused" if release.state == "paused" else "release",
                model=release.name,
                version=release.candidate or 0,
                since=unix_time(release.created_at),
                subject=release.plan.mode,
                detail=release.reason,
                percent=release.weight_percent,
            )
    yield from _failed_loads(knowledge)
    yield from _runs(knowledge)
    for replica in knowledge.replicas:
        if _is_silent(replica.gone, replica.stopped_at):
            yield Concern(
                kind="silent",
                model="",
                version=0,
                since=unix_time(replica.last_seen_at),
                subject=replica.id,
                detail=replica.address,
            )


def _runs(knowledge: Knowledge) -> Iterator[Concern]:
    """Iterate over runs that go on, and those that have ended badly in the last days."""
    kinds: dict[str, ConcernKind] = {"running": "run", "failed": "run failed", "lost": "run lost"}
    # One that was run again is the same run: it goes on, or has ended well.
    for run in knowledge.runs:
        since = run.began_at if run.state == "running" else run.ended_at or run.heard_at
        if run.state == "running" or knowledge.read_at - since < _RECENT_S:
            yield Concern(
                kind=kinds[run.state],
                model=run.name,
                version=run.version,
                since=since,
                subject=run.title,
                detail=run.text,
                percent=100 * run_row(run).share,
                run=run.id,
            )


def _failed_loads(knowledge: Knowledge) -> Iterator[Concern]:
    """Iterate over versions that could not be loaded, each once, however many replicas say so."""
    failed: dict[tuple[str, int, str], list[str]] = {}
    for name, places in knowledge.serving.items():
        for place in places:
            if place.model.state == _FAILED:
                key = (name, place.model.version, place.model.reason)
                failed.setdefault(key, []).append(place.replica.id)
    for (name, version, reason), replicas in failed.items():
        yield Concern(
            kind="failed",
            model=name,
            version=version,
            since=knowledge.read_at,
            subject=replicas[0],
            detail=reason,
            count=len(replicas),
        )


def _is_silent(gone: bool, stopped_at: str) -> bool:
    """Return whether a replica sends nothing and has not said goodbye."""
    return gone and not stopped_at
