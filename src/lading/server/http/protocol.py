"""The fast lane: hot routes answered inside uvicorn's protocol class, without a scope or a task.

Everything that is not plainly a hot request (other routes, `Expect`, chunked bodies, upgrades,
what is pipelined behind an unfinished answer, a client that does not read) goes the way uvicorn made for
it, to the same application under ASGI. Parsing, keep-alive, flow control and shutdown stay uvicorn's. What
the parser made of a head is kept: a client's next request mostly has the same, byte for byte.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lading.server.http.exchange import App
from lading.server.http.messages import JSON, Request, Response
from lading.server.http.stage import END_OF_HEAD, LONGEST_HEAD, Stage
from lading.server.inference.job import Job

_MOST_HEAD_BYTES = 64 * 1024
"""Most that a request line and its headers may have: the parser keeps all of them."""


class _Never:
    """Stands where uvicorn wakes a task that is not there."""

    def set(self) -> None:
        pass


class PendingAnswer:
    """A hot request whose job is under way; to uvicorn it looks like the cycle of an unfinished response."""

    __slots__ = ("_connection", "disconnected", "keep_alive", "message_event", "request", "response_complete")

    def __init__(self, connection: FastLane, request: Request, *, keep_alive: bool) -> None:
        self._connection = connection
        self.request = request
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _Never()

    def done(self) -> None:
        """Write the answer, if the client still waits for it."""
        if not self.response_complete:
            self.response_complete = True
            self._connection.answer_later(self)

    def give_up(self, app: App) -> None:
        """Answer without the job, which has taken too long."""
        assert self.request.job is not None
        app.give_up(self.request.job)
        self.done()


class FastLane(HttpToolsProtocol):
    """One connection. Make a subclass with `lane` set (`fast_lane`) for uvicorn's ``http`` setting."""

    lane: ClassVar[Stage]
    cycle: Any  # uvicorn's cycle of a response, or a `PendingAnswer`.

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.lane.attach(self.loop)
        self._hot: Request | None = None
        self._pending: PendingAnswer | None = None
        self._closing = False
        self._parts: list[bytes | memoryview] = []
        self._missing = 0
        self._begun = b""
        self._received = 0
        self._head_bytes = 0
        self._in_head = False
        self._declined = b""
        self._gathered = False
        self._keeps = True
        self._answer = b""
        self._last = False
        self._names: dict[bytes, bytes] = {}
        self._whole: Request | None = None
        self._idle_since = self.lane.now
        self._receiving_since = 0.0

    # What the transport calls, and the turn after it.

    def data_received(self, data: bytes) -> None:
        """Leave `data` to the turn."""
        self.lane.receive(self, data)

    def eof_received(self) -> None:
        """Answer what came before the end: after it the transport closes."""
        self.lane.turn()

    def parse(self, data: bytes) -> None:
        """Take `data` apart; a whole hot request in it is answered, or its job is started."""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        if self._missing:
            data = self._collected(data)
        elif not self._receiving_since and self._begin_known(data):
            return
        while data and self.parser is not None and not self.transport.is_closing():
            data = self._fed(data)

    def _begin_known(self, data: bytes) -> bool:
        """Begin a request with a head that the parser has read before; return whether it was one.

        Most clients send the same few. The parser is passed by: it is between two requests before and after.
        """
        at = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        head = self.lane.heads.get(data[:at]) if at <= LONGEST_HEAD else None
        if head is None:
            return False
        missing = at + head.body_bytes - len(data)
        if missing < 0:
            return False
        if self._gathered:
            self.lane.settle()
        cycle = self.cycle  # `_answering`, in place: every request passes here.
        if cycle is not None and not cycle.response_complete:
            return False
        if self.flow.write_paused or self.transport.is_closing():
            return False
        method, path, route, params = head.hot
        if missing:
            self._hot = Request(method, path, b"", head.headers, b"", params, route)
            self._missing = missing
            self._parts.append(memoryview(data)[at:])
            self._idle_since, self._receiving_since = 0.0, self.lane.now
            return True
        self._keeps = not self._closing
        self._begin(Request(method, path, data[at:], head.headers, b"", params, route))
        return True

    def _collected(self, data: bytes) -> bytes:
        """Take what is missing of a known request's body, and begin it when it is whole; return the rest."""
        missing, request = self._missing, self._hot
        if request is None or self.transport.is_closing():
            return b""
        self._parts.append(data if len(data) <= missing else data[:missing])
        if len(data) < missing:
            self._missing -= len(data)
            return b""
        self._missing, self._receiving_since, self._hot = 0, 0.0, None
        request.body = self._whole_body()
        self._keeps = not self._closing
        self._begin(request)
        return data[missing:]

    def _whole_body(self) -> bytes:
        parts = self._parts
        body = parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)
        parts.clear()
        return body

    def _fed(self, data: bytes) -> bytes:
        """Return `data` to the parser; what comes back is to be read once more."""
        if not self._receiving_since:  # Between two requests.
            self._begun, self._received = data[:LONGEST_HEAD], 0
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            ours = isinstance(error, httptools.HttpParserCallbackError)
            if ours and not isinstance(error.__context__, httptools.HttpParserInvalidURLError):
                raise  # A defect of ours, and not of the client.
            self.logger.warning("a client sent what is not HTTP")
            self.send_400_response("Invalid HTTP request received.")
            return b""
        except httptools.HttpParserUpgrade as upgrade:
            head, self._declined = self._declined, b""
            return head + data[upgrade.args[0] :] if head else b""
        if self._in_head:
            # What it began in may be the end of another's body.
            self._head_bytes = 0 if self._head_bytes < 0 else self._head_bytes + len(data)
            if self._head_bytes > _MOST_HEAD_BYTES:
                self._refuse_head()
        whole, self._whole = self._whole, None
        if whole is not None and self._keeps:
            self.lane.remember(self._begun, self._received, whole)
            self._begun = b""
        return b""

    def send(self) -> None:
        """Write the answer that is kept."""
        answer, self._answer = self._answer, b""
        if not self.transport.is_closing():
            self.transport.write(answer)
            if self._last:
                self.transport.close()

    # The parser's callbacks, in their order.

    def on_message_begin(self) -> None:
        """Note the beginning; uvicorn's scope is built only if the request turns out not to be hot."""
        self.url = b""
        self._names = {}
        self._hot = None
        self._idle_since = 0.0
        self._receiving_since = self.lane.now
        self._in_head = True
        self._head_bytes = -1

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; of one that comes twice the last, for no handler reads a list."""
        self._names[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Choose the lane."""
        if self._gathered:  # Requests sent without waiting: each is answered before the next is looked at.
            self.lane.settle()
        self._in_head = False
        if self.parser.should_upgrade() and b"upgrade" in self._names:
            self._decline_upgrade()
            return
        self._hot = self._as_hot()
        if self._hot is None:
            url = self.url
            super().on_message_begin()
            self.url = url
            for name, value in self._names.items():
                super().on_header(name, value)
            if not url.isascii() or httptools.parse_url(url).path is None:
                raise httptools.HttpParserInvalidURLError(url)
            super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Count what follows as headers: after the last chunk come trailers."""
        self._in_head, self._head_bytes = True, 0

    def on_body(self, body: bytes) -> None:
        """Collect the body; its length is known to be within the limit."""
        self._in_head = False
        if self._hot is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Answer, at once or when the job is done."""
        if self._declined:
            return
        self._receiving_since = 0.0
        request = self._hot
        if request is None:
            super().on_message_complete()
            return
        self._hot = None
        request.body = self._whole_body()
        self._keeps = self.parser.should_keep_alive() and not self._closing
        self._whole = request
        self._begin(request)

    def _begin(self, request: Request) -> None:
        request.waiter = self
        lane = self.lane
        response = lane.app.begin(request, lane.deliver, lane.gathered)
        if response is not None:
            self._write(response, keep_alive=self._keeps)
        else:
            self._wait(request)

    def settle(self, job: Job) -> None:
        """Answer with the outcome of a job that ran with others; start it anew if its version had gone."""
        self._gathered = False
        app, request = self.lane.app, job.request
        lost = job.error is not None and app.plane.lost(job)
        response = app.again(request, self.lane.deliver) if lost else app.finish(job)
        if response is not None:
            self._write(response, keep_alive=self._keeps)
        else:
            self._wait(request)

    def _wait(self, request: Request) -> None:
        assert request.job is not None
        if not request.job.taken:  # It runs at the end of this stage.
            self._gathered = True
            return
        self._pending = PendingAnswer(self, request, keep_alive=self._keeps)
        request.waiter = self._pending
        self.cycle = self._pending

    # What uvicorn calls on the connection.

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the job whose client has gone."""
        pending, self._pending = self._pending, None
        if pending is not None and pending.request.job is not None:
            pending.response_complete = True
            pending.request.job.cancel()
        super().connection_lost(exc)
        self._forget(pending)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, after the answers to what came before it."""
        self.lane.settle()
        if self._pending is not None:  # Its client would take the refusal for the answer.
            self._pending.keep_alive = False
        else:
            self.lane.app.count_unread(400)
            super().send_400_response(msg)

    def shutdown(self) -> None:
        """Finish what is in hand, a request whose body is still being received included, then close."""
        self.lane.turn()
        self._closing = True
        if self._hot is None:
            super().shutdown()

    def sweep(self, now: float) -> None:
        """End what lasts too long: a job past its deadline, an idle connection, half a request."""
        pending = self._pending
        if pending is not None and not pending.response_complete:
            job = pending.request.job
            if job is not None and job.overdue(time.monotonic()):
                pending.give_up(self.lane.app)
        elif self._receiving_since:
            if now - self._receiving_since > self.lane.app.plane.deadline_s:
                self.transport.close()
        elif self._idle_since and now - self._idle_since > self.timeout_keep_alive and not self._answering:
            self.timeout_keep_alive_handler()

    @property
    def _answering(self) -> bool:
        """Whether an answer is under way that what comes next has to wait for."""
        return self.cycle is not None and not self.cycle.response_complete

    def answer_later(self, pending: PendingAnswer) -> None:
        """Write the answer of a job, then go on with what was pipelined behind it."""
        self._pending = None
        self._forget(pending)
        response = pending.request.response
        assert response is not None
        if pending.disconnected or self.transport.is_closing():
            return
        self._write(response, keep_alive=pending.keep_alive and not self._closing)
        self.on_response_complete()

    def _forget(self, pending: PendingAnswer | None) -> None:
        """Let go of an answer, and the bodies with it: the connection may stay for long."""
        if pending is not None and self.cycle is pending:
            self.cycle = None

    def _decline_upgrade(self) -> None:
        """Have the request read again without its wish for another protocol.

        The parser takes its body for that protocol's. Java's client wishes for HTTP/2 in every first request,
        and a server that does not speak it answers as if it had not been asked (RFC 9110, section 7.8).
        """
        line = b"%b %b HTTP/%b\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        kept = (b"%b: %b\r\n" % header for header in self._names.items() if header[0] != b"upgrade")
        self._declined = b"%b%b\r\n" % (line, b"".join(kept))

    def _refuse_head(self) -> None:
        self.lane.settle()
        if self._pending is not None:
            self._pending.keep_alive = False
            self.flow.pause_reading()
            return
        self.lane.app.count_unread(431)
        self.transport.write(b"%bcontent-length: 0\r\nconnection: close\r\n\r\n" % STATUS_LINE[431])
        self.transport.close()

    def _as_hot(self) -> Request | None:
        """Return the request if it can take this lane."""
        parser = self.parser
        hot = self.lane.find(parser.get_method(), self.url)
        if hot is None:
            return None
        cycle = self.cycle  # `_answering`, in place: this is asked for every request.
        if (cycle is not None and not cycle.response_complete) or self.flow.write_paused:
            return None
        headers = self._names
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or b"expect" in headers:
            return None
        if b"connection" in headers and parser.get_http_version() == "1.0":
            return None  # It may ask to be kept, and uvicorn says that it is not.
        if len(length) > self.lane.small_digits and (
            not length.isdigit() or int(length) > self.lane.app.max_body_bytes
        ):
            return None
        return Request(hot.method, hot.path, b"", headers, b"", hot.params, hot.route)

    def _write(self, response: Response, *, keep_alive: bool) -> None:
        """Make the bytes of an answer; whoever runs the stage flushes them."""
        body, served = response.body, response.served
        if response.status == 200 and response.content_type is JSON and not response.headers:
            head = self.lane.head(self.server_state.default_headers)
        else:
            head = self._head(response)
        answer = b"%b%d\r\nx-request-id: %b\r\n%b%b%b" % (
            head,
            len(body),
            response.request_id,
            served.header_block if served is not None else b"",
            b"\r\n" if keep_alive else b"connection: close\r\n\r\n",
            body,
        )
        if self._answer:  # Of requests sent without waiting; so that flow control sees every answer.
            self.lane.flush()
        self._answer = answer
        self._last = not keep_alive
        if self.lane.answered is None:
            self.send()
        else:
            self.lane.answered.append(self)
        self.server_state.total_requests += 1
        # One sweep a second closes idle connections: a timer for every answer would cost 1–2 µs.
        self._idle_since = self.lane.now

    def _head(self, response: Response) -> bytes:
        """Return the beginning of an answer, up to the value of its content-length."""
        given = (
            *self.server_state.default_headers,
            (b"content-type", response.content_type),
            *response.headers,
        )
        lines = b"".join(b"%b: %b\r\n" % header for header in given)
        return b"%b%bcontent-length: " % (STATUS_LINE[response.status], lines)


def fast_lane(app: App) -> type[FastLane]:
    """Make the protocol class that answers for `app`."""

    class Bound(FastLane):
        lane = Stage(app)

    return Bound
