"""The counts under NVIDIA Triton's names, so that its dashboards keep working.

Source: Triton's user guide, "Metrics". GPUs and caches are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric

from lading.server.metrics.counts import RequestCounts

if TYPE_CHECKING:
    from lading.server.metrics import Summary

_LABELS = ("model", "version")
_REASONS = {
    "QueueFull": "REJECTED",
    "DeadlineExceeded": "REJECTED",
    "RunFailed": "BACKEND",
    "ModelCodeFailed": "BACKEND",
    "ModelOutputInvalid": "BACKEND",
    "ModelProcessEnded": "BACKEND",
}
_MICROSECONDS = 1e6


def triton_families(summary: Summary) -> Iterator[Metric]:
    """Return what Triton counts, summed over protocols."""
    yield _summed(
        summary, "nv_inference_request_success", "Requests answered well.", lambda counts: counts.good.count
    )
    yield _failures(summary)
    yield _summed(summary, "nv_inference_count", "Rows predicted.", lambda counts: counts.rows)
    runs = untyped("nv_inference_exec_count", "Runs of the model.")
    for labels, (_, _, by_rows) in summary.runs_by_version().items():
        runs.add_sample(runs.name, dict(zip(_LABELS, labels, strict=True)), sum(by_rows))
    yield runs
    text = "Time from request to answer."
    yield _summed(summary, "nv_inference_request_duration_us", text, lambda counts: _us(counts.good.total_s))
    text = "Time in the queue."
    yield _summed(summary, "nv_inference_queue_duration_us", text, lambda counts: _us(counts.queued.total_s))
    text = "Time in the model, of each request the whole of its run."
    yield _summed(
        summary, "nv_inference_compute_infer_duration_us", text, lambda counts: _us(counts.in_model_s)
    )
    # Nothing is copied for a backend here; the families exist because dashboards add them up.
    for part in ("input", "output"):
        text = f"Time to copy {part}s for a backend: none."
        yield _summed(summary, f"nv_inference_compute_{part}_duration_us", text, lambda _counts: 0)
    pending = GaugeMetricFamily("nv_inference_pending_request_count", "Requests waiting.", labels=_LABELS)
    for version in summary.versions:
        pending.add_metric([version.model, version.version], version.queued)
    yield pending


def untyped(name: str, text: str) -> Metric:
    """Return a counter whose name does not end in ``_total``; the text format calls such a one untyped."""
    return Metric(name, text, "unknown")


def _summed(summary: Summary, name: str, text: str, value: Callable[[RequestCounts], float]) -> Metric:
    """Return a family of `value` by model and version, summed over protocols."""
    sums: dict[tuple[str, str], float] = {}
    for (model, version, _), counts in summary.requests.items():
        if model:  # Requests that reached no model have none.
            sums[model, version] = sums.get((model, version), 0.0) + value(counts)
    family = untyped(name, text)
    for labels, total in sums.items():
        family.add_sample(name, dict(zip(_LABELS, labels, strict=True)), total)
    return family


def _failures(summary: Summary) -> Metric:
    sums: dict[tuple[str, str, str], int] = {}
    for (model, version, _), counts in summary.requests.items():
        if not model:
            continue
        for name, count in counts.errors.items():
            key = (model, version, _REASONS.get(name, "OTHER"))
            sums[key] = sums.get(key, 0) + count
        statuses = counts.statuses
        # 499 is nginx's status of a client that closed the connection; gRPC has a name for it.
        cancelled = statuses.get(499, 0) + statuses.get("CANCELLED", 0)
        if cancelled:
            key = (model, version, "CANCELED")
            sums[key] = sums.get(key, 0) + cancelled
    family = untyped("nv_inference_request_failure", "Requests refused or failed.")
    for (model, version, reason), total in sums.items():
        family.add_sample(family.name, {"model": model, "version": version, "reason": reason}, total)
    return family


def _us(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)
