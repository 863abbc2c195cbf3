"""The page that Prometheus reads, in any choice of metric families; lading's own are here.

prometheus-client writes the text format; nothing here does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

import lading
from lading.runtime.host.fingerprint import fingerprint
from lading.server.inference.version import State
from lading.server.metrics import RequestCounts, Summary
from lading.server.metrics.counts import BATCH_BOUNDS, SHOWN_BOUNDS_S
from lading.server.metrics.jobs import job_families
from lading.server.metrics.monitoring import monitor_families
from lading.server.metrics.process import process_families
from lading.server.metrics.releases import release_families, replay_families
from lading.server.metrics.trust import trust_families

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

_BY_PROTOCOL = ["model", "version", "protocol"]
_BY_VERSION = ["model", "version"]

Families = Callable[[Summary], Iterator[Metric]]
"""Makes metric families of a summary, under the names of one server."""


def page(summary: Summary, families: Iterable[Families], *, openmetrics: bool = False) -> bytes:
    """Return the page that shows `summary` in `families`, in the text format of Prometheus or OpenMetrics."""
    collector = _SummaryCollector(summary, families)
    if openmetrics:
        written: bytes = generate_openmetrics(collector)  # type: ignore[no-untyped-call]
        return written
    return generate_latest(collector)


def prefers_openmetrics(accept: bytes) -> bool:
    """Return whether a client asks for OpenMetrics by name, and for no other text with more weight.

    Source of the weights: RFC 9110, 12.4.2. A browser, which accepts anything, gets the older format.
    """
    weights: dict[str, float] = {}
    for part in accept.decode("latin-1").lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        try:
            weights[kind] = max(weights.get(kind, 0.0), float(weight))
        except ValueError:
            continue
    openmetrics = weights.get("application/openmetrics-text", 0.0)
    return openmetrics > 0 and openmetrics >= weights.get("text/plain", 0.0)


class _SummaryCollector(Collector):
    """Shows one summary as the collector that prometheus-client asks for metrics."""

    def __init__(self, summary: Summary, families: Iterable[Families]) -> None:
        self._summary = summary
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for families in self._families:
            yield from families(self._summary)


def lading_families(summary: Summary) -> Iterator[Metric]:
    """Return everything that is counted, under lading's own names."""
    yield from _requests(summary)
    yield from _durations(summary)
    yield from _runs(summary)
    yield from _versions(summary)
    yield from _workers(summary)
    yield from _model_processes(summary)
    yield _grpc_ended(summary)
    yield from monitor_families(summary.monitor)
    yield from job_families(summary.jobs)
    yield from _prediction_log(summary)
    yield from _input_checks(summary)
    yield _spans(summary)
    yield from release_families(summary)
    yield from replay_families(summary)
    yield from trust_families(summary)
    yield from process_families(summary)


def _requests(summary: Summary) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "lading_requests", "Requests answered, by HTTP or gRPC status.", labels=[*_BY_PROTOCOL, "status"]
    )
    errors = CounterMetricFamily(
        "lading_errors", "Requests refused or failed, by error.", labels=[*_BY_PROTOCOL, "reason"]
    )
    for key, counts in summary.requests.items():
        for status, count in counts.statuses.items():
            requests.add_metric([*key, str(status)], count)
        for reason, count in counts.errors.items():
            errors.add_metric([*key, reason], count)
    yield from (requests, errors)
    yield _counter(summary, "lading_rows", "Rows predicted.", lambda counts: counts.rows)
    yield _counter(
        summary, "lading_received_bytes", "Bytes of requests.", lambda counts: counts.received_bytes
    )
    yield _counter(summary, "lading_sent_bytes", "Bytes of answers.", lambda counts: counts.sent_bytes)


def _counter(summary: Summary, name: str, text: str, value: Callable[[RequestCounts], float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=_BY_PROTOCOL)
    for key, counts in summary.requests.items():
        family.add_metric(key, value(counts))
    return family


def _durations(summary: Summary) -> Iterator[Metric]:
    latency = HistogramMetricFamily(
        "lading_latency_seconds",
        "Time from request to answer, by outcome.",
        labels=[*_BY_PROTOCOL, "outcome"],
    )
    queued = HistogramMetricFamily(
        "lading_queue_seconds", "Time in the queue, of requests that went through it.", labels=_BY_PROTOCOL
    )
    for key, counts in summary.requests.items():
        for outcome, histogram in (("good", counts.good), ("bad", counts.bad)):
            if histogram.count:
                latency.add_metric([*key, outcome], histogram.buckets(SHOWN_BOUNDS_S), histogram.total_s)
        # A histogram of nothing would be about twenty lines for each model, version and protocol.
        if counts.queued.count:
            queued.add_metric(key, counts.queued.buckets(SHOWN_BOUNDS_S), counts.queued.total_s)
    yield from (latency, queued)


def _runs(summary: Summary) -> Iterator[Metric]:
    seconds = CounterMetricFamily("lading_run_seconds", "Time in the model.", labels=_BY_VERSION)
    batches = HistogramMetricFamily("lading_batch_rows", "Rows that ran as one.", labels=_BY_VERSION)
    for (model, version), (run_s, rows, by_rows) in summary.runs_by_version().items():
        seconds.add_metric((model, version), run_s)
        buckets, so_far = [], 0  # Buckets of Prometheus are cumulative.
        for bound, count in zip((*map(str, BATCH_BOUNDS), "+Inf"), by_rows, strict=True):
            so_far += count
            buckets.append((bound, float(so_far)))
        batches.add_metric((model, version), buckets, rows)
    yield from (seconds, batches)


def _versions(summary: Summary) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "lading_model_state",
        "Workers that have a version in this state.",
        labels=[*_BY_VERSION, "digest", "state"],
    )
    in_flight = GaugeMetricFamily(
        "lading_in_flight", "Requests waiting for a model or running.", labels=_BY_VERSION
    )
    queued = GaugeMetricFamily("lading_queue_depth", "Requests waiting for a model.", labels=_BY_VERSION)
    last_request = GaugeMetricFamily(
        "lading_last_request_timestamp_seconds", "When a version last answered.", labels=_BY_VERSION
    )
    for status in summary.versions:
        labels = [status.model, status.version]
        # Every state, with 0 as well, so that an alert on a state has its series before it first happens.
        for state in State:
            states.add_metric([*labels, status.digest, state.word], status.states.get(state, 0))
        in_flight.add_metric(labels, status.in_flight)
        queued.add_metric(labels, status.queued)
        if status.last_request_at:
            last_request.add_metric(labels, status.last_request_at)
    yield from (states, in_flight, queued, last_request)


def _model_processes(summary: Summary) -> Iterator[Metric]:
    loaded = GaugeMetricFamily(
        "lading_model_processes", "Processes of a model in Python that have loaded it.", labels=_BY_VERSION
    )
    busy = GaugeMetricFamily(
        "lading_model_processes_busy",
        "Processes of a model in Python that run a request.",
        labels=_BY_VERSION,
    )
    ends = CounterMetricFamily(
        "lading_model_process_ends",
        "Processes of a model in Python that ended.",
        labels=[*_BY_VERSION, "reason"],
    )
    for processes in summary.model_processes:
        labels = [processes.model, processes.version]
        loaded.add_metric(labels, processes.loaded)
        busy.add_metric(labels, processes.busy)
        # Every reason, with 0 as well, so that an alert has its series before the first crash.
        for reason, count in processes.ends.items():
            ends.add_metric([*labels, reason], count)
    yield from (loaded, busy, ends)


def _grpc_ended(summary: Summary) -> Metric:
    text = "gRPC calls and connections that the server ended because of their client."
    ended = CounterMetricFamily("lading_grpc_ended", text, labels=["reason"])
    for reason, count in summary.grpc_ended.items():
        ended.add_metric([reason], count)
    return ended


def _prediction_log(summary: Summary) -> Iterator[Metric]:
    records = CounterMetricFamily(
        "lading_prediction_log_records", "Records that the prediction log has on disk.", labels=_BY_VERSION
    )
    dropped = CounterMetricFamily(
        "lading_prediction_log_dropped",
        "Records that the prediction log will never have.",
        labels=["reason"],
    )
    for key, count in summary.log_records.items():
        records.add_metric(key, count)
    for reason, count in summary.log_dropped.items():
        dropped.add_metric([reason], count)
    yield from (records, dropped)


def _input_checks(summary: Summary) -> Iterator[Metric]:
    rows = CounterMetricFamily(
        "lading_input_checked_rows", "Rows whose values were checked.", labels=_BY_VERSION
    )
    failures = CounterMetricFamily(
        "lading_input_check_failures",
        "Rows that failed an input check.",
        labels=[*_BY_VERSION, "column", "rule"],
    )
    unseen = CounterMetricFamily(
        "lading_unseen_rows",
        "Rows of large requests that neither checks nor live columns have seen.",
        labels=_BY_VERSION,
    )
    for labels, count in summary.checked_rows.items():
        rows.add_metric(labels, count)
    for labels, count in summary.unseen_rows.items():
        unseen.add_metric(labels, count)
    for labels, count in summary.check_failures.items():
        failures.add_metric(labels, count)
    yield from (rows, failures, unseen)


def _spans(summary: Summary) -> Metric:
    spans = CounterMetricFamily("lading_trace_spans", "Spans of traces, by outcome.", labels=["outcome"])
    for outcome, count in summary.spans.items():
        spans.add_metric([outcome], count)
    return spans


def _workers(summary: Summary) -> Iterator[Metric]:
    labels = ["worker"]
    cpu = CounterMetricFamily("lading_worker_cpu_seconds", "CPU time of a worker.", labels=labels)
    resident = GaugeMetricFamily("lading_worker_resident_bytes", "Resident memory.", labels=labels)
    connections = GaugeMetricFamily("lading_worker_connections", "Open REST connections.", labels=labels)
    requests = GaugeMetricFamily(
        "lading_worker_request_bytes", "Memory of requests in flight and their answers.", labels=labels
    )
    starts = CounterMetricFamily("lading_worker_starts", "How often a worker was started.", labels=labels)
    alive = GaugeMetricFamily("lading_workers", "Workers that are alive.")
    for worker in summary.workers:
        number = [str(worker.number)]
        cpu.add_metric(number, worker.cpu_s)
        starts.add_metric(number, worker.starts)
        if worker.pid:
            resident.add_metric(number, worker.resident_bytes)
            connections.add_metric(number, worker.connections)
            requests.add_metric(number, worker.request_bytes)
    alive.add_metric([], sum(1 for worker in summary.workers if worker.pid))
    version = GaugeMetricFamily("lading_info", "1, with the version of lading.", labels=["lading"])
    version.add_metric([lading.__version__], 1)
    build = GaugeMetricFamily("lading_build_info", "1, with what this server runs on.", labels=list(_build()))
    build.add_metric(list(_build().values()), 1)
    yield from (alive, starts, cpu, resident, connections, requests, version, build)


@cache
def _build() -> dict[str, str]:
    here = fingerprint()
    return {
        "version": here.lading,
        "python": here.python,
        "onnxruntime": here.onnxruntime,
        "os": here.os,
        "arch": here.arch,
        "runtime": here.id,
        "image": here.image or "",
    }
