"""The life of a request, the same for HTTP and for gRPC.

    identify ─▶ authorise ─▶ resolve ─▶ validate ─▶ look up ─▶ run ─▶ (retry) ─▶ observe ─▶ answer

A transport makes an `Exchange` of what it has received, calls the pipeline's methods in that order, and
writes the answer. The handler of its route resolves and validates. What other parts add to the life of every
request is a function in `Steps`, and is written once for all protocols. Reads no sockets and knows no
protocol.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lading.access import Caller
from lading.errors import (
    AnswerTooLarge,
    AnswerTypeRefused,
    BodyInvalid,
    BodyTooLarge,
    CallerUnknown,
    InputError,
    LadingError,
    MediaTypeRefused,
    ModelNotReady,
    NotFound,
    NotSupported,
    RequestTooLarge,
    RunFailed,
    TooManyRows,
    UsageError,
)
from lading.logs import fields
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job, Outputs
from lading.server.inference.request_memory import COUNTED_BYTES, Reservation, array_bytes
from lading.server.inference.second_tries import SecondTries
from lading.server.metrics import Metrics
from lading.server.metrics.counts import RequestCounters
from lading.server.observe.request_record import RequestLine
from lading.server.observe.trace_context import trace_id
from lading.settings import ServeSettings

log = logging.getLogger("lading.server")

NO_ROUTE = "http"
"""The protocol under which requests are counted that no route takes."""

_LONGEST_ID = 128
_ENCODED = 3
"""How many times the size of its values an answer is: a float32 has up to 13 characters in JSON."""
_ID_BYTES = 12
_IDS_DRAWN = 256
_CANCELLED = (499, "CANCELLED")
"""Statuses of requests whose clients have gone: a version that they do not wait for has failed them."""
_CLIENT_GONE = "ClientGone"

REFUSALS = (
    InputError,
    NotFound,
    UsageError,
    NotSupported,
    MediaTypeRefused,
    AnswerTypeRefused,
    BodyTooLarge,
    RequestTooLarge,
    TooManyRows,
)
"""Errors that are the request's own fault, unless another version takes it."""


class Exchange:
    """One request on its way, whatever its transport, which adds what it needs in a subclass.

    ``headers`` has the caller's HTTP headers or gRPC metadata by lower-case name. ``route`` is what answers:
    its ``handler`` takes the exchange and the data plane, resolves the version, validates the inputs, and
    returns the job to run or else the answer; its ``protocol`` is the label under which the request is
    counted. ``plane`` is the data plane as the caller sees it, None if all callers see the same.
    ``reservation`` counts the memory that it takes, None while that is little. ``refused_as`` names the error
    by which a candidate refused the request before live was asked. ``answer_headers`` are sent with the
    answer, as HTTP headers or as trailing metadata, in lower case. ``warnings`` are what checks say of its
    values. ``caller`` is who asks, None until that is known; by its ``credential``, where a transport has
    taken that out of the headers, or by the names in the ``certificate`` of its connection.
    ``received_bytes`` and ``sent_bytes`` are known to observers, ``trace_id`` is set by what began a trace
    here.
    """

    # Defaults on the class: what a request does not need costs it nothing.
    headers: Mapping[bytes, bytes]
    route: Any = None
    request_id: bytes = b""
    began: float = 0.0
    caller: Caller | None = None
    credential: bytes | None = None
    params: Mapping[str, str] = {}
    certificate: tuple[str, ...] = ()
    plane: DataPlane | None = None
    job: Job | None = None
    reservation: Reservation | None = None
    refused_as: str = ""
    answer_headers: tuple[tuple[bytes, bytes], ...] = ()
    warnings: tuple[str, ...] = ()
    received_bytes: int = 0
    sent_bytes: int = 0
    trace_id: str = ""

    def address(self) -> str:
        """Return the address that the request came from, empty for a Unix socket."""
        raise NotImplementedError

    def target(self) -> tuple[str | None, int | None, str | None] | None:
        """Return the model, version and tag that a refused request asked for, or None if it named none."""
        raise NotImplementedError

    def request_line(self) -> RequestLine:
        """Return what was called, without the query."""
        raise NotImplementedError

    def models(self) -> tuple[str, ...]:
        """Return the models that it is about: an empty name is the default one, ``*`` stands for all."""
        raise NotImplementedError


class AccessControl(Protocol):
    """A step of `authorise` that finds out who asks, and whether that caller may. Raises `LadingError`.

    Transports take it themselves before they read what is large; it does nothing the second time.
    """

    @property
    def takes_certificates(self) -> bool:
        """Whether callers can be known by the certificate of their connection."""
        ...

    def __call__(self, exchange: Exchange) -> None:
        """Set the caller of an exchange whose route, and message, are known."""
        ...

    def admit(self, exchange: Exchange) -> None:
        """Refuse a caller who may not do what is asked on any model; the message is not read yet."""
        ...


Step = Callable[[Exchange], None]
"""Looks at a request or changes it; raises `LadingError` to refuse it."""

ExchangeObserver = Callable[[Exchange, "int | str", float, "LadingError | None"], None]
"""Sees an exchange that is over, its status on the wire, its seconds, and the error if there was one."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done to every request besides prediction, in order. A step that is not listed costs nothing.

    ``authorise`` runs before the version is resolved, ``look_up`` on validated inputs before the run,
    ``observe`` once the outcome is known, and ``answer`` just before the answer is written, to add headers.
    The last two come too late to refuse: nothing in them raises. A request whose version was unloaded after
    it was resolved passes ``authorise`` and ``look_up`` once more.
    """

    authorise: tuple[Step, ...] = ()
    look_up: tuple[Step, ...] = ()
    observe: tuple[ExchangeObserver, ...] = ()
    answer: tuple[Step, ...] = ()


def row_limit(most: int) -> Step:
    """Return the step that refuses a request of more than `most` rows, with `TooManyRows`."""

    def check(exchange: Exchange) -> None:
        job = exchange.job
        assert job is not None  # Requests without a job are not looked up.
        if job.rows > most:
            raise TooManyRows(
                f"request for `{job.served.label}`",
                expected=f"at most {most} rows",
                found=f"{job.rows}",
                hint="send fewer rows at a time, or raise `max_request_rows`",
            )

    return check


class Pipeline:
    """Leads exchanges through their steps; one object for all transports of a process."""

    def __init__(
        self,
        plane: DataPlane,
        metrics: Metrics,
        steps: Steps | None = None,
        max_answer_bytes: int = ServeSettings.max_answer_bytes,
        callers: Callers | None = None,
        access: AccessControl | None = None,
    ) -> None:
        self.plane = plane
        self.access = access
        self._max_answer_bytes = max_answer_bytes
        self.metrics = metrics
        self._callers = callers or Callers()
        self._second_tries = SecondTries()
        steps = steps or Steps()
        # Truth is tested before each loop: a missing step costs 10 ns.
        self._authorise, self._look_up = steps.authorise, steps.look_up
        self._observe, self._answer = steps.observe, steps.answer
        self.adds_headers = bool(steps.answer)
        self._ids = RequestIds()

    def identify(self, exchange: Exchange, request_id: bytes | None) -> None:
        """Begin: take the time, and the caller's own `request_id` or a new one."""
        exchange.began = time.perf_counter()
        known = request_id and len(request_id) <= _LONGEST_ID
        exchange.request_id = request_id if known else next(self._ids)  # type: ignore[assignment]  # known: bytes

    def handle(self, exchange: Exchange) -> Any:
        """Authorise, resolve, validate and look up: return the job to run, or else the answer.

        Raises `LadingError` if the request is refused.
        """
        plane = self.plane
        if plane.splits:  # A release that splits traffic sends the caller to one of its sides.
            exchange.plane = plane = plane.for_caller(exchange.headers)
        if self.access is not None and exchange.caller is None:
            self.access(exchange)
        if self._authorise:
            for authorise in self._authorise:
                authorise(exchange)
        try:
            return self._handle(exchange, plane)
        except REFUSALS as refusal:
            # The error itself is kept nowhere: with its traceback it would hold the exchange in a cycle.
            live = self._beside_candidate(exchange)
            if live is None:
                raise
            exchange.job, exchange.refused_as = None, type(refusal).__name__
        return self._handle_on_live(exchange, live)

    def _handle(self, exchange: Exchange, plane: DataPlane) -> Any:
        outcome = exchange.route.handler(exchange, plane)
        if type(outcome) is Job:
            exchange.job, outcome.exchange = outcome, exchange
            if exchange.reservation is not None:
                exchange.reservation.grow(array_bytes(outcome.inputs))
            if self._look_up:
                for look_up in self._look_up:
                    look_up(exchange)
        return outcome

    def _beside_candidate(self, exchange: Exchange) -> DataPlane | None:
        """Return the data plane with live for a caller of the candidate, if it has second tries left."""
        plane = exchange.plane.beside_candidate() if exchange.plane is not None else None
        if plane is None or not self._second_tries.may_try(self._group_of(exchange), time.perf_counter()):
            return None
        return plane

    def _handle_on_live(self, exchange: Exchange, plane: DataPlane) -> Any:
        """Handle a request on live that its candidate has refused; raises what refuses it for good.

        A release takes nothing from callers that live would answer. What live refuses as well says nothing
        about the candidate, and what there was no time to ask live says nothing either.
        """
        began = time.perf_counter()
        try:
            return self._handle(exchange, plane)
        finally:
            ended = time.perf_counter()
            self._second_tries.spend(self._group_of(exchange), ended, ended - began)

    def _group_of(self, exchange: Exchange) -> int:
        return self._callers.group(exchange.address(), exchange.headers)

    def handle_again(self, exchange: Exchange) -> Job:
        """Handle an exchange again whose version was unloaded between resolve and run; return the new job.

        A transport calls this once, when the run raises `ModelNotReady`.
        """
        self.forget(exchange)
        job = self.handle(exchange)
        assert isinstance(job, Job)  # The same request: only the version is another.
        return job

    def forget(self, exchange: Exchange) -> None:
        """Forget the version that an exchange was resolved to, and the release that it was resolved by."""
        exchange.job, exchange.plane, exchange.refused_as = None, None, ""

    def reserve_answer(self, exchange: Exchange, job: Job, outputs: Outputs) -> None:
        """Count the answer of a job with more rows than are always small, before it is encoded.

        Raises `AnswerTooLarge`, `RequestTooLarge`, `ServerBusy`.
        """
        size = array_bytes(outputs)
        if size <= COUNTED_BYTES:
            return
        if size > self._max_answer_bytes:
            raise AnswerTooLarge(
                f"answer of `{job.served.label}`",
                expected=f"at most {self._max_answer_bytes} bytes of values",
                found=f"{size}",
                hint="send fewer rows at a time, ask for fewer outputs, or raise `max_answer_bytes`",
            )
        needed = size + _ENCODED * size
        if exchange.reservation is None:
            exchange.reservation = self.plane.memory.reserve(needed)
        else:
            exchange.reservation.grow(needed)

    def as_refusal(self, exchange: Exchange, error: Exception) -> LadingError:
        """Return the error to answer with; one that is a defect of ours is logged with its traceback."""
        if isinstance(error, LadingError):
            return error
        if isinstance(error, RecursionError) and exchange.job is None:  # Raised while the body was read.
            return BodyInvalid("body", expected="values nested less deeply", found="more than can be read")
        request_id = exchange.request_id.decode("latin-1")
        served = exchange.job.served if exchange.job is not None else None
        about = fields(
            request_id=request_id,
            trace_id=trace_id(exchange.headers),
            model=served.name if served is not None else "",
            version=served.version if served is not None else None,
        )
        log.error("request %s failed", request_id, exc_info=error, extra=about)
        return RunFailed("internal error", hint=f"the server's log has it under x-request-id {request_id}")

    def observe(
        self,
        exchange: Exchange,
        status: int | str,
        received_bytes: int,
        sent_bytes: int,
        error: LadingError | None = None,
    ) -> None:
        """Count an exchange that is over, and show it to the release of its model and to observers.

        A transport that answers in several threads calls this under a lock of its own.
        """
        job, took_s = exchange.job, time.perf_counter() - exchange.began
        if job is not None:  # Then a route has made it.
            counters = self.metrics.counters_of(job.served, exchange.route.protocol)
        else:
            counters = self._counters_of_none(exchange, error)
        counters.count_answer(status, took_s, job, received_bytes, sent_bytes)
        if error is not None:
            counters.count_error(error)
        if self.plane.watches or exchange.plane is not None:
            self._show_release(exchange, status, took_s, error)
        if self._observe:
            exchange.received_bytes, exchange.sent_bytes = received_bytes, sent_bytes
            for observe in self._observe:
                observe(exchange, status, took_s, error)

    def _counters_of_none(self, exchange: Exchange, error: LadingError | None) -> RequestCounters:
        """Return the counters of an exchange without a job: of the version it asked for, if that is known."""
        protocol = exchange.route.protocol if exchange.route is not None else NO_ROUTE
        # Which models somebody unknown has named is not looked up: a flood of wrong keys has to be cheap.
        looks = error is not None and not isinstance(error, CallerUnknown)
        name, version = self._target(exchange) if looks else ("", 0)
        return self.metrics.counters(name, version, protocol)

    def _show_release(
        self, exchange: Exchange, status: int | str, took_s: float, error: LadingError | None
    ) -> None:
        """Show an exchange that is over to the release of its model."""
        plane, job = self.plane, exchange.job
        if exchange.refused_as and exchange.plane is not None:
            # Live's answer to what the candidate refused is no evidence of live: it was asked nothing else.
            if error is None and status not in _CANCELLED:
                exchange.plane.record_rejection(took_s, exchange.refused_as, self._group_of(exchange))
        elif error is not None and isinstance(error, REFUSALS):
            return  # Live refuses it too, or was not asked: the request's own fault.
        elif job is not None:
            if not plane.watches:
                return
            if plane.judges:
                job.group = self._group_of(exchange)
            if status in _CANCELLED:
                plane.record_gone(job, exchange.request_id, took_s, _CLIENT_GONE)
            else:
                plane.record(job, exchange.request_id, took_s, type(error).__name__ if error else "")
        elif error is not None and exchange.plane is not None:
            # Failed by the version on the caller's side, before there was a job.
            exchange.plane.record_rejection(took_s, type(error).__name__, self._group_of(exchange))

    def answer_headers(self, exchange: Exchange) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that steps add to the answer."""
        for answer in self._answer:
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


class RequestIds:
    """Request ids that nobody can guess, because feedback on an answer needs no more than its id.

    Safe in threads: a list gives each of its items to one of them.
    """

    def __init__(self) -> None:
        self._ready: list[bytes] = []

    def __iter__(self) -> RequestIds:
        """Return itself: ids never end."""
        return self

    def __next__(self) -> bytes:
        """Return the next id. Drawn many at a time: one by one each would cost a call of the system."""
        while True:
            try:
                return self._ready.pop()
            except IndexError:
                drawn = os.urandom(_ID_BYTES * _IDS_DRAWN).hex().encode()
                length = 2 * _ID_BYTES
                self._ready += [drawn[at : at + length] for at in range(0, len(drawn), length)]
