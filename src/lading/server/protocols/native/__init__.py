"""lading's own protocol, at the root for the default model and under ``/models``: plain JSON.

At the root one row in gives one flat row out; under ``/models`` every answer has one result per row.
This file has the routes and the error answers, `predict` the predictions, `info` the facts about models.
"""

from __future__ import annotations

from collections.abc import Iterator

from lading.access import FACTS, OPEN, PREDICTION, SERVER_FACTS, Rule
from lading.errors import LadingError
from lading.server.http.messages import Handler, Response, Route
from lading.server.protocols import error_response
from lading.server.protocols.native import info, predict

PROTOCOL = "native"
_MODEL_PREFIXES = ("/models/{name}", "/models/{name}/versions/{version}", "/models/{name}/tags/{tag}")


def routes() -> Iterator[Route]:
    """List the routes of this protocol."""

    def route(rule: Rule, method: str, pattern: str, handler: Handler, summary: str) -> Route:
        fast = method == "POST"
        return Route(method, pattern, handler, refuse, PROTOCOL, summary, fast=fast, rule=rule)

    for prefix in (*_MODEL_PREFIXES, ""):
        # Clients of the root routes send one row and expect one flat result.
        at_root = prefix == ""
        health = info.health if at_root else info.model_health
        sample = predict.sample_predictor(flat=at_root)
        sample_label = predict.sample_label_predictor(flat=at_root)
        label = predict.label_predictor(flat=at_root)
        by_row = predict.predictor(flat=at_root)
        yield route(PREDICTION, "POST", f"{prefix}/predict", by_row, "Predict")
        yield route(PREDICTION, "POST", f"{prefix}/predict/label", label, "Predict labels")
        test = "Predict the first golden sample"
        yield route(PREDICTION, "GET", f"{prefix}/predict/test", sample, test)
        yield route(PREDICTION, "GET", f"{prefix}/predict/test/label", sample_label, "Predict its label")
        yield route(FACTS, "GET", f"{prefix}/metadata", info.metadata, "Inputs and outputs, with a sample")
        yield route(FACTS, "GET", f"{prefix}/label", info.label, "The labels by class")
        yield route(OPEN, "GET", f"{prefix}/health", health, "Whether it is ready, and why not")
    yield route(SERVER_FACTS, "GET", "/models", info.list_models, "The models of this server")
    for prefix in _MODEL_PREFIXES:
        yield route(FACTS, "GET", prefix, info.show_model, "One model")


def refuse(error: LadingError) -> Response:
    """Answer an error with one sentence, the name of its class, and the hint if it has one."""
    body = {"error": error.message, "code": type(error).__name__}
    if error.hint:
        body["hint"] = error.hint
    return error_response(error, body)
