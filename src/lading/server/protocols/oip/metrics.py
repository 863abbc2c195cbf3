"""The counts under NVIDIA Triton's names, so that its dashboards go on working.

Source: Triton's user guide, "Metrics". Nothing is copied for a backend, so ``compute_input`` and
``compute_output`` are 0; dashboards add them up. Nothing is said of GPUs and caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric

from lading.server.metrics.counts import Requests

if TYPE_CHECKING:
    from lading.server.metrics import Summary

_OF = ("model", "version")
_REASONS = {"QueueFull": "REJECTED", "DeadlineExceeded": "REJECTED", "RunFailed": "BACKEND"}
_MICROSECONDS = 1e6


def triton_families(summary: Summary) -> Iterator[Metric]:
    """Return what Triton counts, summed over protocols."""
    yield _summed(
        summary, "nv_inference_request_success", "Requests answered well.", lambda one: one.good.count
    )
    yield _failures(summary)
    yield _summed(summary, "nv_inference_count", "Rows predicted.", lambda one: one.rows)
    runs = bare("nv_inference_exec_count", "Runs of the model.")
    for of, (_, _, by_rows) in summary.runs_of().items():
        runs.add_sample(runs.name, dict(zip(_OF, of, strict=True)), sum(by_rows))
    yield runs
    text = "Time from request to answer."
    yield _summed(summary, "nv_inference_request_duration_us", text, lambda one: _us(one.good.total_s))
    text = "Time in the queue."
    yield _summed(summary, "nv_inference_queue_duration_us", text, lambda one: _us(one.queued.total_s))
    text = "Time in the model, of each request the whole of its run."
    yield _summed(summary, "nv_inference_compute_infer_duration_us", text, lambda one: _us(one.in_model_s))
    for part in ("input", "output"):
        text = f"Time to copy {part}s for a backend: none."
        yield _summed(summary, f"nv_inference_compute_{part}_duration_us", text, lambda _one: 0)
    pending = GaugeMetricFamily("nv_inference_pending_request_count", "Requests waiting.", labels=_OF)
    for now in summary.versions:
        pending.add_metric([now.model, now.version], now.queued)
    yield pending


def bare(name: str, text: str) -> Metric:
    """Make a counter whose name does not end in ``_total``; the text format then calls it untyped."""
    return Metric(name, text, "unknown")


def _summed(summary: Summary, name: str, text: str, value: Callable[[Requests], float]) -> Metric:
    sums: dict[tuple[str, str], float] = {}
    for (model, version, _), counts in summary.requests.items():
        if model:
            sums[model, version] = sums.get((model, version), 0.0) + value(counts)
    family = bare(name, text)
    for of, total in sums.items():
        family.add_sample(name, dict(zip(_OF, of, strict=True)), total)
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
        gone = statuses.get(499, 0) + statuses.get("CANCELLED", 0)
        if gone:
            key = (model, version, "CANCELED")
            sums[key] = sums.get(key, 0) + gone
    family = bare("nv_inference_request_failure", "Requests refused or failed.")
    for (model, version, reason), total in sums.items():
        family.add_sample(family.name, {"model": model, "version": version, "reason": reason}, total)
    return family


def _us(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)
