"""One connection besides its requests: turns, time limits, refusals, and how it ends.

    data_received ─▶ Stage.run ─▶ parse ─▶ parse_now ─▶ feed (`protocol`)
                        ▲                      │ more requests than one turn takes
                        └────── backlog ◀──────┘

Reads no request; `protocol` does. Parsing, keep-alive and flow control stay uvicorn's.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, ClassVar

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lading.server.http.refusals import Refusal
from lading.server.http.stage import Stage

_MOST_A_TURN_BYTES = 2048
"""Most bytes of pipelined requests that are parsed at once: the rest waits until others had their turn."""
_LINGER_S = 2.0
"""How long what follows a refusal is read and dropped, so that a client that is still sending sees it."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CUT_SHORT = Refusal(400, "request: expected its rest, found the end of the connection")


class Flow(FlowControl):
    """uvicorn's flow control; while it is ``held``, nobody resumes reading."""

    held = False

    def hold(self) -> None:
        """Read no more until what was read has had its turn."""
        self.pause_reading()
        self.held = True

    def resume_reading(self) -> None:
        """Read on, unless that is held."""
        if not self.held:
            super().resume_reading()


class HttpConnection(HttpToolsProtocol):
    """A connection that shares the event loop, and its memory, with others."""

    stage: ClassVar[Stage]
    cycle: Any  # uvicorn's cycle of a response, or a pending answer of ours.
    flow: Flow

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.stage.attach(self.loop)
        # Times are the stage's; 0 while the state that they time does not hold.
        self._idle_since = self.stage.now
        self._receiving_since = 0.0
        self._received_bytes = 0  # Of the request that is being received.
        self._body_left = 0  # Of the request that the parser reads; 0 if it does not say its length.
        self._message_ended = False
        self._backlog: deque[bytes] = deque()
        self._has_turn = False  # In the stage's next one: twice would be twice as much of what waits.
        self._half_closed = False
        self._is_refused = False
        self._answered: Any = None  # uvicorn's cycle that has its task; `cycle` is the one that came last.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, with a flow control that can be held; one too many makes others go that are idle."""
        super().connection_made(transport)
        self.flow = Flow(transport)
        if len(self.connections) > self.stage.limits.max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client, which has gone."""
        if self._answered is not None:  # uvicorn tells only the cycle that came last.
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)
        self.stage.slow_readers.remove(self)

    def _make_room(self) -> None:
        """Cut off a quarter of all connections: those that have waited longest for their clients."""
        waiting = [
            connection
            for connection in self.connections
            if isinstance(connection, HttpConnection) and connection.waits_since
        ]
        waiting.sort(key=lambda connection: connection.waits_since)
        # All others are being answered: then it is the new one that goes.
        for connection in waiting[: max(1, len(self.connections) // 4)] or [self]:
            what = f"cut off: idle, and more than {self.stage.limits.max_connections} connections"
            self.stage.refusals.note(self.stage.now, connection.client, what)
            connection.transport.abort()

    @property
    def waits_since(self) -> float:
        """Since when the client has to send something; 0 while it is being answered."""
        return 0.0 if self._is_answering else self._receiving_since or self._idle_since

    # Turns.

    def data_received(self, data: bytes) -> None:
        """Leave `data` to the stage."""
        self.stage.receive(self, data)

    def parse(self, data: bytes) -> None:
        """Parse `data`, or take what waits if there is none."""
        raise NotImplementedError

    def feed(self, data: bytes) -> bytes:
        """Pass `data` to the parser; return what has to be parsed once more."""
        raise NotImplementedError

    def send(self) -> None:
        """Write the answer that is kept."""
        raise NotImplementedError

    def parse_now(self, data: bytes) -> None:
        """Parse `data`: if it is long, up to the piece in which a request ends."""
        if len(data) > _MOST_A_TURN_BYTES:
            self._message_ended, start = False, 0
            while start < len(data):
                if self._message_ended:
                    self._backlog.appendleft(data[start:])
                    self.flow.hold()
                    self._go_on()
                    return
                end = start + max(_MOST_A_TURN_BYTES, self._body_left)
                self._feed_all(data[start:end])
                start = end
        else:
            self._feed_all(data)

    def _feed_all(self, data: bytes) -> None:
        while data and self.parser is not None and not self.transport.is_closing():
            data = self.feed(data)

    def parse_backlog(self, data: bytes) -> None:
        """Keep `data` behind what waits already; without any, it is the turn of what waits."""
        if data:
            self._backlog.append(data)
            return
        self._has_turn = False
        if self.flow.write_paused or (self._is_answering and not self._receiving_since):
            return  # Until that answer is written, or read.
        self.parse_now(self._backlog.popleft())
        if self._backlog:
            self._go_on()
            return
        self.flow.held = False
        if self._receiving_since or not self._is_answering:
            self.flow.resume_reading()
        if self._half_closed and not self._end_after_answers(_CUT_SHORT):
            self.transport.close()

    def _go_on(self) -> None:
        """Have the stage ask for what waits in its next turn."""
        if self._backlog and not self._has_turn:
            self._has_turn = True
            self.stage.receive(self, b"")

    def on_headers_complete(self) -> None:
        """Start uvicorn's task for a request, or have it wait behind those before it."""
        super().on_headers_complete()
        if not self.pipeline:
            self._answered = self.cycle

    def on_response_complete(self) -> None:
        """Go on with what waits behind an answer."""
        self._idle_since = self.stage.now
        self._answered = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        self._go_on()

    # Readers.

    def pause_writing(self) -> None:
        """Watch a client that reads more slowly than it is answered."""
        super().pause_writing()
        self.stage.slow_readers.add(self, self.stage.now)

    def resume_writing(self) -> None:
        """Go on with a client that has caught up."""
        super().resume_writing()
        self.stage.slow_readers.remove(self)
        self._go_on()

    # The end of a connection.

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio takes a bool
        """Answer what came before the end of the client's side; return whether answers are still to come."""
        self.stage.run()
        if self.scheme == "https":  # TLS has no half of a connection.
            return False
        self._half_closed = bool(self._backlog) or self._end_after_answers(_CUT_SHORT, probes=True)
        return self._half_closed

    def refuse(self, refusal: Refusal) -> None:
        """Refuse what the client sends, after the answers to what came before it, and close."""
        self.stage.run_jobs()
        self.stage.refusals.note(self.stage.now, self.client, f"{refusal.status}, {refusal.sentence}")
        cycle = self.cycle
        if self._is_answering and self._end_after_answers(refusal):
            self.drop_the_rest()
            return
        if cycle is not None and not cycle.response_complete and cycle.response_started:
            self.transport.close()
            return
        self.drop_the_rest()
        self.stage.app.count_unread(refusal.status)
        self.transport.write(refusal.answer(self.server_state.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def drop_the_rest(self) -> None:
        """Read on without parsing."""
        self.parser = None  # type: ignore[assignment]  # As uvicorn does once the connection is lost.
        self._is_refused = True
        self._backlog.clear()
        self._receiving_since = self.stage.now
        self.flow.held = False
        self.flow.resume_reading()

    def _end_after_answers(self, refusal: Refusal, *, probes: bool = False) -> bool:
        """Have the connection close after the answers under way; return False if there are none.

        An unfinished request behind them gets `refusal`; one that is not behind others is dropped.
        """
        cycle = self.cycle
        if not self._is_answering:
            return False
        if cycle.more_body:
            if not self.pipeline:
                self.cycle = None
                cycle.disconnected = True
                cycle.message_event.set()
                return False
            self.pipeline[0] = (cycle, refusal)  # type: ignore[assignment]  # an ASGI application
        if probes and cycle.keep_alive and not (self.pipeline or cycle.response_started):
            # To a client that has gone, and not only ended its side, this gets an error back.
            self.transport.write(_CONTINUE)
        cycle.keep_alive = False
        return True

    def sweep(self, now: float) -> None:
        """End what lasts too long: an idle connection, half a request, answers that nobody waits for."""
        if self._half_closed:
            self.abort_if_gone()
        elif self._receiving_since:
            self._sweep_receiving(now)
        elif self._idle_since and now - self._idle_since > self.timeout_keep_alive and not self._is_answering:
            if not self.transport.is_closing():
                self.timeout_keep_alive_handler()
            elif now - self._idle_since > self.timeout_keep_alive + self.stage.limits.timeout_s:
                self.transport.abort()  # It was closed, and the client does not read the last answers.

    def _sweep_receiving(self, now: float) -> None:
        waited_s, limits = now - self._receiving_since, self.stage.limits
        if self._is_refused:
            if waited_s > _LINGER_S and not self._is_answering:
                self.transport.close()
        elif self.flow.read_paused:  # The client waits for us.
            self._receiving_since, self._received_bytes = now, 0
        elif waited_s > limits.allowed_s(self._received_bytes):
            expected = f"all of it within {limits.timeout_s:g} s, or {limits.min_rate} bytes a second"
            size = self._received_bytes
            self.refuse(Refusal(408, f"request: expected {expected}, found {size} bytes in {waited_s:.0f} s"))

    def abort_if_gone(self) -> None:
        """Abort the connection if its client has not only ended its side but closed it."""
        connection = self.transport.get_extra_info("socket")
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()

    @property
    def _is_answering(self) -> bool:
        """Whether an answer is under way that what comes next has to wait for."""
        return self.cycle is not None and not self.cycle.response_complete
