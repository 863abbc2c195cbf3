"""Metadata, index and statistics of the protocol, as plain values that REST and gRPC write alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lading
from lading.errors import NotSupported
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion, State
from lading.server.metrics import Metrics, Summary
from lading.server.metrics.counts import Histogram
from lading.server.protocols.oip.routing import find
from lading.server.protocols.oip.tensors import DATATYPES, wire_shape
from lading.signature import Tensor

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "parameters", "statistics")
PLATFORM = "onnxruntime_onnx"

# The states of Triton's model repository extension.
_STATES = {
    State.LOADING: "LOADING",
    State.WARMING: "LOADING",
    State.READY: "READY",
    State.DRAINING: "UNLOADING",
    State.UNLOADED: "UNAVAILABLE",
    State.FAILED: "UNAVAILABLE",
}


def server_metadata() -> dict[str, Any]:
    """Return the name of the server and its extensions."""
    return {"name": "lading", "version": lading.__version__, "extensions": list(EXTENSIONS)}


def model_metadata(plane: DataPlane, served: ServedVersion) -> dict[str, Any]:
    """Describe one version and list its model's other versions; raises `ModelNotReady` while it loads."""
    signature = served.manifest.signature
    return {
        "name": served.name,
        "versions": [str(version.version) for version in plane.versions(served.name)],
        "platform": PLATFORM,
        "inputs": [tensor_metadata(tensor) for tensor in signature.inputs],
        "outputs": [tensor_metadata(tensor) for tensor in signature.outputs],
    }


def model_config(plane: DataPlane, served: ServedVersion) -> dict[str, Any]:
    """Describe one version as Triton's configuration does; raises `ModelNotReady` while it loads.

    Where all tensors are batched, sizes leave the batch out, and ``max_batch_size`` is the most rows that
    run as one: a request may have more.
    """
    signature = served.manifest.signature
    batched = all(tensor.batched for tensor in (*signature.inputs, *signature.outputs))

    def describe(tensor: Tensor) -> dict[str, Any]:
        kind = "TYPE_STRING" if tensor.dtype == "string" else f"TYPE_{DATATYPES[tensor.dtype]}"
        return {"name": tensor.name, "data_type": kind, "dims": wire_shape(tensor)[int(batched) :]}

    limits = plane.batch
    config = {
        "name": served.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": limits.max_rows if batched else 0,
        "input": [describe(tensor) for tensor in signature.inputs],
        "output": [describe(tensor) for tensor in signature.outputs],
        "instance_group": [{"name": f"{served.name}_0", "kind": "KIND_CPU", "count": 1}],
        "model_transaction_policy": {"decoupled": False},
    }
    if batched and limits.max_rows > 1:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": int(limits.max_delay_s * 1e6)}
    return config


def tensor_metadata(tensor: Tensor) -> dict[str, Any]:
    """Return name, datatype and shape of a tensor as the protocol writes them."""
    return {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": wire_shape(tensor)}


def index(plane: DataPlane, *, ready: bool) -> list[dict[str, str]]:
    """List every version, or only those that are ready."""
    return [
        {
            "name": version.name,
            "version": str(version.version),
            "state": _STATES[version.state],
            "reason": version.reason,
        }
        for versions in plane.models.values()
        for version in versions
        if version.state is State.READY or not ready
    ]


def repository_refused(name: str) -> NotSupported:
    """Return the error of a request for one repository of several: this server has no named ones."""
    return NotSupported("`repository_name`", expected="none", found=f"`{name}`")


def loading_refused(name: str) -> NotSupported:
    """Return the error of a request to load or unload a model: releases do that, not this protocol."""
    return NotSupported(
        f"model `{name}`",
        expected="the models that this server was started with",
        found="a request to load or unload one",
        hint="start the server with the models it should serve",
    )


def statistics(plane: DataPlane, metrics: Metrics, name: str = "", version: str = "") -> list[dict[str, Any]]:
    """Return the statistics of versions over all protocols; durations are in nanoseconds."""
    if not name:
        selected = [served for versions in plane.models.values() for served in versions]
    else:
        selected = [find(plane, name, version)] if version else list(plane.versions(name))
    summary = metrics.summary()
    return [_statistics_of(served, summary) for served in selected]


def _statistics_of(served: ServedVersion, summary: Summary) -> dict[str, Any]:
    """Return the statistics of one version in all workers."""
    label = (served.name, str(served.version))
    requests = [counts for key, counts in summary.requests.items() if key[:2] == label]
    _, _, runs_by_rows = summary.runs_by_version().get(label, (0.0, 0, []))
    last_times = [
        version.last_request_at for version in summary.versions if (version.model, version.version) == label
    ]
    # A histogram counts from request to answer; the time in the model has only a sum.
    success = _sum_of(counts.good for counts in requests)
    # Triton copies tensors to and from a backend; here nothing is copied, which takes 0 s.
    copying = {**success, "ns": 0}
    none = _duration(0, 0.0)
    return {
        "name": served.name,
        "version": str(served.version),
        "last_inference": int(max(last_times, default=0.0) * 1000),  # milliseconds since the epoch
        "inference_count": sum(counts.rows for counts in requests),
        "execution_count": sum(runs_by_rows),
        "inference_stats": {
            "success": success,
            "fail": _sum_of(counts.bad for counts in requests),
            "queue": _sum_of(counts.queued for counts in requests),
            "compute_input": copying,
            "compute_infer": _duration(success["count"], sum(counts.in_model_s for counts in requests)),
            "compute_output": copying,
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [],  # Nothing is counted by batch size.
    }


def _sum_of(histograms: Iterable[Histogram]) -> dict[str, int]:
    summands = list(histograms)
    return _duration(
        sum(histogram.count for histogram in summands), sum(histogram.total_s for histogram in summands)
    )


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(seconds * 1e9)}
