"""How slowly a client may send and read, and the readers that are watched for it.

A reader is watched from the moment its transport holds more than it takes at once, so that the others cost
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from lading.runtime.host.descriptors import connection_budget
from lading.server.inference.request_memory import RequestMemory, Reservation
from lading.server.observe.refusal_log import RefusalLog
from lading.settings import ServeSettings


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """The settings about clients: how many, ``timeout_s`` and what bytes take at ``min_rate`` a second."""

    timeout_s: float
    min_rate: int
    max_unread_bytes: int
    max_connections: int

    @classmethod
    def of(cls, settings: ServeSettings) -> ClientLimits:
        """Return the limits that `settings` state."""
        most = settings.max_connections or connection_budget()
        return cls(settings.client_timeout_s, settings.client_min_rate, settings.max_unread_bytes, most)

    def allowed_s(self, transferred_bytes: int) -> float:
        """Return how long a client may take for that many bytes."""
        return self.timeout_s + transferred_bytes / self.min_rate


class Reader(Protocol):
    """A connection whose client reads."""

    transport: Any
    client: tuple[str, int] | None


@dataclass(slots=True)
class _Reading:
    """A client that has answers to read: since when, what is left, and what it has taken by now."""

    since: float
    unread_bytes: int
    reservation: Reservation
    taken_bytes: int = 0

    def rate(self, now: float) -> float:
        return self.taken_bytes / max(now - self.since, 0.001)


class SlowReaders:
    """The connections whose answers wait in memory for their client to read them."""

    def __init__(
        self, limits: ClientLimits, refusals: RefusalLog, memory: RequestMemory | None = None
    ) -> None:
        self._memory = memory or RequestMemory()
        # Of the memory for requests, answers that nobody reads leave half to others.
        shares = (limits.max_unread_bytes, self._memory.most_bytes // 2)
        self._most_unread = min(filter(None, shares))
        self._limits = limits
        self._refusals = refusals
        self._readings: dict[Reader, _Reading] = {}

    def add(self, reader: Reader, now: float) -> None:
        """Watch a reader from `now` on."""
        size = reader.transport.get_write_buffer_size()
        self._readings[reader] = _Reading(now, size, self._memory.count(size))

    def remove(self, reader: Reader) -> None:
        """Watch a reader no longer: it has caught up, or is gone."""
        self._readings.pop(reader, None)

    def sweep(self, now: float) -> None:
        """Cut off readers that are too slow, then the slowest while all together leave too much unread."""
        unread_bytes = 0
        for reader, reading in list(self._readings.items()):
            size = reader.transport.get_write_buffer_size()
            reading.taken_bytes += max(0, reading.unread_bytes - size)
            reading.unread_bytes = size
            reading.reservation.resize(size)
            if now - reading.since > self._limits.allowed_s(reading.taken_bytes):
                self._cut_off(now, reader, "too slowly")
            else:
                unread_bytes += size
        most = self._most_unread
        if unread_bytes > most:
            by_rate = sorted(self._readings.items(), key=lambda item: item[1].rate(now))
            for reader, reading in by_rate:
                self._cut_off(now, reader, f"while clients leave more than {most} bytes unread")
                unread_bytes -= reading.unread_bytes
                if unread_bytes <= most:
                    break

    def _cut_off(self, now: float, reader: Reader, how: str) -> None:
        reading = self._readings.pop(reader)
        what = f"cut off: read {reading.taken_bytes} bytes in {now - reading.since:.0f} s"
        self._refusals.note(now, reader.client, f"{what}, {reading.unread_bytes} are left, {how}")
        reader.transport.abort()
