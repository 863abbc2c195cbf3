"""What the monitor knows, as gauges that all workers see: of the worker that drives it, by its last turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily, Metric

from lading.server.metrics.shared_memory import Counters, CounterStore, Name, WorkerCounters

TURN, DRIFT, ALARMS = "monitor_turn", "monitor_drift", "monitor_alarms"
"""Kinds of gauges; the labels of the last two are the model, and a column or a kind of alarm."""

MOST_COLUMNS = 50
"""Columns of a model that have a gauge: those that had drifted most when they were first published."""

_NONE = -1.0  # What a gauge has that is not shown any more: slots cannot be freed.


@dataclass(frozen=True, slots=True)
class MonitorStatus:
    """What the driver of the monitor last published: ``drift`` is the PSI by model and column."""

    turn_at: float
    drift: Mapping[tuple[str, str], float] = field(default_factory=dict)
    alarms: Mapping[tuple[str, str], int] = field(default_factory=dict)


class MonitorGauges:
    """The gauges of this worker. Published in the driver's thread."""

    def __init__(self, store: CounterStore) -> None:
        self._store = store
        self._gauges: dict[Name, Counters] = {}
        self._columns: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def publish(
        self,
        leading: bool,
        drift: Mapping[str, Mapping[str, float]],
        alarms: Mapping[tuple[str, str], int],
    ) -> None:
        """Let all workers see the PSI of columns by model, and how many alarms are open by model and kind."""
        values: dict[Name, float] = {(TURN,): time.time() if leading else 0.0}
        for model, columns in drift.items():
            kept = self._columns.setdefault(model, set())
            for column in sorted(columns, key=lambda name: -columns[name]):
                if column in kept or len(kept) < MOST_COLUMNS:
                    kept.add(column)
                    values[DRIFT, model, column] = columns[column]
        values |= {(ALARMS, *labels): float(count) for labels, count in alarms.items()}
        with self._lock:
            for name in self._gauges.keys() - values.keys():
                # Alarms that are over stay as 0, so that an alert on them ends.
                self._gauges[name][0] = 0.0 if name[0] == ALARMS and leading else _NONE
            for name, value in values.items():
                if name not in self._gauges:
                    self._gauges[name] = self._store.counters(name, 1)
                self._gauges[name][0] = value


def monitor_status(workers: Iterable[WorkerCounters]) -> MonitorStatus | None:
    """Return what the driving worker has published, or None if none of these drives."""
    for worker in workers:
        turn_at = worker.counters.get((TURN,), (0.0,))[0] if worker.pid else 0.0
        if turn_at > 0:
            gauges = {name: values[0] for name, values in worker.counters.items() if values[0] >= 0}
            return MonitorStatus(
                turn_at,
                {(name[1], name[2]): value for name, value in gauges.items() if name[0] == DRIFT},
                {(name[1], name[2]): int(value) for name, value in gauges.items() if name[0] == ALARMS},
            )
    return None


def monitor_families(status: MonitorStatus | None) -> Iterator[Metric]:
    """Return the metrics of the monitor; only whether it is driven from here, if it is not."""
    driving = GaugeMetricFamily("lading_monitor_driving", "1 if this server tests the live columns.")
    driving.add_metric([], status is not None)
    turn = GaugeMetricFamily(
        "lading_monitor_turn_timestamp_seconds", "When the driver of the monitor last took a turn."
    )
    drift = GaugeMetricFamily(
        "lading_monitor_drift_psi",
        "Population stability index of a column against its reference, over about an hour.",
        labels=["model", "column"],
    )
    alarms = GaugeMetricFamily(
        "lading_monitor_alarms", "Alarms that are open, by kind.", labels=["model", "kind"]
    )
    if status is not None:
        turn.add_metric([], status.turn_at)
        for labels, value in sorted(status.drift.items()):
            drift.add_metric(labels, value)
        for labels, count in sorted(status.alarms.items()):
            alarms.add_metric(labels, count)
    yield from (driving, turn, drift, alarms)
