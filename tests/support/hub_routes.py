"""The addresses of all pages of a hub, with and without data, as its application lists them.

A page that is added without an example fails the tests that walk over all.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.routing import Route

from support import hub_jobs
from support.hub_runs import IDS

NO_PAGES = ("/api", "/health", "/language", "/live", "/static")
"""What programs read, and what answers with no page."""

SCENE: Mapping[str, tuple[str, ...]] = {
    "/": ("/",),
    "/models": ("/models", "/models?q=nothing-has-this-name"),
    "/models/{name}": ("/models/churn", "/models/credit-default"),
    "/models/{name}/release": ("/models/churn/release", "/models/credit-default/release"),
    "/models/{name}/monitoring": (
        "/models/credit-default/monitoring?since=7d",
        "/models/fraud-screen/monitoring",
    ),
    "/models/{name}/{version:int}": ("/models/churn/4", "/models/credit-default/3", "/models/parcel-delay/1"),
    "/models/{name}/release/promote": (
        "/models/churn/release/promote",
        "/models/credit-default/release/promote",
    ),
    "/models/{name}/release/pause": ("/models/churn/release/pause",),
    "/models/{name}/release/resume": ("/models/ticket-topics/release/resume", "/models/churn/release/resume"),
    "/models/{name}/release/abort": (
        "/models/churn/release/abort",
        "/models/churn/release/abort?release=1&change=1&event=1",
    ),
    "/models/{name}/release/rollback": (
        "/models/churn/release/rollback",
        "/models/credit-default/release/rollback",
    ),
    "/models/{name}/{version:int}/release": (
        "/models/credit-default/4/release",
        "/models/parcel-delay/1/release",
    ),
    "/sign-in": ("/sign-in", "/sign-in?model=churn"),
    "/vulnerabilities": ("/vulnerabilities", "/vulnerabilities?q=nothing", "/vulnerabilities?severity=high"),
    "/inventory": ("/inventory", "/inventory?q=nobody"),
    "/inventory/{id:path}": ("/inventory/models-1", "/inventory/models-3", "/inventory/models-4"),
    "/history": ("/history", "/history?kind=refused"),
    "/history/{name}": ("/history/churn", "/history/parcel-delay"),
    "/log": ("/log",),
    "/log/{name}": ("/log/credit-default", "/log/churn", "/log/churn?since=all&column=inputs.x&value=1"),
    "/alarms": ("/alarms", "/alarms?model=ticket-topics"),
    "/runs": ("/runs", "/runs?state=lost&sort=-rows", "/runs?kind=training"),
    "/jobs": ("/jobs", "/jobs?state=failed&model=churn", "/jobs?before=1"),
    "/jobs/{id}": tuple(f"/jobs/{id}" for id in hub_jobs.IDS),
    "/runs/{id}": tuple(f"/runs/{id}" for id in IDS),
}
"""Examples of each page over `support.hub_scene`."""


def pages(app: Starlette) -> list[str]:
    """Return the paths of the routes that answer with pages."""
    routes = [route for route in app.routes if isinstance(route, Route) and "GET" in (route.methods or ())]
    return [route.path for route in routes if not route.path.startswith(NO_PAGES)]


def examples(app: Starlette) -> list[str]:
    """Return an address for each state of each page over `support.hub_scene`."""
    missing = [path for path in pages(app) if path not in SCENE]
    assert not missing, f"no example in support/hub_routes.py for {missing}"
    return [address for path in pages(app) for address in SCENE[path]]


def empty(app: Starlette) -> list[str]:
    """Return the address of each page that an empty registry has, and of one that nobody has."""
    return [*(path for path in pages(app) if "{" not in path), "/models/nobody"]
