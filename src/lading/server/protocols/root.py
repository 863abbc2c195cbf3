"""The path ``/``: people are led to the documentation page, programs get the places to begin at."""

from __future__ import annotations

from collections.abc import Iterator

import lading
from lading.access import SERVER_FACTS
from lading.server.http.messages import Handler, Request, Response, Route, json_response
from lading.server.http.prefix import prefix_of
from lading.server.inference.dataplane import DataPlane
from lading.server.protocols import native

PROTOCOL = "native"
_PLACES = {"documentation": "/docs", "openapi": "/openapi.json", "health": "/health", "models": "/models"}


def routes(root_path: str) -> Iterator[Route]:
    """List the one route; links begin with `root_path` where no proxy states another prefix."""
    greet, summary = greeter(root_path), "The places to begin at"
    yield Route("GET", "/", greet, native.refuse, PROTOCOL, summary, rule=SERVER_FACTS)


def greeter(root_path: str) -> Handler:
    """Return the handler that redirects browsers and answers others with links."""

    def greet(request: Request, _plane: DataPlane) -> Response:
        prefix = prefix_of(request.headers, root_path)
        if b"text/html" in request.headers.get(b"accept", b""):
            return Response(status=307, headers=((b"location", f"{prefix}/docs".encode()),))
        links = {name: f"{prefix}{path}" for name, path in _PLACES.items()}
        return json_response({"name": "lading", "version": lading.__version__, **links})

    return greet
