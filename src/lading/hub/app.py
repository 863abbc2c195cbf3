"""The application: an address in, a page or its JSON out. Every page has the same data under ``/api``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from lading.hub.answering import Answering, View
from lading.hub.assets import Assets
from lading.hub.drawing import Drawing
from lading.hub.follower import Follower
from lading.hub.guard import WithHeaders
from lading.hub.pages import Pages
from lading.registry import Registry


def make_app(
    registry: Registry,
    follower: Follower,
    hosts: frozenset[str] = frozenset(),
    ending: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Return the application over a registry; `follower` is started and closed by the caller.

    Requests for another host than one of `hosts` are refused; without any, none is. `ending` says that the
    server shuts down, which live updates would keep from it.
    """
    assets = Assets()
    pages = Pages(registry, lambda: follower.known.failure)
    answering = Answering(follower, Drawing(registry.where, assets=assets.addresses), ending)
    views: Mapping[str, tuple[str, View]] = {
        "/": ("home.html", pages.home),
        "/models": ("models.html", pages.models),
        "/models/{name}": ("model.html", pages.model),
        "/models/{name}/release": ("release.html", pages.release),
        "/models/{name}/{version:int}": ("version.html", pages.version),
        "/inventory": ("inventory.html", pages.inventory),
        "/inventory/{id:path}": ("replica.html", pages.replica),
        "/history": ("history.html", pages.history),
        "/history/{name}": ("history.html", pages.model_history),
        "/models/{name}/monitoring": ("monitoring.html", pages.monitoring),
        "/alarms": ("alarms.html", pages.alarms),
    }
    app = Starlette(
        routes=[
            *(answering.route(path, template, view) for path, (template, view) in views.items()),
            # Before the data of pages: those of a model `a.json` are at `/api/history?model=a.json`.
            *(
                Route(f"/api/history/{{name}}.{form}", partial(pages.export_history, form=form))
                for form in ("json", "csv")
            ),
            *(
                Route("/api" + ("/home" if path == "/" else path), answering.data(view))
                for path, (_, view) in views.items()
            ),
            Route("/api/models/{name}/monitoring.csv", answering.file(pages.monitoring_table)),
            Route("/language/{language}", answering.language),
            Route("/health", answering.health),
            Route("/live", answering.stream),
            Route("/static/{file}", assets.answer),
        ],
        exception_handlers={HTTPException: answering.on_error},
    )
    app.state.live = answering.live
    app.add_middleware(WithHeaders, hosts=hosts)
    return app
