"""Rows that the hub shows: versions, replicas and alarms, as servers and the monitor write them."""

from __future__ import annotations

import time
from typing import Any

from lading.alarms import Alarm
from lading.hub.knowledge import Knowledge
from lading.registry.records import ModelVersion
from lading.replica import Replica, ReplicaModel
from support.release_processes import new_version

READ_AT = 1_796_040_000.0


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


def knowledge(*, newest: Any = (), releases: Any = (), replicas: Any = (), alarms: Any = ()) -> Knowledge:
    """Return what a hub knows, by the rows that it has read."""
    return Knowledge(
        newest={version.name: version for version in newest},
        releases={release.name: release for release in releases},
        replicas=replicas,
        alarms=alarms,
        read_at=READ_AT,
    )


def version(name: str, number: int = 1, **changes: Any) -> ModelVersion:
    """Return a version as the catalog has it."""
    new = new_version(name, number)
    values = {field: getattr(new, field) for field in new.__struct_fields__}
    return ModelVersion(**{**values, "version": number, **changes})
