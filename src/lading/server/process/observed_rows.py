"""What looks at the rows of answered requests: input checks, live columns, the prediction log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from lading.server.exchange import ExchangeObserver
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.traffic import Traffic
from lading.server.metrics import Metrics
from lading.server.metrics.shared_memory import CounterStore
from lading.server.observe.columns import ColumnWindows
from lading.server.observe.input_checks import InputChecks
from lading.server.observe.prediction_log import PredictionLog
from lading.server.observe.recorder import Recorder, RowConsumer
from lading.server.process.compose import input_checks
from lading.server.process.log_writer import logged_predictions
from lading.server.process.worker import WorkerContext
from lading.settings import ServeSettings

_TOO_MANY_LARGE = "too_many_large"


@dataclass(frozen=True)
class ObservedRows:
    """What one process looks at; ``recorder`` collects the requests for all of it.

    ``columns`` and ``predictions`` are None if live columns are not counted, and no prediction is logged.
    """

    recorder: Recorder
    checks: InputChecks
    columns: ColumnWindows | None
    predictions: PredictionLog | None

    @property
    def observers(self) -> tuple[ExchangeObserver, ...]:
        """Return what has to see every request that is over: nothing, if nothing is logged."""
        return (self.recorder.observe,) if self.recorder.wants_answers else ()

    def start(self, metrics: Metrics) -> None:
        """Begin to log predictions; what is logged, and what nothing looks at, is counted in `metrics`."""
        self.recorder.on_unseen = lambda served, rows: metrics.count_unseen(served.name, served.version, rows)
        self.recorder.on_unlogged = lambda _served, rows: metrics.count_log_dropped(_TOO_MANY_LARGE, rows)
        if self.predictions is not None:
            self.predictions.start(metrics)


def _traffic(plane: DataPlane, name: str) -> Traffic | None:
    """Return how the release of a model shares its requests now: the mapping changes with every release."""
    return plane.traffic.get(name)


@contextmanager
def observed_rows(
    settings: ServeSettings,
    plane: DataPlane,
    registry_url: str | None,
    worker: WorkerContext | None,
    replica: str,
    counters: CounterStore,
) -> Iterator[ObservedRows]:
    """Set up what looks at rows, as `settings` ask; at the end, what was collected is shown and written."""
    columns = ColumnWindows(replica) if settings.drift == "on" else None
    checks = input_checks(settings, counters, columns)
    with logged_predictions(settings, registry_url, worker, plane, replica) as predictions:
        rows: list[RowConsumer] = [checks.count] if checks.counts else []
        if columns is not None:
            rows.append(columns.add)
        answers = [predictions] if predictions is not None else []
        with closing(Recorder(rows, answers, partial(_traffic, plane))) as recorder:
            plane.show_run = recorder.show_run if recorder.wants_runs else None
            yield ObservedRows(recorder, checks, columns, predictions)
