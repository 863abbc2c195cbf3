"""MLflow's scoring server: its version, and whether its one model answers. It tells nothing else.

Facts: mlflow/mlflow, mlflow/pyfunc/scoring_server/__init__.py (routes `/ping` and `/version`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import httpx

from lading.inventory.external import Found, model

_VERSION = re.compile(r"\d+\.\d+[\w.+-]*")


def ask(http: httpx.Client, models: Sequence[str]) -> Found | None:
    """Ask for the version and a ping; the model has no name there, and takes the first of `models`."""
    version = http.get("/version")
    text = version.text.strip().strip('"')
    if version.status_code != httpx.codes.OK or len(text) > 40 or not _VERSION.fullmatch(text):
        return None
    ping = http.get("/ping")
    state = "ready" if ping.status_code == httpx.codes.OK else "unavailable"
    return Found(f"mlflow {text}", (model(models[0] if models else "model", state=state),))
