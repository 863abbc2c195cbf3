"""What sees every request that is over in a serving process, as its settings ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from lading.server.exchange import ExchangeObserver
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane
from lading.server.metrics import count_spans
from lading.server.metrics.shared_memory import CounterStore
from lading.server.observe.access_log import AccessLog
from lading.settings import ServeSettings


def request_observers(
    plane: DataPlane, settings: ServeSettings, replica: str, started: ExitStack, store: CounterStore
) -> Iterator[ExchangeObserver]:
    """Iterate over the observers in the order in which they see a request; `started` closes them.

    Without any a request pays nothing. Raises `ExtraMissing` if traces are asked for and cannot be made.
    """
    callers = Callers(settings.trusted_proxies)
    if settings.traces:
        # Imported here: the extra brings OpenTelemetry, which other servers need not have.
        from lading.server.observe.traces import Traces

        traces = Traces(plane, callers, settings, replica, partial(count_spans, store))
        started.callback(traces.close)
        yield traces.observe  # First, so that the access log knows the traces that begin here.
    if settings.access_log == "on":
        access_log = AccessLog(plane, callers, settings.log_format)
        started.callback(access_log.close)
        yield access_log.observe
