"""What sees every request that is over in a serving process, as its settings ask for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlsplit

from lading.errors import InvalidSetting, missing_extra
from lading.server.exchange import ExchangeObserver
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane
from lading.server.metrics import count_spans
from lading.server.metrics.shared_memory import CounterStore
from lading.server.observe.access_log import AccessLog
from lading.settings import ServeSettings

_FROM_ENVIRONMENT = "otlp"
_TRACES_PATH = "/v1/traces"
_LIBRARIES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def check_traces(settings: ServeSettings) -> None:
    """Raise `InvalidSetting` for a collector that is no address, `ExtraMissing` if no span can be made here.

    For the process that starts workers: what fails in a worker would be tried again and again.
    """
    if not settings.traces:
        return
    endpoint_of(settings.traces)
    for name in _LIBRARIES:
        try:
            is_missing = importlib.util.find_spec(name) is None
        except ModuleNotFoundError:  # Of a package above it.
            is_missing = True
        if is_missing:
            raise missing_extra("`--traces`", "otel", ModuleNotFoundError(name=name))


def endpoint_of(traces: str) -> str | None:
    """Return the address that spans go to, None if OpenTelemetry's variables name it; `InvalidSetting`."""
    if traces == _FROM_ENVIRONMENT:
        return None
    url = urlsplit(traces)
    if url.scheme not in ("http", "https") or not url.netloc:
        expected = "the URL of an OTLP/HTTP collector such as http://127.0.0.1:4318, or `otlp`"
        raise InvalidSetting("`LADING_TRACES`", expected=expected, found=f"`{traces}`")
    path = url.path.rstrip("/")
    return url._replace(path=path if path.endswith(_TRACES_PATH) else path + _TRACES_PATH).geturl()


def request_observers(
    plane: DataPlane, settings: ServeSettings, replica: str, started: ExitStack, store: CounterStore
) -> Iterator[ExchangeObserver]:
    """Iterate over the observers in the order in which they see a request; `started` closes them.

    Without any a request pays nothing. Raises what `check_traces` raises.
    """
    callers = Callers(settings.trusted_proxies)
    if settings.traces:
        # Imported here: the extra brings OpenTelemetry, which other servers need not have.
        from lading.server.observe.traces import Traces

        endpoint = endpoint_of(settings.traces)
        count = partial(count_spans, store)
        traces = Traces(plane, callers, endpoint, settings.traces_share, replica, count)
        started.callback(traces.close)
        yield traces.observe  # First, so that the access log knows the traces that begin here.
    if settings.access_log == "on":
        access_log = AccessLog(plane, callers, settings.log_format)
        started.callback(access_log.close)
        yield access_log.observe
