"""Runs jobs beside the requests of clients, in one thread that asks the catalog and never runs a model.

    claim ─▶ ask on the event loop ─▶ (answered) ─▶ store ─▶ claim
      ▲                                   │
      └──── renew, while it runs ─────────┘

A job is asked as a request of a client is, through all steps of the pipeline. Claims are leases: what a
server that was killed had claimed is claimed by another, and a result is stored once, by the claim that
holds.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lading.access import INNER
from lading.clock import back_off_s
from lading.errors import (
    DeadlineExceeded,
    LadingError,
    ModelNotReady,
    ModelProcessEnded,
    NotFound,
    QueueFull,
    RegistryUnavailable,
    ServerBusy,
)
from lading.jobs import Answer, AnsweredBy, Claim, Outcome, Requeued, Wanted
from lading.logs import fields
from lading.registry import Registry
from lading.server.http.messages import Request, Response
from lading.server.inference.dataplane import DataPlane
from lading.server.jobs.inner import InnerRequests
from lading.server.jobs.targets import targets_of
from lading.server.metrics.jobs import JobCounts
from lading.settings import ServeSettings

log = logging.getLogger("lading.server")

POLL_S = 0.5
"""How often a server without jobs looks for some; those that it takes itself it sees at once."""

_LAG_S = 0.02
"""A loop that takes longer to begin what is next has enough to do without jobs."""
_LATE_PAUSE_S = 0.25
"""How long a late loop is left alone between jobs; no longer, because others may make it late."""
_TRICKLE_S = 1.0
"""How often a server whose clients take all places still takes a job, so that none waits without end."""
_GATHER_S, _LONGEST_GATHER_S = 0.005, 0.1
"""How long what ends is gathered for one transaction: as long as the last one took, within these bounds."""
_DEPTHS_S = 5.0
_PRUNE_S = 600.0
_FIRST_AGAIN_S, _LONGEST_AGAIN_S = 1.0, 60.0

_PASSING = (ModelNotReady, QueueFull, ServerBusy)
"""Refusals that say nothing about the job: it waits again, however often."""
_TRIED = (ModelProcessEnded, DeadlineExceeded, NotFound)
"""Refusals that another attempt may not meet; a job has only so many."""
_KEPT_OUT = (b"content-type", b"content-length")


@dataclass(slots=True)
class _Running:
    """A job under way: when it was asked, and how it ended, if it has."""

    claim: Claim
    request: Request
    response: Response | None = None


@dataclass(frozen=True, slots=True)
class Home:
    """The server that a worker is part of, by the name ``replica``.

    ``is_leader`` returns whether this process speaks for its server: that one shows how many jobs wait, and
    removes old ones. ``webhook_due`` is called when a job with a webhook has ended here.
    """

    replica: str
    is_leader: Callable[[], bool]
    webhook_due: Callable[[], object]


class JobWorker:
    """Claims, runs and reports jobs for one process, in the thread that calls `run`."""

    def __init__(
        self,
        registry: Registry,
        inner: InnerRequests,
        plane: DataPlane,
        settings: ServeSettings,
        counts: JobCounts,
        home: Home,
    ) -> None:
        self._jobs = registry.jobs
        self._inner = inner
        self._plane = plane
        self._settings = settings
        self._counts = counts
        self._home = home
        # A claim is known by its token: a number alone would be that of another process.
        self._holder = f"{home.replica}-{secrets.token_hex(6)}"
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._running: dict[str, _Running] = {}
        self._is_woken = False
        self._stops = False
        self._gather_s = _GATHER_S
        self._claimed_at = self._renewed_at = self._recovered_at = 0.0
        self._counted_at = self._pruned_at = -_DEPTHS_S
        self._outage = ""

    def wake(self) -> None:
        """Look for jobs now: one has come here."""
        with self._changed:
            self._is_woken = True
            self._changed.notify()

    def stop(self) -> None:
        """Have `run` give back what has not ended, and end."""
        with self._changed:
            self._stops = True
            self._changed.notify()

    def run(self) -> None:
        """Run jobs until `stop` is called; a catalog that is unreachable is waited for."""
        while not self._stops:
            try:
                self._turn()
            except RegistryUnavailable as error:
                self._begin_outage(error)
            except Exception:
                # The edge of a thread. Without this no job would run here any more.
                log.exception("jobs: a turn failed, trying again")
                self._outage = "a failed turn"
            else:
                self._end_outage()
            with self._changed:
                self._changed.wait_for(self._has_news, POLL_S)
                # What ends together is stored together: each transaction is written to a disk.
                self._changed.wait_for(self._have_all_ended, self._gather_s)
                self._is_woken = False
        try:
            self._exchange(time.monotonic())
            self._requeue_the_rest()
        except RegistryUnavailable as error:
            # Their leases end by themselves.
            log.warning("jobs that did not end here wait until their leases end: %s", error)

    def _has_news(self) -> bool:
        ended = any(job.response is not None for job in self._running.values())
        # While the catalog is unreachable, what has ended is no news.
        return self._stops or self._is_woken or (ended and not self._outage)

    def _have_all_ended(self) -> bool:
        return self._stops or all(job.response is not None for job in self._running.values())

    def _turn(self) -> None:
        """Store what has ended, and claim as many jobs as there is room for."""
        now = time.monotonic()
        # First what has ended: it frees places, and its clients wait.
        self._exchange(now)
        # Three times within a lease: one renewal may fail, and one may be late.
        if self._running and now - self._renewed_at > self._settings.job_lease_s / 3:
            self._renew()
            self._renewed_at = now
        if now - self._recovered_at > self._settings.job_lease_s / 4:
            self._recover()
            self._recovered_at = now
        if now - self._counted_at > _DEPTHS_S:
            self._look_after(now)
            self._counted_at = now

    def _exchange(self, now: float) -> None:
        """Store how jobs ended and claim others, in one transaction: a disk makes some hundred a second."""
        with self._changed:
            ended = [job for job in self._running.values() if job.response is not None]
        reports = [self._report(job) for job in ended]
        outcomes = [report for report in reports if isinstance(report, Outcome)]
        requeued = [report for report in reports if isinstance(report, Requeued)]
        wanted, began = self._wanted(now, len(ended)), time.monotonic()
        # If the catalog does not answer, all of them are reported again: a result is still stored once.
        written, claims = self._jobs.exchange(outcomes, requeued, wanted)
        self._gather_s = min(max(time.monotonic() - began, _GATHER_S), _LONGEST_GATHER_S)
        # Only now they are not under way any more.
        self._forget(ended, outcomes, written)
        if not claims:
            return
        if not self._running:
            # The first claims are as new as a renewal.
            self._renewed_at = now
        self._claimed_at = now
        self._inner.measure_lag()
        for claim in claims:
            self._ask(claim)

    def _wanted(self, now: float, ended: int) -> Wanted | None:
        free = self._free_places(now, ended)
        if self._stops or not free or not self._inner.is_attached:
            return None
        return Wanted(
            targets=tuple(targets_of(self._plane)),
            limit=free,
            token=f"{self._holder}-{next(self._numbers)}",
            replica=self._home.replica,
            ttl_s=self._settings.job_lease_s,
        )

    def _forget(self, ended: list[_Running], outcomes: list[Outcome], written: set[str]) -> None:
        with self._changed:
            for job in ended:
                self._running.pop(job.claim.id, None)
        by_id = {job.claim.id: job.claim for job in ended}
        for outcome in outcomes:
            claim = by_id[outcome.id]
            self._counts.count_ended(claim.name, outcome.state if outcome.id in written else "lost")
            if outcome.state == "failed" and outcome.id in written:
                _log(claim, "job %s failed: %s", claim.id, outcome.reason)
        if any(by_id[job_id].has_webhook for job_id in written):
            self._home.webhook_due()

    def _free_places(self, now: float, ended: int) -> int:
        """Return how many jobs may begin: few beside clients whose requests are under way."""
        most, running = self._settings.job_concurrency, len(self._running) - ended
        # A run that is known to be short stays in the event loop and is not seen here: `lag_s` shows those.
        in_flight = sum(served.in_flight for versions in self._plane.models.values() for served in versions)
        of_clients = in_flight - running
        since_s = now - self._claimed_at
        if of_clients >= most:
            return 1 if not running and since_s > _TRICKLE_S else 0
        if self._inner.lag_s > _LAG_S and since_s < _LATE_PAUSE_S:
            return 0
        return max(0, most - running)

    def _ask(self, claim: Claim) -> None:
        headers = {name.encode("latin-1"): value.encode("latin-1") for name, value in claim.headers.items()}
        # The id of the job is that of its request: in the answer, the logs, the traces and for feedback.
        headers[b"x-request-id"] = claim.id.encode()
        request = Request("POST", claim.path, claim.body, headers)
        request.caller = INNER  # Who submitted it was authorised then.
        # Before it is asked: the answer may come at once, in the thread of the loop.
        with self._changed:
            self._running[claim.id] = _Running(claim, request)
        if not self._inner.ask(request, self._answered):
            self.stop()  # The loop has ended: the server has drained.

    def _answered(self, request: Request, response: Response) -> None:
        with self._changed:
            running = self._running.get(request.request_id.decode())
            # Of a claim that was lost, and claimed here once more, an answer may still come.
            if running is not None and running.request is request:
                running.response = response
                self._changed.notify()

    def _report(self, job: _Running) -> Outcome | Requeued:
        claim, request, response = job.claim, job.request, job.response
        assert response is not None  # Only those that were answered are reported.
        kind, why = request.refused_with, request.refused_why
        if kind is not None and issubclass(kind, _PASSING):
            return Requeued(id=claim.id, token=claim.token, reason=why, after_s=_FIRST_AGAIN_S)
        if kind is not None and issubclass(kind, _TRIED) and claim.attempts < self._settings.job_attempts:
            pause_s = back_off_s(claim.attempts, first_s=_FIRST_AGAIN_S, most_s=_LONGEST_AGAIN_S)
            return Requeued(id=claim.id, token=claim.token, reason=why, after_s=pause_s, counts=True)
        most = self._settings.max_job_bytes
        if len(response.body) > most:
            reason = (
                f"its answer: expected at most {most} bytes (`max_job_bytes`), found {len(response.body)}"
            )
            return Outcome(id=claim.id, token=claim.token, state="failed", reason=reason)
        answer, has_failed = answer_of(response, self._plane), response.status >= 400
        return Outcome(
            id=claim.id,
            token=claim.token,
            state="failed" if has_failed else "done",
            answer=answer,
            reason=why if has_failed else "",
        )

    def _renew(self) -> None:
        """Renew the claims; a job that was cancelled, or claimed by another, is not waited for any more."""
        with self._changed:
            claims = [(job.claim.id, job.claim.token) for job in self._running.values()]
        # One that was cancelled runs on, and its answer is dropped: no run is broken off for it.
        held = self._jobs.renew(claims, self._settings.job_lease_s)
        with self._changed:
            for job_id, _ in claims:
                if job_id not in held:
                    self._running.pop(job_id, None)

    def _recover(self) -> None:
        for job_id in self._jobs.recover(self._settings.job_lease_s, self._settings.job_attempts):
            log.error("job %s failed: the servers that ran it ended without an answer", job_id)
            self._counts.count_ended("", "failed")

    def _look_after(self, now: float) -> None:
        """Show how many jobs wait, and remove old ones, for all workers of this server."""
        is_leader = self._home.is_leader()
        self._counts.publish(self._jobs.depths() if is_leader else None)
        if is_leader and now - self._pruned_at > _PRUNE_S:
            self._pruned_at = now
            for removed in self._jobs.prune(dry_run=False):
                log.info("jobs: removed %s", removed.name)

    def _requeue_the_rest(self) -> None:
        with self._changed:
            rest, self._running = list(self._running.values()), {}
        reason = "its server drained"
        self._jobs.requeue([Requeued(id=job.claim.id, token=job.claim.token, reason=reason) for job in rest])

    def _begin_outage(self, error: LadingError) -> None:
        if not self._outage:
            log.warning("jobs: catalog unreachable, retrying: %s", error)
        self._outage = error.message

    def _end_outage(self) -> None:
        if self._outage:
            log.info("jobs: catalog reachable again")
            self._outage = ""


def answer_of(response: Response, plane: DataPlane) -> Answer:
    """Return what of a response is kept: all but the headers of the transport."""
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in response.all_headers()
        if name not in _KEPT_OUT
    )
    return Answer(
        status=response.status,
        content_type=response.content_type.decode("latin-1"),
        body=response.body,
        served=_served(dict(response.model.headers), plane) if response.model is not None else None,
        headers=headers,
    )


def _served(headers: dict[bytes, bytes], plane: DataPlane) -> AnsweredBy:
    name, _, number = headers[b"x-lading-model"].decode().partition(":")
    version = int(number or 0)
    traffic: Any = plane.traffic.get(name)
    side = ""
    if traffic is not None:
        side = "candidate" if version == traffic.candidate else "live" if version == traffic.live else ""
    return AnsweredBy(model=name, version=version, digest=headers[b"x-lading-digest"].decode(), side=side)


def _log(claim: Claim, text: str, *values: object) -> None:
    log.warning(text, *values, extra=fields(request_id=claim.id, model=claim.name))
