"""The application: an address in, a page or its JSON out. Every page has the same data under ``/api``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from lading.errors import InvalidName, LadingError, NotFound, RegistryUnavailable, RunFailed, UsageError
from lading.hub.drawing import Drawing
from lading.hub.follower import Follower
from lading.hub.knowledge import Knowledge
from lading.hub.reading import Answer, Reader
from lading.hub.spreadsheet import csv_text
from lading.hub.views import history, inventory
from lading.hub.views.alarms import AlarmsState, alarms_page, read_alerts
from lading.hub.views.home import home
from lading.hub.views.models import COLUMNS, model_page, models
from lading.hub.views.monitoring import PERIODS, MonitoringState, monitoring_page, tables
from lading.hub.views.release import release_page
from lading.hub.views.tables import TableState, one_of
from lading.hub.views.versions import version_page
from lading.hub.words import LANGUAGES, language_of
from lading.monitor.status import ModelStatus
from lading.ref import check_name
from lading.registry import Registry

# Nothing is loaded from elsewhere, nothing is framed, nothing in a page runs but the hub's own files.
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
log = logging.getLogger("lading.hub")

_LANGUAGE = "lading_language"
_YEAR_S = 31_536_000

View = Callable[[Request, Knowledge], tuple[Any, str]]
"""Makes what a page says, and why that is not newer, or nothing. May read the catalog."""


class Made(msgspec.Struct, frozen=True):
    """What a page says, when it was read, and why that is not newer, or nothing."""

    read_at: float
    stale: str
    data: Any


class Hub:
    """What the pages need: the follower's knowledge, a reader of details, and the templates."""

    def __init__(self, registry: Registry, follower: Follower) -> None:
        self.follower = follower
        self._reader = Reader(registry)
        self._drawing = Drawing(registry.where)

    def home(self, _request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the first page."""
        return home(knowledge), ""

    def models(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the table of models."""
        return models(knowledge, TableState.of(request.query_params, COLUMNS)), ""

    def model(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of one model."""
        name = check_name(request.path_params["name"])
        below = _number(request.query_params.get("below", ""), "`below`")
        answer = self._reader.model(name, below)
        return model_page(knowledge, name, *answer.value), answer.failure

    def release(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of the current release of a model."""
        # A server that is not lading's follows no release.
        own = [each for each in knowledge.replicas if not each.gone and each.pattern != "foreign"]
        answer = self._reader.release(check_name(request.path_params["name"]), len(own))
        return release_page(answer.value), answer.failure

    def version(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of one version."""
        name = check_name(request.path_params["name"])
        answer = self._reader.version(name, request.path_params["version"])
        version, evidence = answer.value
        manifest, unread = self._reader.manifest(version)
        return version_page(knowledge, version, manifest, evidence, unread), answer.failure

    def inventory(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the table of replicas."""
        state = TableState.of(request.query_params, inventory.COLUMNS, inventory.FILTERS)
        return inventory.inventory(knowledge, state), ""

    def replica(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of one replica."""
        return inventory.replica_page(knowledge, request.path_params["id"]), ""

    def history(self, request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make the history of all models, or of the one in the parameters, unchecked."""
        state = history.HistoryState.of(request.query_params)
        page = self._reader.events(state)
        return history.history_page("", state, page.value, None), page.failure

    def model_history(self, request: Request, _knowledge: Knowledge) -> tuple[Any, str]:
        """Make the history of one model, checked as a whole."""
        name = check_name(request.path_params["name"])
        state = history.HistoryState.of({**request.query_params, "model": name})
        check = self._reader.check(name)
        page = self._reader.events(state)
        return history.history_page(name, state, page.value, check.value), check.failure or page.failure

    async def export_history(self, request: Request, form: str) -> Response:
        """Answer with all events of a model as a file."""
        name = request.path_params["name"]
        try:
            events = await run_in_threadpool(self._reader.chain, check_name(name))
        except LadingError as error:
            return _json_error(error)
        if form == "csv":
            response = Response(history.events_csv(events), media_type="text/csv")
        else:  # What `lading history --json` prints.
            response = _json({"name": name, "events": events}, 200)
        # A name has no character that would end the quotes.
        response.headers["content-disposition"] = f'attachment; filename="history-{name}.{form}"'
        return response

    def monitoring(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page about the live traffic of a model."""
        state = MonitoringState.of_query(request.query_params)
        answer = self._status(request, knowledge, state)
        return monitoring_page(answer.value, state), answer.failure

    def alarms(self, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
        """Make the page of alarms and alerts."""
        state = AlarmsState.of(request.query_params)
        answer = self._reader.alarms(state.asked())
        alarms, alerts = answer.value
        return alarms_page(state, alarms, read_alerts(alerts), len(knowledge.alarms)), answer.failure

    def monitoring_table(self, request: Request, knowledge: Knowledge) -> tuple[Response, str]:
        """Make a table behind the charts of a model, as CSV."""
        name = request.query_params.get("table", "columns")
        status = self._status(request, knowledge, MonitoringState.of_query(request.query_params))
        known = tables(status.value)
        one_of("`table`", name, tuple(known))
        file = f"{status.value.name}-{name}.csv"
        headers = {"content-disposition": f'attachment; filename="{file}"'}
        return Response(csv_text(*known[name]), media_type="text/csv", headers=headers), status.failure

    def _status(self, request: Request, knowledge: Knowledge, state: MonitoringState) -> Answer[ModelStatus]:
        name = check_name(request.path_params["name"])
        newest = knowledge.newest.get(name)
        return self._reader.monitoring(name, PERIODS[state.since], newest.owner if newest is not None else "")

    def file(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a program with the file that a view makes; an error is JSON."""

        async def answer(request: Request) -> Response:
            try:
                response: Response = (await self._made(request, view)).data
            except LadingError as error:
                return _json_error(error)
            return response

        return answer

    def page(self, template: str, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a browser: the view in a template."""

        async def answer(request: Request) -> Response:
            try:
                made = await self._made(request, view)
            except LadingError as error:
                return self._refusal(request, error)
            # Dozens of charts take a tenth of a second, in which others would wait.
            return await run_in_threadpool(
                self._drawn, request, template, 200, view=made.data, failure=made.stale
            )

        return answer

    def data(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a program: the view as JSON, with when it was read and why it is not newer."""

        async def answer(request: Request) -> Response:
            try:
                return _json(await self._made(request, view), 200)
            except LadingError as error:
                return _json_error(error)

        return answer

    async def _made(self, request: Request, view: View) -> Made:
        """Make what a page says. Raises `LadingError`, `RunFailed` for a defect of ours."""
        # Looked at once: it is replaced while a page is made.
        known = self.follower.known
        if known.knowledge is None:
            reason = known.failure or "none yet"
            raise RegistryUnavailable("the registry", expected="an answer", found=reason)
        try:
            data, failure = await run_in_threadpool(view, request, known.knowledge)
        except LadingError:
            raise
        except Exception:
            log.exception("the page %s cannot be made", request.url.path)
            raise RunFailed("internal error", hint="the log of the hub has it") from None
        return Made(known.knowledge.read_at, failure or known.failure, data)

    async def on_error(self, request: Request, error: Exception) -> Response:
        """Answer what no route takes."""
        assert isinstance(error, HTTPException)
        if request.url.path.startswith("/api/"):
            return _json({"error": "NotFound", "message": error.detail, "hint": None}, error.status_code)
        return self._drawn(request, "error.html", error.status_code, message=error.detail, hint="")

    async def health(self, _request: Request) -> Response:
        """Answer whether pages can be made: from what is known, however old that is."""
        known = self.follower.known
        return PlainTextResponse("ok" if known.knowledge else "no catalog", 200 if known.knowledge else 503)

    async def language(self, request: Request) -> Response:
        """Remember the language that a person has chosen, and go back to the first page."""
        chosen = request.path_params["language"]
        response = Response(status_code=303, headers={"location": "/"})
        # Always to the first page: an address to go back to could lead anywhere.
        if chosen in LANGUAGES:
            response.set_cookie(_LANGUAGE, chosen, max_age=_YEAR_S, httponly=True, samesite="lax")
        return response

    def _refusal(self, request: Request, error: LadingError) -> Response:
        return self._drawn(
            request, "error.html", _status(error), message=error.message, hint=error.hint or ""
        )

    def _drawn(self, request: Request, template: str, status: int, **values: Any) -> Response:
        chosen = request.cookies.get(_LANGUAGE, "")
        language = language_of(chosen, request.headers.get("accept-language", ""))
        known = self.follower.known
        values.setdefault("failure", known.failure)
        read_at = known.knowledge.read_at if known.knowledge is not None else 0.0
        path = request.url.path
        text = self._drawing.draw(template, language, path=path, read_at=read_at, **values)
        return Response(text, status, media_type="text/html")


def make_app(registry: Registry, follower: Follower, hosts: frozenset[str] = frozenset()) -> Starlette:
    """Return the application over a registry; `follower` is started and closed by the caller.

    Requests for another host than one of `hosts` are refused; without any, none is.
    """
    hub = Hub(registry, follower)
    pages: Mapping[str, tuple[str, View]] = {
        "/": ("home.html", hub.home),
        "/models": ("models.html", hub.models),
        "/models/{name}": ("model.html", hub.model),
        "/models/{name}/release": ("release.html", hub.release),
        "/models/{name}/{version:int}": ("version.html", hub.version),
        "/inventory": ("inventory.html", hub.inventory),
        "/inventory/{id:path}": ("replica.html", hub.replica),
        "/history": ("history.html", hub.history),
        "/history/{name}": ("history.html", hub.model_history),
        "/models/{name}/monitoring": ("monitoring.html", hub.monitoring),
        "/alarms": ("alarms.html", hub.alarms),
    }
    app = Starlette(
        routes=[
            *(Route(path, hub.page(template, view)) for path, (template, view) in pages.items()),
            # Before the data of pages: those of a model `a.json` are at `/api/history?model=a.json`.
            *(
                Route(f"/api/history/{{name}}.{form}", partial(hub.export_history, form=form))
                for form in ("json", "csv")
            ),
            *(
                Route("/api" + ("/home" if path == "/" else path), hub.data(view))
                for path, (_, view) in pages.items()
            ),
            Route("/api/models/{name}/monitoring.csv", hub.file(hub.monitoring_table)),
            Route("/language/{language}", hub.language),
            Route("/health", hub.health),
            Mount("/static", StaticFiles(directory=str(files("lading.hub").joinpath("static")))),
        ],
        exception_handlers={HTTPException: hub.on_error},
    )
    app.add_middleware(_WithHeaders, hosts=hosts)
    return app


class _WithHeaders:
    """Adds the headers of every answer, errors included, and refuses other hosts than those allowed.

    A page of elsewhere whose name was made to mean this address (DNS rebinding) could read the hub's pages.
    """

    def __init__(self, app: Any, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and self._hosts:
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            # With its port, which is not the name's; an address of IPv6 is in brackets.
            name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
            if name.lower() not in self._hosts:
                await PlainTextResponse("this is not the hub's host", 421)(scope, receive, send)
                return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                # What is on a page is nobody's business but the browser's that asked.
                own = {**_HEADERS, "cache-control": "no-store"}
                if scope.get("path", "").startswith("/static/"):
                    own["cache-control"] = "max-age=3600"
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in own.items()),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _json(value: Any, status: int) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _json_error(error: LadingError) -> Response:
    value = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    return _json(value, _status(error))


def _status(error: LadingError) -> int:
    # By the class, most particular first: what is not found is a wrong address, too.
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, InvalidName | UsageError):
        return 400
    return 503 if isinstance(error, RegistryUnavailable) else 500


def _number(text: str, where: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(where, expected="a number", found=f"`{text[:80]}`")
    return int(text)
