"""Rows that the hub shows: replicas and alarms, as servers and the monitor write them."""

from __future__ import annotations

import time
from typing import Any

from lading.alarms import Alarm
from lading.replica import Replica, ReplicaModel


def replica(number: int = 1, *models: ReplicaModel, **changes: Any) -> Replica:
    """Return a replica that reports `models`."""
    values = {"id": f"host-{number}", "host": f"host-{number}.example", "models": models}
    return Replica(**{**values, **changes})


def loaded(name: str = "iris", version: int = 1, **changes: Any) -> ReplicaModel:
    """Return what a replica reports of a version that answers."""
    return ReplicaModel(**{"name": name, "version": version, "state": "ready", **changes})


def alarm(name: str = "iris", **changes: Any) -> Alarm:
    """Return an open alarm that was raised an hour ago."""
    now = time.time()
    values = {
        "id": f"{name}-1",
        "name": name,
        "version": 1,
        "digest": "sha256:" + "a" * 64,
        "release": 1,
        "kind": "drift",
        "subject": "petal_width",
        "began_at": now - 7200,
        "raised_at": now - 3600,
        "value": 0.31,
        "text": "petal_width has drifted",
    }
    return Alarm(**{**values, **changes})
