"""MLflow's scoring server: its version, and whether its one model answers. It reports nothing else.

Source: mlflow/mlflow, mlflow/pyfunc/scoring_server/__init__.py (routes `/ping` and `/version`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import httpx

from lading.inventory.external import Answer, make_model, request

_VERSION = re.compile(r"\d+\.\d+[\w.+-]*")


def ask(http: httpx.Client, models: Sequence[str]) -> Answer | None:
    """Ask for the version and a ping; the model has no name there and is called by the first of `models`."""
    response = request(http, "GET", "/version")
    version = response.text.strip().strip('"')
    # Any web server may answer /version: only what looks like a version counts.
    if response.status_code != httpx.codes.OK or len(version) > 40 or not _VERSION.fullmatch(version):
        return None
    ping = request(http, "GET", "/ping")
    state = "ready" if ping.status_code == httpx.codes.OK else "unavailable"
    return Answer(f"mlflow {version}", (make_model(models[0] if models else "model", state=state),))
