"""Streams of requests: each message is a request of its own, and is answered before the next is read.

A stream occupies a thread while one of its messages is answered, and none while it waits for its client.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from lading.errors import LadingError
from lading.server.grpc import details_of, status_of
from lading.server.grpc.calls import CallExchange
from lading.server.grpc.executor import CallThreads
from lading.server.grpc.open_calls import OpenCalls
from lading.server.grpc.server_call import ServerCall


class StreamedExchange(CallExchange):
    """One message of a stream on its way."""

    def patience(self) -> float | None:
        """Return how many seconds the client waits; the stream itself notices that its client has gone."""
        remaining: float | None = self.context.time_remaining()
        return remaining


class Stream:
    """One open stream; ``current`` is the message that is being answered, if one is."""

    def __init__(self, call: ServerCall) -> None:
        self.call = call
        self.current: StreamedExchange | None = None
        self._count = 0
        metadata = call.context.invocation_metadata()
        self._id = next((value for key, value in metadata if key == "x-request-id"), "")
        # Once, not for each message: grpcio keeps every callback until the stream ends.
        if not call.context.add_callback(self._client_gone):
            self._client_gone()

    @contextlib.contextmanager
    def answering(self, exchange: StreamedExchange) -> Iterator[StreamedExchange]:
        """Know which message is being answered, for a client that goes meanwhile."""
        self.current = exchange
        try:
            yield exchange
        finally:
            self.current = None
            exchange.job = None  # A job and its call name each other: see `GrpcServer`.

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

    def _client_gone(self) -> None:
        call = self.current  # Read once: the message may be answered at this moment in its own thread.
        job = call.job if call is not None else None
        if job is not None:
            job.cancel()


class Streams:
    """Answers streams, message by message, until their clients have no more or the server stops."""

    def __init__(self, threads: CallThreads, calls: OpenCalls) -> None:
        self._threads = threads
        self._calls = calls
        self._stopped = False

    def open(self, call: ServerCall, answer: Callable[[bytes], bytes]) -> None:
        """Answer each message of a call by `answer`, in a thread; an error that it raises ends the stream."""

        def received(call: ServerCall, data: bytes | None) -> None:
            if data is None:
                call.finish(self._calls.reading)
            elif not self._threads.submit(call, answered, data):
                self._calls.end_unqueued(call)

        def answered(call: ServerCall, data: bytes) -> None:
            try:
                framed = answer(data)
            except LadingError as error:
                call.finish(self._calls.reading, code=status_of(error), details=details_of(error))
            else:
                call.send(framed, sent, self._calls.reading)

        def sent(call: ServerCall) -> None:
            if self._stopped:
                call.finish(self._calls.reading)
            else:
                call.receive(received, self._calls.next_message)

        self._calls.receive(call, received)

    def stop(self) -> None:
        """End each stream after the message that it answers."""
        self._stopped = True
