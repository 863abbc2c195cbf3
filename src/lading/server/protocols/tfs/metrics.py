"""The counts under TensorFlow Serving's names, so that its dashboards keep working.

Source: ``tensorflow_serving/servables/tensorflow/util.cc`` and ``core/`` of TensorFlow Serving; its names
have a colon where the C++ has a slash. Every request counts as a prediction, because its API is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import HistogramMetricFamily, Metric

from lading.server.metrics.counts import TFS_BOUNDS_S, RequestCounts
from lading.server.protocols.oip.metrics import untyped

if TYPE_CHECKING:
    from lading.server.metrics import Key, Summary

_PREFIX = ":tensorflow:serving:"
_MICROSECOND_S = 1e-6
# Names of status codes by HTTP status, as that server's counts have them.
_CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def tfs_families(summary: Summary) -> Iterator[Metric]:
    """Return what TensorFlow Serving counts, of every protocol, summed over versions."""
    yield _counts(summary)
    yield _examples(summary)
    yield _latency(summary)
    runs = untyped(f"{_PREFIX}batching_session:wrapped_run_count", "Runs of the model that were queued.")
    total = sum(sum(version.by_rows) for version in summary.runs.values())
    runs.add_sample(runs.name, {}, total)
    yield runs


def _counts(summary: Summary) -> Metric:
    sums: dict[tuple[str, str], int] = {}
    for (model, _, _), counts in summary.requests.items():
        for status, count in counts.statuses.items():
            key = (model, _code(status))
            sums[key] = sums.get(key, 0) + count
    family = untyped(f"{_PREFIX}request_count", "Requests by status.")
    for (model, code), total in sums.items():
        if model:
            family.add_sample(family.name, {"model_name": model, "status": code}, total)
    return family


def _code(status: int | str) -> str:
    # gRPC requests are counted by the name of their status.
    if isinstance(status, str):
        return status
    return "OK" if status < 300 else _CODES.get(status, "INTERNAL")


def _examples(summary: Summary) -> Metric:
    sums: dict[str, int] = {}
    for (model, _, _), counts in summary.requests.items():
        sums[model] = sums.get(model, 0) + counts.rows
    family = untyped(f"{_PREFIX}request_example_count_total", "Rows predicted.")
    for model, total in sums.items():
        if model:
            family.add_sample(family.name, {"model": model}, total)
    return family


def _latency(summary: Summary) -> Metric:
    labels = ["model_name", "API", "entrypoint"]
    family = HistogramMetricFamily(
        f"{_PREFIX}request_latency", "Microseconds from request to answer, of good ones.", labels=labels
    )
    for (model, entrypoint), (buckets, total) in _by_entrypoint(summary.requests).items():
        # The two entry points of that server capitalise it differently.
        api = "predict" if entrypoint == "REST" else "Predict"
        family.add_metric([model, api, entrypoint], list(buckets.items()), total)
    return family


def _by_entrypoint(
    requests: dict[Key, RequestCounts],
) -> dict[tuple[str, str], tuple[dict[str, float], float]]:
    """Return by model and entry point the cumulative buckets and the sum of microseconds."""
    sums: dict[tuple[str, str], tuple[dict[str, float], float]] = {}
    for (model, _, protocol), counts in requests.items():
        if not model:
            continue
        # The names of gRPC protocols end so: `tfs-grpc`, `oip-grpc`.
        key = (model, "GRPC" if protocol.endswith("-grpc") else "REST")
        buckets, total = sums.get(key, ({}, 0.0))
        for bound, count in counts.good.buckets(TFS_BOUNDS_S, _MICROSECOND_S):
            buckets[bound] = buckets.get(bound, 0.0) + count
        sums[key] = (buckets, total + counts.good.total_s / _MICROSECOND_S)
    return sums
