"""Puts a server together: the data plane with its limits, the routes of the protocols, the metrics pages.

Starts nothing: no thread, no socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.access import READ_ALL
from lading.access.gate import Gate
from lading.input_checks import Rule
from lading.input_checks.modes import Modes
from lading.input_checks.stated_rules import ServerChecks
from lading.server.exchange import ExchangeObserver, Pipeline, Step, Steps, row_limit
from lading.server.http.app import App
from lading.server.http.cors import Cors
from lading.server.http.large_bodies import LargeBodies
from lading.server.http.messages import Handler, Request, Response, Route
from lading.server.http.origins import Origins
from lading.server.http.prefix import checked_prefix
from lading.server.http.router import Router
from lading.server.inference.batcher import BatchLimits
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.request_memory import RequestMemory
from lading.server.metrics import Metrics
from lading.server.metrics.input_checks import CheckCounters
from lading.server.metrics.page import (
    CONTENT_TYPE,
    OPENMETRICS_TYPE,
    Families,
    lading_families,
    page,
    prefers_openmetrics,
)
from lading.server.metrics.shared_memory import CounterStore
from lading.server.observe.columns import ColumnWindows
from lading.server.observe.input_checks import InputChecks
from lading.server.observe.observer import Observer
from lading.server.process.access import RequestAccess
from lading.server.protocols import feedback, invocations, jobs, mlflow, native, root, vertex
from lading.server.protocols.oip import rest as oip
from lading.server.protocols.oip.metrics import triton_families
from lading.server.protocols.tfs import rest as tfs
from lading.server.protocols.tfs.metrics import tfs_families
from lading.settings import ServeSettings

if TYPE_CHECKING:
    from lading.server.jobs.service import JobService

FAMILIES: dict[str, Families] = {
    "lading": lading_families,
    "triton": triton_families,
    "tfs": tfs_families,
}
"""The metric families of the page, by the names that the setting ``metrics_names`` chooses from."""

_ROWS_PATHS = {"native": "$.data", "tfs": "$.instances", "vertex": "$.instances"}
"""Where the rows of a request are in its JSON, by protocol."""


def make_plane(
    settings: ServeSettings,
    default_model: str = "",
    observer: Observer | None = None,
    memory: RequestMemory | None = None,
) -> DataPlane:
    """Make the data plane with the limits of `settings`; `default_model` answers at the root routes.

    Requests share `memory`; without it, they take what they need.
    """
    batch = BatchLimits(
        max_queue=settings.max_queue,
        max_rows=settings.max_batch_rows,
        latency_target_s=settings.latency_target_ms / 1000,
        max_delay_s=settings.max_queue_delay_ms / 1000,
    )
    name = settings.default_model or default_model
    return DataPlane(name, batch=batch, deadline_s=settings.deadline_s, observer=observer, memory=memory)


def make_app(
    plane: DataPlane,
    settings: ServeSettings,
    counters: CounterStore | None = None,
    observers: tuple[ExchangeObserver, ...] = (),
    checks: InputChecks | None = None,
    job_service: JobService | None = None,
    gate: Gate | None = None,
) -> App:
    """Make the application: every protocol over `plane`; workers count into `counters` that they share.

    `observers` see every request that is over; `checks` look at those of models that warn or reject.
    `job_service` takes jobs, if the server takes some. With a `gate` only its callers are answered.
    """
    metrics, root_path = Metrics(plane, counters), checked_prefix(settings.root_path)
    routes = (
        *vertex.routes(settings),  # First, because their paths come from a setting, which must win.
        *native.routes(),
        *feedback.routes(),
        *jobs.routes(job_service, root_path),
        *tfs.routes(),
        *oip.routes(metrics, settings.oip_nan),
        *invocations.routes(),
        *mlflow.routes(),
        *_metrics_routes(metrics, settings.metrics_names),
        *root.routes(root_path),
    )
    cors = Cors(settings.cors_origins) if settings.cors_origins else None
    origins = Origins(settings.allowed_hosts, cors)
    checked = (
        replace(route, handler=origins.guarded(route.handler)) if route.changes_state else route
        for route in routes
    )
    router = Router(checked, native.refuse, tfs.beyond(), root_path)
    steps, callers = request_steps(settings, cors, observers, checks), Callers(settings.trusted_proxies)
    access = RequestAccess(gate, plane, callers) if gate is not None else None
    pipeline = Pipeline(plane, metrics, steps, settings.max_answer_bytes, callers, access)
    app = App(pipeline, router, settings.max_body_bytes, cors, LargeBodies(pipeline, settings))
    if job_service is not None:
        app.submitting = jobs.submitting(job_service, root_path, origins)
    return app


def request_steps(
    settings: ServeSettings,
    cors: Cors | None = None,
    observers: tuple[ExchangeObserver, ...] = (),
    checks: InputChecks | None = None,
) -> Steps:
    """List what is done to every request of every protocol besides prediction."""
    look_up: list[Step] = [row_limit(settings.max_request_rows)] if settings.max_request_rows else []
    answer: list[Step] = [cors.allow] if cors is not None else []
    if checks is not None and checks.looks:
        look_up.append(checks.look_up)
    if checks is not None and checks.warns:
        answer.append(checks.answer)
    return Steps(look_up=tuple(look_up), observe=observers, answer=tuple(answer))


def input_checks(
    settings: ServeSettings, counters: CounterStore, columns: ColumnWindows | None = None
) -> InputChecks:
    """Return the checks that `settings` state, which count into `counters`; raises `InvalidSetting`.

    What they find is in the windows of `columns` as well.
    """
    stated, counted = (
        ServerChecks(Path(settings.checks) if settings.checks else None),
        CheckCounters(counters),
    )

    def add(model: str, version: int, rows: int, failed: Iterable[tuple[Rule, int]]) -> None:
        failed = list(failed)
        counted.add(model, version, rows, failed)
        if columns is not None:
            columns.add_failures(model, version, rows, failed)

    return InputChecks(Modes(settings.input_checks), stated, add, _ROWS_PATHS)


def documentation_pages(app: App) -> Any:
    """Build the application of the documentation pages; called when a client first asks for one."""
    # Imported here, because FastAPI takes longer to import than a small model to load.
    from lading.server.process.openapi import documentation

    return documentation(app)


def metrics_page(metrics: Metrics, names: str, *, openmetrics: bool = False) -> bytes:
    """Return the page of all counts under the `names` of "lading", "triton", "tfs" or "all" of them."""
    families = FAMILIES.values() if names == "all" else (FAMILIES[names],)
    return page(metrics.summary(), families, openmetrics=openmetrics)


def _metrics_routes(metrics: Metrics, names: str) -> Iterator[Route]:
    def route(path: str, names: str, summary: str) -> Route:
        handler = _page_handler(metrics, names)
        return Route("GET", path, handler, native.refuse, "metrics", summary, rule=READ_ALL)

    yield route("/metrics", names, "Counts for Prometheus")
    # TensorFlow Serving's path: a client that asks there expects its names.
    path = "/monitoring/prometheus/metrics"
    yield route(path, "tfs", "Counts for Prometheus by TensorFlow Serving's names")


def _page_handler(metrics: Metrics, names: str) -> Handler:
    def answer(request: Request, _plane: DataPlane) -> Response:
        metrics.publish()
        openmetrics = prefers_openmetrics(request.headers.get(b"accept", b""))
        kind = OPENMETRICS_TYPE if openmetrics else CONTENT_TYPE
        return Response(metrics_page(metrics, names, openmetrics=openmetrics), content_type=kind)

    return answer
