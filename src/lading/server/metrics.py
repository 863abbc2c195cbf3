"""Counts of what the server did, as Prometheus reads them. Decides nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lading.server.states import Served, State

if TYPE_CHECKING:
    from lading.server.dataplane import DataPlane

LATENCY_BUCKETS_S = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
)


@dataclass(slots=True)
class Histogram:
    """A histogram with fixed upper bounds; the last count is of what lies above them all."""

    bounds: tuple[float, ...] = LATENCY_BUCKETS_S
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Give cumulative counts by upper bound, as Prometheus has them."""
        shown, running = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            shown.append((bound, float(running)))
        return shown


@dataclass(slots=True)
class Stats:
    """What happened to one model version over one protocol. Latency in seconds, bodies in bytes."""

    rows: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    statuses: Counter[int | str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)


Key = tuple[str, str, str]
"""Model, version, protocol."""


class Metrics(Collector):
    """Every count of this process, and the page that shows them."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._stats: dict[Key, Stats] = {}
        self._known: dict[tuple[Served, str], Stats] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def stats(self, model: str, version: int, protocol: str) -> Stats:
        """Give the counts of one model version over one protocol, made when first asked for."""
        key = (model, str(version) if version else "", protocol)
        found = self._stats.get(key)
        return found if found is not None else self._stats.setdefault(key, Stats())

    def of(self, served: Served, protocol: str) -> Stats:
        """Give the counts of a version; quicker than `stats`, for every request asks."""
        found = self._known.get((served, protocol))
        if found is None:
            found = self._known[served, protocol] = self.stats(served.name, served.version, protocol)
        return found

    def of_version(self, model: str, version: int) -> list[Stats]:
        """Give the counts of one version, one for each protocol that was spoken to it."""
        key = (model, str(version) if version else "")
        return [stats for known, stats in list(self._stats.items()) if known[:2] == key]

    def page(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give the metric families of this moment."""
        labels = ["model", "version", "protocol"]
        requests = CounterMetricFamily("lading_requests", "Requests answered.", labels=[*labels, "status"])
        errors = CounterMetricFamily(
            "lading_errors", "Requests refused or failed.", labels=[*labels, "reason"]
        )
        rows = CounterMetricFamily("lading_rows", "Rows predicted.", labels=labels)
        received = CounterMetricFamily("lading_received_bytes", "Bytes of request bodies.", labels=labels)
        sent = CounterMetricFamily("lading_sent_bytes", "Bytes of response bodies.", labels=labels)
        latency = HistogramMetricFamily(
            "lading_latency_seconds", "Time from request to answer.", labels=labels
        )
        for key, stats in list(self._stats.items()):
            for status, count in list(stats.statuses.items()):
                requests.add_metric([*key, str(status)], count)
            for reason, count in list(stats.errors.items()):
                errors.add_metric([*key, reason], count)
            rows.add_metric(key, stats.rows)
            received.add_metric(key, stats.received_bytes)
            sent.add_metric(key, stats.sent_bytes)
            latency.add_metric(key, stats.latency.buckets(), stats.latency.total)
        yield from (requests, errors, rows, received, sent, latency)
        yield from self._versions()

    def _versions(self) -> Iterator[Metric]:
        labels = ["model", "version", "digest", "state"]
        states = GaugeMetricFamily(
            "lading_model_state", "1 for the state that a version is in.", labels=labels
        )
        for versions in self._plane.models.values():
            for served in versions:
                for state in State:
                    known = [served.name, str(served.version), served.digest, state.word]
                    states.add_metric(known, float(served.state is state))
        yield states
