"""The page that Prometheus reads: lading's own names, and those of servers whose dashboards people have.

The text format is prometheus-client's; nothing here writes it by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import lading
from lading.server.inference.version import State
from lading.server.metrics import Requests, Summary
from lading.server.metrics.counts import BATCH_BOUNDS, SHOWN_BOUNDS_S

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_BY = ["model", "version", "protocol"]
_OF = ["model", "version"]

Families = Callable[[Summary], Iterator[Metric]]


def page(summary: Summary, families: Iterable[Families]) -> bytes:
    """Return the page that shows `summary` in `families`."""
    return generate_latest(_Shown(summary, families))


class _Shown(Collector):
    """The metric families of one moment, as prometheus-client wants to ask for them."""

    def __init__(self, summary: Summary, families: Iterable[Families]) -> None:
        self._summary = summary
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for families in self._families:
            yield from families(self._summary)


def lading_families(summary: Summary) -> Iterator[Metric]:
    """Return everything under lading's own names."""
    yield from _requests(summary)
    yield from _durations(summary)
    yield from _runs(summary)
    yield from _versions(summary)
    yield from _workers(summary)


def _requests(summary: Summary) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "lading_requests", "Requests answered, by HTTP or gRPC status.", labels=[*_BY, "status"]
    )
    errors = CounterMetricFamily(
        "lading_errors", "Requests refused or failed, by error.", labels=[*_BY, "reason"]
    )
    for key, counts in summary.requests.items():
        for status, count in counts.statuses.items():
            requests.add_metric([*key, str(status)], count)
        for reason, count in counts.errors.items():
            errors.add_metric([*key, reason], count)
    yield from (requests, errors)
    yield _counter(summary, "lading_rows", "Rows predicted.", lambda one: one.rows)
    yield _counter(summary, "lading_received_bytes", "Bytes of requests.", lambda one: one.received_bytes)
    yield _counter(summary, "lading_sent_bytes", "Bytes of answers.", lambda one: one.sent_bytes)


def _counter(summary: Summary, name: str, text: str, value: Callable[[Requests], float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=_BY)
    for key, counts in summary.requests.items():
        family.add_metric(key, value(counts))
    return family


def _durations(summary: Summary) -> Iterator[Metric]:
    latency = HistogramMetricFamily(
        "lading_latency_seconds", "Time from request to answer, by outcome.", labels=[*_BY, "outcome"]
    )
    queued = HistogramMetricFamily(
        "lading_queue_seconds", "Time in the queue, of requests that went through it.", labels=_BY
    )
    for key, counts in summary.requests.items():
        for outcome, histogram in (("good", counts.good), ("bad", counts.bad)):
            if histogram.count:
                latency.add_metric([*key, outcome], histogram.buckets(SHOWN_BOUNDS_S), histogram.total_s)
        if counts.queued.count:
            queued.add_metric(key, counts.queued.buckets(SHOWN_BOUNDS_S), counts.queued.total_s)
    yield from (latency, queued)


def _runs(summary: Summary) -> Iterator[Metric]:
    seconds = CounterMetricFamily("lading_run_seconds", "Time in the model.", labels=_OF)
    batches = HistogramMetricFamily("lading_batch_rows", "Rows that ran as one.", labels=_OF)
    for (model, version), (run_s, rows, by_rows) in summary.runs_of().items():
        seconds.add_metric((model, version), run_s)
        shown, so_far = [], 0
        for bound, count in zip((*map(str, BATCH_BOUNDS), "+Inf"), by_rows, strict=True):
            so_far += count
            shown.append((bound, float(so_far)))
        batches.add_metric((model, version), shown, rows)
    yield from (seconds, batches)


def _versions(summary: Summary) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "lading_model_state", "Workers that have a version in this state.", labels=[*_OF, "digest", "state"]
    )
    in_flight = GaugeMetricFamily("lading_in_flight", "Requests waiting for a model or running.", labels=_OF)
    queued = GaugeMetricFamily("lading_queue_depth", "Requests waiting for a model.", labels=_OF)
    last = GaugeMetricFamily(
        "lading_last_request_timestamp_seconds", "When a version last answered.", labels=_OF
    )
    for now in summary.versions:
        of = [now.model, now.version]
        for state in State:
            states.add_metric([*of, now.digest, state.word], now.states.get(state, 0))
        in_flight.add_metric(of, now.in_flight)
        queued.add_metric(of, now.queued)
        if now.last_request_at:
            last.add_metric(of, now.last_request_at)
    yield from (states, in_flight, queued, last)


def _workers(summary: Summary) -> Iterator[Metric]:
    labels = ["worker"]
    cpu = CounterMetricFamily("lading_worker_cpu_seconds", "CPU time of a worker.", labels=labels)
    resident = GaugeMetricFamily("lading_worker_resident_bytes", "Resident memory.", labels=labels)
    open_now = GaugeMetricFamily("lading_worker_connections", "Open REST connections.", labels=labels)
    starts = CounterMetricFamily("lading_worker_starts", "How often a worker was started.", labels=labels)
    alive = GaugeMetricFamily("lading_workers", "Workers that are alive.")
    for one in summary.workers:
        named = [str(one.number)]
        cpu.add_metric(named, one.cpu_s)
        starts.add_metric(named, one.starts)
        if one.pid:
            resident.add_metric(named, one.resident_bytes)
            open_now.add_metric(named, one.connections)
    alive.add_metric([], sum(1 for one in summary.workers if one.pid))
    version = GaugeMetricFamily("lading_info", "1, with the version of lading.", labels=["lading"])
    version.add_metric([lading.__version__], 1)
    yield from (alive, starts, cpu, resident, open_now, version)
