"""The life of a request, the same for HTTP and for gRPC.

    identify ─▶ authorise ─▶ resolve ─▶ validate ─▶ look up ─▶ run ─▶ (retry) ─▶ observe ─▶ answer

A transport makes an `Exchange` of what it has received, calls the pipeline's methods in that order, and writes
the answer. Its protocol resolves and validates (`Exchange.handle`). What other parts add to the life of every
request is a function in `Steps`, and is written once for all protocols. Reads no sockets and knows no protocol.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lading.errors import BodyInvalid, LadingError, ModelNotReady, NotFound, RunFailed
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.metrics import Metrics

log = logging.getLogger("lading.server")

_LONGEST_ID = 128
_CANCELLED = (499, "CANCELLED")
"""Statuses of requests whose clients have gone: they say nothing about a version."""

Argument = TypeVar("Argument")
Ran = TypeVar("Ran")


class Exchange:
    """One request on its way, whatever its transport, which adds what it needs in a subclass.

    ``headers`` has the caller's HTTP headers or gRPC metadata by lower-case name. ``plane`` is the data
    plane as the caller sees it, None until the request is handled. ``answer_headers`` are sent with the answer,
    as HTTP headers or as trailing metadata; their names are lower case.
    """

    # Defaults on the class: what a request does not need costs it nothing.
    headers: Mapping[bytes, bytes]
    request_id: bytes = b""
    began: float = 0.0
    plane: DataPlane | None = None
    job: Job | None = None
    answer_headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def protocol(self) -> str:
        """The label under which the request is counted."""
        raise NotImplementedError

    @property
    def size_bytes(self) -> int:
        """The size of the request's body."""
        raise NotImplementedError

    def handle(self, plane: DataPlane) -> Any:
        """Resolve the version and validate the inputs: return the job to run, or else the answer.

        Raises `LadingError` if the request is refused.
        """
        raise NotImplementedError

    def target(self) -> tuple[str | None, int | None, str | None] | None:
        """Return the model, version and tag that a refused request asked for, or None if it named none."""
        raise NotImplementedError


Step = Callable[[Exchange], None]
"""Looks at a request or changes it; raises `LadingError` to refuse it."""

ExchangeObserver = Callable[[Exchange, "int | str", float, "LadingError | None"], None]
"""Sees an exchange that is over, its status on the wire, its seconds, and the error if there was one."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done to every request besides prediction, in order. A step that is not listed costs nothing.

    ``authorise`` runs before the version is resolved, ``look_up`` on validated inputs before the run,
    ``observe`` once the outcome is known, and ``answer`` just before the answer is written.
    """

    authorise: tuple[Step, ...] = ()
    look_up: tuple[Step, ...] = ()
    observe: tuple[ExchangeObserver, ...] = ()
    answer: tuple[Step, ...] = ()


class Pipeline:
    """Leads exchanges through their steps; one object for all transports of a process."""

    def __init__(self, plane: DataPlane, metrics: Metrics, steps: Steps | None = None) -> None:
        self.plane = plane
        self.metrics = metrics
        self.steps = steps or Steps()
        self._ids = request_ids()

    def identify(self, exchange: Exchange, request_id: bytes | None) -> None:
        """Begin: take the time, and the caller's own `request_id` or a new one."""
        exchange.began = time.perf_counter()
        fits = request_id and len(request_id) <= _LONGEST_ID
        exchange.request_id = request_id if request_id and fits else next(self._ids)

    def handle(self, exchange: Exchange) -> Any:
        """Authorise, resolve, validate and look up: return the job to run, or else the answer.

        Raises `LadingError` if the request is refused.
        """
        steps, plane = self.steps, self.plane
        # A release that splits traffic sends the caller to one of its sides.
        exchange.plane = plane = plane.for_caller(exchange.headers) if plane.splits else plane
        for authorise in steps.authorise:
            authorise(exchange)
        outcome = exchange.handle(plane)
        if type(outcome) is Job:
            exchange.job, outcome.exchange = outcome, exchange
            for look_up in steps.look_up:
                look_up(exchange)
        return outcome

    def run(
        self, exchange: Exchange, job: Job, run: Callable[[Job, Argument], Ran], argument: Argument
    ) -> Ran:
        """Call `run` with the job and `argument`, the second time with what replaced an unloaded version."""
        try:
            return run(job, argument)
        except ModelNotReady:
            # Unloaded between resolve and run: the version that replaced it is resolved now.
            return run(self.handle_again(exchange), argument)

    def handle_again(self, exchange: Exchange) -> Job:
        """Handle an exchange once more whose version was unloaded before its job ran; return the new job."""
        exchange.job = None
        job = self.handle(exchange)
        assert isinstance(job, Job)  # The same request: only the version is another.
        return job

    def as_refusal(self, exchange: Exchange, error: Exception) -> LadingError:
        """Return the error to answer with; one that is a defect of ours is logged with its traceback."""
        if isinstance(error, LadingError):
            return error
        if isinstance(error, RecursionError):
            return BodyInvalid("body", expected="values nested less deeply", found="more than can be read")
        request_id = exchange.request_id.decode("latin-1")
        log.error("request %s failed", request_id, exc_info=error)
        return RunFailed("internal error", hint=f"the server's log has it under x-request-id {request_id}")

    def observe(
        self, exchange: Exchange, status: int | str, sent_bytes: int, error: LadingError | None
    ) -> None:
        """Count an exchange that is over, and show it to the release of its model and to observers.

        A transport that answers in several threads calls this under a lock of its own.
        """
        plane, job, protocol = self.plane, exchange.job, exchange.protocol
        took_s = time.perf_counter() - exchange.began
        if job is not None:
            stats = self.metrics.of(job.served, protocol)
        else:
            stats = self.metrics.stats(*(self._target(exchange) if error is not None else ("", 0)), protocol)
        stats.answered(status, took_s, job, exchange.size_bytes, sent_bytes)
        if error is not None:
            stats.failed(error)
        if job is not None:
            if plane.watches and status not in _CANCELLED:
                plane.record(job, exchange.request_id, took_s, type(error).__name__ if error else "")
        elif error is not None and exchange.plane is not None and exchange.plane is not plane:
            # Refused by the version on the caller's side: one that takes less than the other is worse.
            exchange.plane.record_rejection(took_s, type(error).__name__)
        for observe in self.steps.observe:
            observe(exchange, status, took_s, error)

    def answer_headers(self, exchange: Exchange) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that steps add to the answer."""
        for answer in self.steps.answer:
            answer(exchange)
        return exchange.answer_headers

    def _target(self, exchange: Exchange) -> tuple[str, int]:
        """Return the model and version that a refused request was for, or nothing if there is none."""
        target = exchange.target()
        if target is None:
            return "", 0
        try:
            served = (exchange.plane or self.plane).find(*target)
        except (NotFound, ModelNotReady):
            return "", 0
        return served.name, served.version


def request_ids() -> Iterator[bytes]:
    """Count request ids up from a random beginning: unique across processes, cheap, and safe in threads."""
    prefix = os.urandom(8).hex().encode() + b"-%x"
    return map(prefix.__mod__, itertools.count())
