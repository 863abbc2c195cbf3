"""Streams of requests: each message is a request of its own, and is answered before the next is read.

Each stream occupies a thread for as long as it is open, so their number is limited, and those that wait for
their client are ended when the server stops.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import grpc

from lading.server.grpc.calls import CallExchange, CallRoute


class StreamedExchange(CallExchange):
    """One message of a stream on its way."""

    def patience(self) -> float | None:
        """Return how many seconds the client waits; the stream itself notices that its client has gone."""
        remaining: float | None = self.context.time_remaining()
        return remaining


class Stream:
    """One open stream; ``current`` is the message that is being answered, if one is."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._stopping = False
        self._count = 0
        self._id = next((value for key, value in context.invocation_metadata() if key == "x-request-id"), "")
        self.current: StreamedExchange | None = None
        # Once, not for each message: grpcio keeps every callback until the stream ends.
        if not context.add_callback(self._client_gone):
            self._client_gone()

    def calls(self, route: CallRoute, requests: Iterator[bytes]) -> Iterator[StreamedExchange]:
        """Make an exchange of each message, until the client has no more or the server stops."""
        for data in requests:
            call = StreamedExchange(route, self._context, data)
            if not self._goes_on(call):
                return
            yield call
            call.job = None  # A job and its call name each other: see `GrpcServer`.
            if not self._goes_on(None):
                return

    def next_request_id(self) -> bytes | None:
        """Return the id of the next message, from the caller's own id of the stream if it has one."""
        if not self._id:
            return None
        self._count += 1
        return f"{self._id}-{self._count}".encode("latin-1", "replace")

    def facts(self, call: CallExchange) -> dict[str, str]:
        """Return what an answer states about itself: a stream has trailing metadata only at its end."""
        model = call.job.served.loaded if call.job is not None else None
        metadata = {str(key): str(value) for key, value in model.metadata} if model is not None else {}
        return {**metadata, "x-request-id": call.request_id.decode("latin-1")}

    def stop(self) -> None:
        """End the stream: now if it waits for its client, else after the message that it answers."""
        with self._lock:
            self._stopping = True
            if self.current is None:
                self._context.cancel()

    def _goes_on(self, current: StreamedExchange | None) -> bool:
        """Note what is being answered, unless the stream is to end; return whether it goes on."""
        with self._lock:
            self.current = None if self._stopping else current
            return not self._stopping

    def _client_gone(self) -> None:
        call = self.current  # Read once: the message may be answered at this moment in its own thread.
        job = call.job if call is not None else None
        if job is not None:
            job.cancel()


class Streams:
    """The open streams, at most `most`; more are refused with RESOURCE_EXHAUSTED."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._open: set[Stream] = set()
        self._stopped = False

    @contextlib.contextmanager
    def opened(self, context: grpc.ServicerContext) -> Iterator[Stream]:
        """Open a stream, or end its call with the status of why not."""
        stream = Stream(context)
        with self._lock:
            is_full, stopped = len(self._open) >= self._most, self._stopped
            if not is_full and not stopped:
                self._open.add(stream)
        if stopped:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
        if is_full:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._most} streams are open")
        try:
            yield stream
        finally:
            with self._lock:
                self._open.discard(stream)

    def stop(self) -> None:
        """Open no more streams, and end those that are open."""
        with self._lock:
            self._stopped = True
            streams = list(self._open)
        for stream in streams:
            stream.stop()
