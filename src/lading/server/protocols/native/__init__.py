"""The book's API at the root and the native one under ``/models``: plain JSON for people and scripts.

At the root one row in gives one flat row out, as the book's clients expect; under ``/models`` there is
always one result a row. Everything said about a model is read from its bundle. This file has the routes and
the refusals; ``predict`` answers with predictions and ``about`` tells about models.
"""

from __future__ import annotations

from collections.abc import Iterator

from lading.errors import LadingError
from lading.server.http.messages import Handler, Response, Route, json_response
from lading.server.protocols import error_headers, status_of
from lading.server.protocols.native import info as about
from lading.server.protocols.native import predict

PROTOCOL = "native"
_PLACES = ("/models/{name}", "/models/{name}/versions/{version}", "/models/{name}/tags/{tag}", "")


def routes() -> Iterator[Route]:
    """List the routes of this protocol."""

    def route(method: str, pattern: str, handler: Handler, summary: str) -> Route:
        return Route(method, pattern, handler, refuse, PROTOCOL, summary, fast=method == "POST")

    for place in _PLACES:
        flat = place == ""
        health = about.health if flat else about.model_health
        sample, sample_label = predict.sample_predictor(flat=flat), predict.sample_label_predictor(flat=flat)
        yield route("POST", f"{place}/predict", predict.predictor(flat=flat), "Predict")
        yield route("POST", f"{place}/predict/label", predict.label_predictor(flat=flat), "Predict, by label")
        yield route("GET", f"{place}/predict/test", sample, "Predict the first golden sample")
        yield route("GET", f"{place}/predict/test/label", sample_label, "The same, by label")
        yield route("GET", f"{place}/metadata", about.metadata, "What goes in and what comes out")
        yield route("GET", f"{place}/label", about.label, "The labels")
        yield route("GET", f"{place}/health", health, "Whether it is ready, and why not")
    yield route("GET", "/models", about.list_models, "The models here")
    for place in _PLACES[:3]:
        yield route("GET", place, about.show_model, "One model")


def refuse(error: LadingError) -> Response:
    """Answer an error: one sentence, its name, and the hint if there is one."""
    body = {"error": error.message, "code": type(error).__name__}
    if error.hint:
        body["hint"] = error.hint
    response = json_response(body, status_of(error))
    response.headers = error_headers(error)
    return response
