"""The application: an address in, a page or its JSON out. Every page has the same data under ``/api``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from lading.hub.access import Access
from lading.hub.access.by_file import FileAccess, ForReaders
from lading.hub.acting import Acting
from lading.hub.answering import Answering, View, restated
from lading.hub.assets import Assets
from lading.hub.drawing import Drawing
from lading.hub.follower import Follower
from lading.hub.guard import WithHeaders
from lading.hub.live import Live
from lading.hub.openapi import PATH, openapi_json
from lading.hub.pages import Pages
from lading.hub.signing import Signing
from lading.hub.views.act import ACTS
from lading.registry import Registry

_LEAST_COMPRESSED_BYTES = 500


def make_app(
    registry: Registry,
    follower: Follower,
    hosts: frozenset[str] = frozenset(),
    access: Access | None = None,
    clock: Callable[[], float] = time.time,
    ending: Callable[[], bool] = lambda: False,
    log: str = "",
) -> Starlette:
    """Return the application over a registry; `follower` is started and closed by the caller.

    Requests for another host than one of `hosts` are refused; without any, none is. Without `access` nobody
    can sign in, and no page changes anything. Ages are by `clock`. `ending` says that the server shuts down,
    which live updates would keep from it. `log` is the prediction log, by default that of `lading log`.
    """
    assets = Assets()
    pages = Pages(registry, clock, lambda: follower.known.failure, log)
    live = Live(follower, restated, ending, clock)
    drawing = Drawing(registry.where, clock, assets.addresses)
    answering = Answering(follower, drawing, access or Access(), live)
    acting, signing = Acting(registry, pages, answering), Signing(answering)
    views = _views(pages)
    searches: Mapping[str, tuple[str, View]] = {
        "/log": ("logs.html", pages.log_index),
        "/log/{name}": ("log.html", pages.log),
    }
    app = Starlette(
        routes=[
            *(answering.route(path, template, view) for path, (template, view) in views.items()),
            # A search of the log takes seconds: it is made when somebody asks, and not with every change.
            *(Route(path, answering.page(template, view)) for path, (template, view) in searches.items()),
            Route("/api/runs/{id}.csv", answering.file(pages.run_table)),
            # Before the data of pages: those of a model `a.json` are at `/api/history?model=a.json`.
            *_histories(pages),
            *(
                Route("/api" + ("/home" if path == "/" else path), answering.data(view))
                for path, (_, view) in {**views, **searches}.items()
            ),
            Route(PATH, openapi_json),
            *_tables(pages, answering),
            *_forms(acting, signing),
            Route("/language/{language}", answering.language),
            Route("/health", answering.health),
            Route("/live", answering.stream),
            Route("/static/{file}", assets.answer),
        ],
        exception_handlers={HTTPException: answering.on_error},
    )
    app.state.live = live
    # Such a redirect would name the host that the request has named.
    app.router.redirect_slashes = False
    # Pages of people who are signed in as well: no two have the same token, so their sizes say nothing of it
    # (BREACH). Streams of events are never compressed, which would keep each back.
    app.add_middleware(GZipMiddleware, minimum_size=_LEAST_COMPRESSED_BYTES, compresslevel=6)
    if isinstance(access, FileAccess):
        app.add_middleware(ForReaders, access=access)
    app.add_middleware(WithHeaders, hosts=hosts)
    return app


def _histories(pages: Pages) -> list[Route]:
    return [
        Route(f"/api/history/{{name}}.{form}", partial(pages.export_history, form=form))
        for form in ("json", "csv")
    ]


def _tables(pages: Pages, answering: Answering) -> list[Route]:
    """Return the routes of files: tables behind charts, and what was searched."""
    return [
        Route("/api/models/{name}/monitoring.csv", answering.file(pages.monitoring_table)),
        Route("/api/models/{name}/release.csv", answering.file(pages.release_evidence)),
        Route("/api/runs.csv", answering.file(pages.runs_table)),
        *(
            Route(f"/api/log/{{name}}/records.{form}", answering.file(partial(pages.log_file, form=form)))
            for form in ("json", "csv")
        ),
    ]


def _forms(acting: Acting, signing: Signing) -> list[Route]:
    """Return the routes of forms, which alone change something; each checks where it comes from."""
    return [
        *(
            Route(f"/models/{{name}}/release/{act}", partial(acting.act, act=act), methods=["POST"])
            for act in ACTS
        ),
        Route("/models/{name}/{version:int}/release", acting.begin, methods=["POST"]),
        Route("/sign-in", signing.sign_in_page),
        Route("/sign-in", signing.sign_in, methods=["POST"]),
        # By POST as well: a picture on another page shall sign nobody out.
        Route("/sign-out", signing.sign_out, methods=["POST"]),
    ]


def _views(pages: Pages) -> Mapping[str, tuple[str, View]]:
    """Return the template and the view of each page by its address; ``/api`` has the same addresses."""
    return {
        "/": ("home.html", pages.home),
        "/models": ("models.html", pages.models),
        "/models/{name}": ("model.html", pages.model),
        "/models/{name}/release": ("release.html", pages.release),
        **{f"/models/{{name}}/release/{act}": ("act.html", partial(pages.act, act=act)) for act in ACTS},
        "/models/{name}/{version:int}/release": ("begin.html", pages.begin),
        "/models/{name}/{version:int}": ("version.html", pages.version),
        "/vulnerabilities": ("vulnerabilities.html", pages.vulnerabilities),
        "/inventory": ("inventory.html", pages.inventory),
        "/inventory/{id:path}": ("replica.html", pages.replica),
        "/history": ("history.html", pages.history),
        "/history/{name}": ("history.html", pages.model_history),
        "/models/{name}/monitoring": ("monitoring.html", pages.monitoring),
        "/alarms": ("alarms.html", pages.alarms),
        "/runs": ("runs.html", pages.runs),
        "/runs/{id}": ("run.html", pages.run),
        "/jobs": ("jobs.html", pages.jobs),
        "/jobs/{id}": ("job.html", pages.job),
    }
