"""The jobs of a server: how many wait and run in the catalog, how those ended that it ran, its webhooks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from lading.jobs import Depth
from lading.server.metrics.layout import Layout
from lading.server.metrics.shared_memory import Counters, CounterStore, Name, WorkerCounters

ENDED, WEBHOOKS, DEPTH, PUBLISHED = "jobs_ended", "job_webhooks", "jobs_depth", "jobs_published"
"""Kinds of counters, then of gauges; the labels are the model and the outcome, the outcome, and the model."""

_GAUGES = Layout(waiting=1, running=1, oldest_s=1)
_WAITING, _RUNNING, _OLDEST_S = (_GAUGES.start(name) for name in ("waiting", "running", "oldest_s"))


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What all workers know of jobs; ``depths`` is what the catalog last had, None if none asks it."""

    depths: tuple[Depth, ...] | None = None
    ended: Mapping[tuple[str, str], int] = field(default_factory=dict)
    webhooks: Mapping[str, int] = field(default_factory=dict)


class JobCounts:
    """The counts and gauges of this worker; the thread of the jobs and that of the webhooks call it."""

    def __init__(self, store: CounterStore) -> None:
        self._store = store
        self._gauges: dict[str, Counters] = {}

    def count_ended(self, model: str, outcome: str) -> None:
        """Count a job that ran here, or whose servers are gone, by its outcome."""
        self._store.counters((ENDED, model, outcome), 1)[0] += 1

    def count_webhook(self, outcome: str) -> None:
        """Count an attempt to deliver a webhook."""
        self._store.counters((WEBHOOKS, outcome), 1)[0] += 1

    def publish(self, depths: Sequence[Depth] | None) -> None:
        """Let all workers see how many jobs there are; None if another worker asks the catalog."""
        self._store.counters((PUBLISHED,), 1)[0] = 0.0 if depths is None else time.time()
        by_name = {depth.name: depth for depth in depths or ()}
        for name in self._gauges.keys() | by_name.keys():
            if name not in self._gauges:
                self._gauges[name] = self._store.counters((DEPTH, name), _GAUGES.size)
            gauges, depth = self._gauges[name], by_name.get(name)
            # A model without open jobs stays as 0, so that an alert on it ends.
            gauges[_WAITING] = depth.waiting if depth is not None else 0.0
            gauges[_RUNNING] = depth.running if depth is not None else 0.0
            gauges[_OLDEST_S] = depth.oldest_s if depth is not None else 0.0


def job_status(workers: Iterable[WorkerCounters], sums: Mapping[Name, Sequence[float]]) -> JobStatus:
    """Return what the workers have published and counted; `sums` are the counters of all of them."""
    # Of several that have published, as when the first has just ended, the last one is as good.
    depths: tuple[Depth, ...] | None = None
    for worker in workers:
        if worker.pid and worker.counters.get((PUBLISHED,), (0.0,))[0]:
            depths = tuple(
                Depth(
                    name=name[1],
                    waiting=int(gauges[_WAITING]),
                    running=int(gauges[_RUNNING]),
                    oldest_s=gauges[_OLDEST_S],
                )
                for name, gauges in sorted(worker.counters.items())
                if name[0] == DEPTH
            )
    ended = {(name[1], name[2]): int(counts[0]) for name, counts in sums.items() if name[0] == ENDED}
    webhooks = {name[1]: int(counts[0]) for name, counts in sums.items() if name[0] == WEBHOOKS}
    return JobStatus(depths, ended, webhooks)


def job_families(status: JobStatus) -> Iterator[Metric]:
    """Return the metrics of jobs; without jobs there are none."""
    open_jobs = GaugeMetricFamily(
        "lading_jobs", "Jobs in the catalog that wait or run, over all servers.", labels=["model", "state"]
    )
    oldest = GaugeMetricFamily(
        "lading_jobs_oldest_seconds", "How long the oldest job that waits has waited.", labels=["model"]
    )
    ended = CounterMetricFamily(
        "lading_jobs_ended",
        "Jobs that ended here, by outcome; `lost` are those that another server had taken.",
        labels=["model", "outcome"],
    )
    webhooks = CounterMetricFamily(
        "lading_job_webhooks", "Attempts to deliver webhooks of jobs, by outcome.", labels=["outcome"]
    )
    for depth in status.depths or ():
        open_jobs.add_metric([depth.name, "waiting"], depth.waiting)
        open_jobs.add_metric([depth.name, "running"], depth.running)
        oldest.add_metric([depth.name], depth.oldest_s)
    for labels, count in sorted(status.ended.items()):
        ended.add_metric(labels, count)
    for outcome, count in sorted(status.webhooks.items()):
        webhooks.add_metric([outcome], count)
    yield from (open_jobs, oldest, ended, webhooks)
