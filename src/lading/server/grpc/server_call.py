"""One call of grpcio that takes no thread while it waits for its client.

grpcio's own way is to give each call a thread, which then waits for the message: a client that never sends
one keeps the thread. Here a call asks for its next event, and is called back in grpcio's one thread of events
when that has come. Whatever is called back must not wait.

grpcio has no public way to do so. What is used of it besides is listed in a test, which fails if a release of
grpcio no longer has it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
from grpc._cython import cygrpc
from grpc._server import _Context, _is_rpc_state_active, _possibly_finish_call, _status

log = logging.getLogger("lading.server")

_RECEIVE, _SEND = "receive", "send"


class Wait(NamedTuple):
    """What a call waits for its client to do: how long it may, and in which words that reads."""

    what: str
    limit_s: float


class ServerCall:
    """A call: its ``context`` is what grpcio's handlers get.

    ``wait`` is what it waits for the client to do, since ``wait_since``; None while the server works.
    ``has_sent`` tells whether a message of the client has come.
    """

    __slots__ = ("__weakref__", "_event", "_state", "context", "has_sent", "wait", "wait_since")

    def __init__(self, event: Any, state: Any) -> None:
        self._event = event
        self._state = state
        self.context: grpc.ServicerContext = _Context(event, state, None)
        self.has_sent = False
        self.wait: Wait | None = None
        self.wait_since = 0.0

    def receive(self, then: Callable[[ServerCall, bytes | None], None], wait: Wait) -> None:
        """Have `then` called with the next message, or with None if the client sends no more."""

        def received(event: Any) -> Any:
            over = self._end_of(_RECEIVE, wait)
            data = event.batch_operations[0].message()
            if data is not None:
                self.has_sent = True
            self._call(then, data)
            return over

        self._start((cygrpc.ReceiveMessageOperation(0),), received, _RECEIVE, wait)

    def send(self, data: bytes, then: Callable[[ServerCall], None], wait: Wait) -> None:
        """Send one message of a stream; have `then` called once the client has taken it."""

        def sent(_event: Any) -> Any:
            over = self._end_of(_SEND, wait)
            self._call(then)
            return over

        with self._state.condition:
            if self._state.initial_metadata_allowed and self.context.is_active():
                self.context.send_initial_metadata(())
            self._start((cygrpc.SendMessageOperation(data, 0),), sent, _SEND, wait)

    def finish(
        self,
        wait: Wait,
        answer: bytes | None = None,
        code: grpc.StatusCode = grpc.StatusCode.OK,
        details: str = "",
    ) -> bool:
        """End the call with its status, and with the `answer` if it is unary.

        Return whether it was still open; `wait` is how long the client may take to read it.
        """
        state = self._state
        with state.condition:
            if not _is_rpc_state_active(state):
                return False
            if code is not grpc.StatusCode.OK:
                self.context.set_code(code)
                self.context.set_details(details)
            self.wait, self.wait_since = wait, time.monotonic()
            _status(self._event, state, answer)
        return True

    def _start(self, operations: tuple[Any, ...], then: Callable[[Any], Any], token: str, wait: Wait) -> None:
        state = self._state
        with state.condition:
            # A call that has ended gets no more events; what was added to its context is called back.
            if _is_rpc_state_active(state):
                self.wait, self.wait_since = wait, time.monotonic()
                self._event.call.start_server_batch(operations, then)
                state.due.add(token)

    def _end_of(self, token: str, wait: Wait) -> Any:
        # Before what follows, which may start the same again.
        with self._state.condition:
            if self.wait is wait:
                self.wait = None
            return _possibly_finish_call(self._state, token)

    def _call(self, then: Callable[..., None], *arguments: Any) -> None:
        try:
            then(self, *arguments)
        except Exception:
            # Raised further it would end the thread of events, and gRPC with it.
            log.exception("a gRPC call failed outside its method")
            self.context.cancel()


class Dispatcher:
    """Stands where grpcio expects an executor: begins calls, at once and in no thread of their own."""

    def submit(
        self, _run: Any, _work: Any, event: Any, state: Any, begin: Callable[[ServerCall], None], *_rest: Any
    ) -> None:
        """Begin a call, whose handler is `begin`."""
        call = ServerCall(event, state)
        try:
            begin(call)
        except Exception:
            log.exception("a gRPC call failed outside its method")
            call.context.cancel()


def handlers(service: str, methods: dict[str, Callable[[ServerCall], None]]) -> grpc.GenericRpcHandler:
    """Return the methods of a service as grpcio takes them, each by what begins a call."""
    # All are registered as streams: only what `begin` does makes a method unary.
    made = {name: grpc.stream_stream_rpc_method_handler(begin) for name, begin in methods.items()}
    return grpc.method_handlers_generic_handler(service, made)
