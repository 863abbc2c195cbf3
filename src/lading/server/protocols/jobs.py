"""Jobs: requests that are answered later, by routes of their own or by ``Prefer: respond-async``.

A job has the body of a prediction and its answer, byte for byte. The catalog is asked in threads: no
prediction waits for it. Without ``--jobs`` the routes refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from lading.access import OWN_JOB, PREDICTION, Rule
from lading.clock import iso_time
from lading.errors import (
    JobEnded,
    JobNotFound,
    LadingError,
    ModelNotReady,
    NotSupported,
    RunFailed,
    UsageError,
)
from lading.jobs import STATES, Answer, JobRecord, State
from lading.server.http.large_bodies import SLOW_BYTES
from lading.server.http.messages import (
    Deferred,
    Handler,
    ReadElsewhere,
    Request,
    Response,
    Route,
    json_response,
)
from lading.server.http.prefix import prefix_of
from lading.server.inference.dataplane import DataPlane
from lading.server.jobs.submissions import submission_of
from lading.server.protocols import native
from lading.server.protocols.native import predict

if TYPE_CHECKING:
    from lading.server.http.origins import Origins
    from lading.server.jobs.service import JobService

PROTOCOL = "jobs"
_JSON = "application/json"
_MOST_LISTED = 1000
_RETRY_AFTER = (b"retry-after", b"1")
_APPLIED = (b"preference-applied", b"respond-async")
_PREFERENCE = re.compile(rb"(?:^|[,\s])respond-async\s*(?:[,;]|$)", re.IGNORECASE)


def routes(service: JobService | None, root_path: str) -> Iterator[Route]:
    """List the routes of jobs over `service`, which is None if the server takes no jobs."""
    handlers = _Handlers(service, root_path)

    def route(rule: Rule, method: str, pattern: str, handler: Handler, summary: str) -> Route:
        changes = method != "GET"
        return Route(
            method, pattern, handler, native.refuse, PROTOCOL, summary, changes_state=changes, rule=rule
        )

    by_row = predict.predictor(flat=False)
    for prefix in ("/models/{name}", "/models/{name}/versions/{version}", "/models/{name}/tags/{tag}"):
        submit = partial(handlers.submit, f"{prefix}/predict", by_row)
        yield route(PREDICTION, "POST", f"{prefix}/jobs", submit, "Submit a job: predict later")
    newest = "The jobs of a model, newest first"
    yield route(PREDICTION, "GET", "/models/{name}/jobs", handlers.list_jobs, newest)
    yield route(OWN_JOB, "GET", "/jobs/{id}", handlers.show, "A job, with its result once it is done")
    yield route(OWN_JOB, "GET", "/jobs/{id}/result", handlers.result, "What the predict route answered")
    yield route(OWN_JOB, "DELETE", "/jobs/{id}", handlers.cancel, "Cancel a job")


def submitting(
    service: JobService, root_path: str, origins: Origins
) -> Callable[[Request, Route], Route | None]:
    """Return what finds, for a request that prefers an answer later, the route that submits it as a job."""
    handlers = _Handlers(service, root_path)
    known: dict[Route, Route] = {}

    def find(request: Request, route: Route) -> Route | None:
        if not (route.fast and route.method == "POST" and _PREFERENCE.search(request.headers[b"prefer"])):
            return None
        if route.changes_state:
            return route  # It is one of these, from the cache of a host.
        # One for each route: a host keeps it with the head of the request, and compares by identity.
        if route not in known:
            submit = partial(handlers.submit, route.pattern, route.handler, preferred=True)
            known[route] = replace(route, handler=origins.guarded(submit), changes_state=True)
        return known[route]

    return find


class _Handlers:
    """The handlers over one service; each raises `NotSupported` without it."""

    def __init__(self, service: JobService | None, root_path: str) -> None:
        self._service = service
        self._root_path = root_path

    def submit(
        self,
        pattern: str,
        handler: Handler,
        request: Request,
        plane: DataPlane,
        *,
        preferred: bool = False,
    ) -> Deferred:
        """Accept a job for the predict route of `pattern`; what that route would refuse is refused here."""
        service = self._on()
        if not preferred and b"content-encoding" in request.headers:
            # Its body has been unpacked already.
            request.headers = {
                name: value for name, value in request.headers.items() if name != b"content-encoding"
            }
        _check(request, handler, plane)
        submission = submission_of(request, pattern, plane, service.settings, service.rules)
        prefix = prefix_of(request.headers, self._root_path)

        def accept() -> Response:
            record = service.submit(submission)
            response = json_response(document_of(record, prefix), 202)
            location = (b"location", f"{prefix}/jobs/{record.id}".encode())
            response.headers = (location, _RETRY_AFTER, *((_APPLIED,) if preferred else ()))
            return response

        return Deferred(accept)

    def show(self, request: Request, _plane: DataPlane) -> Deferred:
        """Answer a job, with its result if that is JSON."""
        service, job_id = self._on(), request.params["id"]
        prefix = prefix_of(request.headers, self._root_path)

        def show() -> Response:
            record = _own(request, service.registry.jobs.get(job_id))
            # Two reads of one job: what has ended does not change between them.
            answer = service.registry.jobs.answer(job_id) if record.has_ended else None
            response = json_response(document_of(record, prefix, answer))
            if not record.has_ended:
                response.headers = (_RETRY_AFTER,)
            return response

        return Deferred(show)

    def result(self, request: Request, _plane: DataPlane) -> Deferred:
        """Answer what the predict route answered, or 202 while there is no answer."""
        service, job_id = self._on(), request.params["id"]
        prefix = prefix_of(request.headers, self._root_path)

        def answer() -> Response:
            record = _own(request, service.registry.jobs.get(job_id))
            if not record.has_ended:
                waiting = json_response(document_of(record, prefix), 202)
                waiting.headers = (_RETRY_AFTER,)
                return waiting
            stored = service.registry.jobs.answer(job_id)
            if stored is None:
                raise _no_result(record)
            response = Response(stored.body, stored.status, stored.content_type.encode("latin-1"))
            # The id of this request is in the answer already; that of the job is its own.
            response.headers = tuple(
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in stored.headers
                if name != "x-request-id"
            )
            return response

        return Deferred(answer)

    def cancel(self, request: Request, _plane: DataPlane) -> Deferred:
        """Cancel a job that waits or runs."""
        service, job_id = self._on(), request.params["id"]
        prefix = prefix_of(request.headers, self._root_path)

        def cancel() -> Response:
            if request.caller is not None:
                _own(request, service.registry.jobs.get(job_id))
            return json_response(document_of(service.registry.jobs.cancel(job_id), prefix))

        return Deferred(cancel)

    def list_jobs(self, request: Request, plane: DataPlane) -> Deferred:
        """Answer the jobs of a model, by ``state``, at most ``limit`` of them, those ``before`` a number."""
        service, name = self._on(), request.params["name"]
        plane.versions(name)  # Raises `ModelNotFound`, without a look at the catalog.
        prefix = prefix_of(request.headers, self._root_path)
        asked = _Query.of(request.query)

        def show() -> Response:
            records = service.registry.jobs.find(
                name, state=asked.state, before=asked.before, limit=asked.limit
            )
            body: dict[str, Any] = {"jobs": [document_of(record, prefix) for record in records]}
            if len(records) == asked.limit:
                body["before"] = records[-1].number
            return json_response(body)

        return Deferred(show)

    def _on(self) -> JobService:
        if self._service is None:
            hint = "`lading serve --jobs` takes them; it needs a registry"
            raise NotSupported(
                "jobs", expected="a server that takes them", found="none are taken here", hint=hint
            )
        return self._service


class _Query(msgspec.Struct, frozen=True):
    """What a list is asked for."""

    state: State | None = None
    before: int | None = None
    limit: int = 100

    @classmethod
    def of(cls, query: bytes) -> _Query:
        """Read a query; raises `UsageError`."""
        values = {name: texts[-1] for name, texts in parse_qs(query.decode("latin-1")).items()}
        state = values.get("state")
        if state is not None and state not in STATES:
            raise UsageError("`state`", expected=f"one of {', '.join(STATES)}", found=f"`{state[:64]}`")
        return cls(
            state=state,
            before=_number("before", values["before"], 2**31 - 1) if "before" in values else None,
            limit=_number("limit", values.get("limit", "100"), _MOST_LISTED),
        )


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 11 and 1 <= int(text) <= most):
        raise UsageError(f"`{name}`", expected=f"a number from 1 to {most}", found=f"`{text[:64]}`")
    return int(text)


def _own(request: Request, record: JobRecord) -> JobRecord:
    """Return a job if its caller may ask its model; to others it does not exist. Raises `JobNotFound`."""
    caller = request.caller
    if caller is not None and not caller.may(PREDICTION, record.name):
        raise JobNotFound(f"job `{record.id}`", expected="one of this registry", found="none")
    return record


def _check(request: Request, handler: Handler, plane: DataPlane) -> None:
    """Raise what the predict route would refuse the request with, as far as that takes no time.

    A version that is still loading, and a body that is large or compressed, are looked at when the job runs.
    """
    if b"content-encoding" in request.headers or len(request.body) > SLOW_BYTES:
        plane.find(*(request.target() or ()))
        return
    # What is loading will be ready.
    with suppress(ModelNotReady, ReadElsewhere):
        handler(request, plane)


def document_of(record: JobRecord, prefix: str, answer: Answer | None = None) -> dict[str, Any]:
    """Return what a client sees of a job; with its answer, if that is JSON, as its ``result``."""
    document: dict[str, Any] = {
        "id": record.id,
        "model": record.name,
        "state": record.state,
        "priority": record.priority,
        "attempts": record.attempts,
        "created_at": iso_time(record.created_at, "milliseconds"),
        "job": f"{prefix}/jobs/{record.id}",
    }
    for name, at in (("started_at", record.started_at), ("ended_at", record.ended_at)):
        if at:
            document[name] = iso_time(at, "milliseconds")
    if record.reason:
        document["reason"] = record.reason
    if record.status:
        document |= {"status": record.status, "result_at": f"{prefix}/jobs/{record.id}/result"}
    if record.served is not None:
        document |= {"version": record.served.version, "digest": record.served.digest}
        if record.served.side:
            document["side"] = record.served.side
    if record.webhook:
        document["webhook"] = {
            "host": record.webhook_host,
            "state": record.hook or "waiting",
            "attempts": record.hook_attempts,
            "last": record.hook_text,
        }
    if answer is not None and answer.content_type == _JSON and _is_json(answer.body):
        document["result"] = msgspec.Raw(answer.body)
    return document


def _is_json(body: bytes) -> bool:
    # The Open Inference Protocol may write NaN as a bare token, which would break the document.
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except ValueError:
        return False
    return True


def _no_result(record: JobRecord) -> LadingError:
    if record.state == "cancelled":
        return JobEnded(f"job `{record.id}`", expected="a result", found="one that was cancelled")
    return RunFailed(f"job `{record.id}`: {record.reason}")
