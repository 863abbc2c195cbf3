"""What the protocol tells about server and models, as plain values that REST and gRPC write alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lading
from lading.errors import NotSupported
from lading.ref import version_number
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion, State
from lading.server.metrics import Metrics, Summary
from lading.server.metrics.counts import Histogram
from lading.server.protocols.oip.tensors import DATATYPES, wire_shape
from lading.signature import Tensor

EXTENSIONS = ("binary_tensor_data", "classification", "parameters", "statistics")
PLATFORM = "onnxruntime_onnx"

_STATES = {
    State.LOADING: "LOADING",
    State.WARMING: "LOADING",
    State.READY: "READY",
    State.DRAINING: "UNLOADING",
    State.UNLOADED: "UNAVAILABLE",
    State.FAILED: "UNAVAILABLE",
}
"""The words of the repository extension."""


def find(plane: DataPlane, name: str, version: str = "") -> ServedVersion:
    """Return the version meant, ready or not; a `version` that is not a number is a tag."""
    number = version_number(version)
    return plane.find(name, number, tag=(version or None) if number is None else None)


def resolve(plane: DataPlane, name: str, version: str = "") -> ServedVersion:
    """Return the ready version meant."""
    number = version_number(version)
    return plane.resolve(name, number, tag=(version or None) if number is None else None)


def server_metadata() -> dict[str, Any]:
    """Name the server and its extensions."""
    return {"name": "lading", "version": lading.__version__, "extensions": list(EXTENSIONS)}


def model_metadata(plane: DataPlane, served: ServedVersion) -> dict[str, Any]:
    """Describe one version, and name those that are beside it; raises `ModelNotReady` while it loads."""
    signature = served.manifest.signature
    return {
        "name": served.name,
        "versions": [str(one.version) for one in plane.versions(served.name)],
        "platform": PLATFORM,
        "inputs": [described(one) for one in signature.inputs],
        "outputs": [described(one) for one in signature.outputs],
    }


def described(tensor: Tensor) -> dict[str, Any]:
    """Return name, datatype and shape of a tensor as the protocol writes them."""
    return {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": wire_shape(tensor)}


def index(plane: DataPlane, *, ready: bool) -> list[dict[str, str]]:
    """List every version, or only those that are ready."""
    return [
        {
            "name": one.name,
            "version": str(one.version),
            "state": _STATES[one.state],
            "reason": one.reason,
        }
        for versions in plane.models.values()
        for one in versions
        if one.state is State.READY or not ready
    ]


def no_loading(name: str) -> NotSupported:
    """Say that models come and go by releases, not by this protocol."""
    return NotSupported(
        f"model `{name}`",
        expected="models as this server was told to serve them",
        found="a request to load or unload one",
        hint="start the server with the models it should serve",
    )


def statistics(plane: DataPlane, metrics: Metrics, name: str = "", version: str = "") -> list[dict[str, Any]]:
    """Count what versions did over every protocol; durations in nanoseconds, as the extension has them."""
    if not name:
        wanted = [one for versions in plane.models.values() for one in versions]
    else:
        wanted = [find(plane, name, version)] if version else list(plane.versions(name))
    summary = metrics.summary()
    return [_counts(served, summary) for served in wanted]


def _counts(served: ServedVersion, summary: Summary) -> dict[str, Any]:
    """Count what happened to a version in all workers; nothing is copied for a backend, which takes 0 s."""
    of = (served.name, str(served.version))
    counts = [one for key, one in summary.requests.items() if key[:2] == of]
    _, _, by_rows = summary.runs_of().get(of, (0.0, 0, []))
    lasts = [one.last_request_at for one in summary.versions if (one.model, one.version) == of]
    good = _durations(one.good for one in counts)
    copied = {**good, "ns": 0}
    none = _duration(0, 0.0)
    return {
        "name": served.name,
        "version": str(served.version),
        "last_inference": int(max(lasts, default=0.0) * 1000),
        "inference_count": sum(one.rows for one in counts),
        "execution_count": sum(by_rows),
        "inference_stats": {
            "success": good,
            "fail": _durations(one.bad for one in counts),
            "queue": _durations(one.queued for one in counts),
            "compute_input": copied,
            "compute_infer": _duration(good["count"], sum(one.in_model_s for one in counts)),
            "compute_output": copied,
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [],
    }


def _durations(histograms: Iterable[Histogram]) -> dict[str, int]:
    found = list(histograms)
    return _duration(sum(one.count for one in found), sum(one.total_s for one in found))


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(seconds * 1e9)}
