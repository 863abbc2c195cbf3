"""The status of a server that listens nowhere, as background tasks see it."""

from __future__ import annotations

from lading.server.inference.version import ServedVersion
from lading.server.loading.trust import LoadGate
from lading.server.metrics import Metrics
from lading.server.process.compose import make_plane
from lading.server.process.status import ServerInfo, Status
from lading.settings import ServeSettings

SETTINGS = ServeSettings(port=0, workers=2)


def status_of(*versions: ServedVersion, gate: LoadGate | None = None) -> Status:
    """Return the status of the server `web-1` with these versions, behind the `gate` of its trust policy."""
    plane = make_plane(SETTINGS)
    plane.publish(versions)
    info = ServerInfo("web-1", 1_800_000_000.0, "http://web:8000", "grpc://web:8001", "load", SETTINGS)
    metrics = Metrics(plane)
    metrics.publish()
    return Status(info, plane, metrics, gate=gate)
