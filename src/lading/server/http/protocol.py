"""HTTP/1.1 on one connection: fast routes are answered here, inside uvicorn's protocol class.

    data_received ─▶ Stage.run ─▶ parse ─┬─▶ known head: skip the parser ─┬─▶ _dispatch ─▶ _write
                                         └─▶ httptools' callbacks ────────┘      │
                                                    │ not a fast request         └─▶ PendingAnswer ─▶ _write
                                                    └─▶ uvicorn ─▶ ASGI (`asgi`)

Everything that is not plainly a request for a fast route (other routes, `Expect`, chunked bodies, upgrades,
what is pipelined behind an unfinished answer, a client that does not read) takes uvicorn's own way to the
same application under ASGI. Parsing, keep-alive, flow control and shutdown stay uvicorn's.
"""

from __future__ import annotations

import time
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lading.access.certificates import peer_names
from lading.server.http.app import App
from lading.server.http.asgi import CERTIFICATE
from lading.server.http.connection import HttpConnection
from lading.server.http.content_type import is_json
from lading.server.http.messages import JSON, Request, Response
from lading.server.http.refusals import Refusal
from lading.server.http.slow_clients import ClientLimits
from lading.server.http.stage import END_OF_HEAD, LONGEST_HEAD, AroundCredential, Head, Stage
from lading.server.inference.job import Job
from lading.server.inference.request_memory import COUNTED_BYTES

_MOST_HEAD_BYTES = 64 * 1024
"""Most bytes of a head or of trailers, all of which the parser keeps, and of what frames one chunk."""

_TOO_LARGE_HEAD = Refusal(431, f"request: expected at most {_MOST_HEAD_BYTES} bytes of headers, found more")


class _NoTask:
    """Stands where uvicorn wakes the task of a response: a pending answer has none."""

    def set(self) -> None:
        pass


class _HostError(Exception):
    """Not exactly one Host header, of which two readers could take different ones (RFC 9112, section 3.2)."""

    def __init__(self, count: int) -> None:
        self.refusal = Refusal(400, f"request: expected one `host` header, found {count}")


class PendingAnswer:
    """A request whose job is under way; uvicorn takes it for the cycle of an unfinished response."""

    more_body = False
    response_started = False
    __slots__ = ("_connection", "disconnected", "keep_alive", "message_event", "request", "response_complete")

    def __init__(self, connection: FastProtocol, request: Request, *, keep_alive: bool) -> None:
        self._connection = connection
        self.request = request
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NoTask()

    def complete(self) -> None:
        """Write the answer, if the client still waits for it."""
        if not self.response_complete:
            self.response_complete = True
            self._connection.answer_later(self)

    def time_out(self, app: App) -> None:
        """Answer without the job, whose deadline has passed."""
        assert self.request.job is not None
        app.time_out(self.request.job)
        self.complete()


class FastProtocol(HttpConnection):
    """One connection. `fast_protocol` makes a subclass with `stage` set, for uvicorn's ``http`` setting."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._closing = False
        self._certificate: tuple[str, ...] = ()  # The names of the client's, if callers are known by them.
        self._around_credential: AroundCredential | None = None  # Of the last request that had one.
        # Of the request that is being received.
        self._request: Request | None = None  # None while it is uvicorn's, or not known yet.
        self._headers: dict[bytes, bytes] = {}
        self._hosts = 0
        self._parts: list[bytes | memoryview] = []
        self._missing_bytes = 0
        self._beginning = b""
        self._framing_bytes = 0  # Of the last reads, in which no head began or ended, and no body came.
        self._declined = b""  # After an upgrade: the head to read again without it.
        self._parsed: Request | None = None
        # Of the answer.
        self._keeps_alive = True
        self._waits_for_stage = False
        self._pending: PendingAnswer | None = None
        self._answer = b""
        self._closes_after = False

    def connection_made(self, transport: Any) -> None:
        """Begin; look at the client's certificate where it may say who asks."""
        super().connection_made(transport)
        access = self.stage.app.pipeline.access
        if access is not None and access.takes_certificates:
            self._certificate = peer_names(transport.get_extra_info("ssl_object"))

    # What the stage calls.

    def parse(self, data: bytes) -> None:
        """Parse `data`; a whole request on a fast route is answered, or its job is started."""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        if self._backlog:
            self.parse_backlog(data)
        elif self._receiving_since or not self._dispatch_known(data):
            self.parse_now(data)

    def send(self) -> None:
        """Write the answer that is kept."""
        answer, self._answer = self._answer, b""
        if not self.transport.is_closing():
            self.transport.write(answer)
            if self._closes_after:
                self.transport.close()

    def deliver(self, job: Job) -> None:
        """Answer with the outcome of a job that ran with others.

        Start it again if its version was unloaded.
        """
        self._waits_for_stage = False
        app, request = self.stage.app, job.exchange
        lost = type(job.outcome) is not dict and app.plane.was_unloaded(job)  # Nearly always it is one.
        response = app.retry(request, self.stage.deliver) if lost else app.complete(job)
        if response is not None:
            self._write(response, keep_alive=self._keeps_alive)
        else:
            self._wait(request)

    # Reading: past the parser if the head is known, else through its callbacks, in their order.

    def _dispatch_known(self, data: bytes) -> bool:
        """Dispatch a request whose head the parser has read before; return whether it was one.

        Most clients send the same few heads. The parser is skipped: it is between two requests before and
        after.
        """
        credential = None
        # In place and not in a function, because every request of such a client passes here.
        if self._around_credential is not None:
            before, behind, start, stop, end, head = self._around_credential
            if data.startswith(behind, stop) and data.startswith(before):
                credential = data[start:stop]
        if credential is None or b"\n" in credential or b"\r" in credential:
            end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
            known = self.stage.heads.get(data[:end]) if end <= LONGEST_HEAD else None
            credential = None
            if known is None:
                around = self._around_credential = self.stage.find_around_credential(data, end)
                if around is None:
                    return False
                known, credential = around.head, data[around.start : around.stop]
            head = known
        missing = end + head.body_bytes - len(data)
        if missing < 0:
            return False
        if self._waits_for_stage:
            self.stage.run_jobs()
        cycle = self.cycle  # `_is_answering` in place: every request passes here.
        if cycle is not None and not cycle.response_complete:
            return False
        if self.flow.write_paused or self.transport.is_closing():
            return False
        if missing or head.body_bytes >= COUNTED_BYTES:
            return self._receive_known(head, data, end, missing, credential)
        method, path, route, params = head.target
        self._keeps_alive = not self._closing
        self._dispatch(Request(method, path, data[end:], head.headers, b"", params, route, credential))
        return True

    def _receive_known(
        self, head: Head, data: bytes, end: int, missing: int, credential: bytes | None
    ) -> bool:
        """Begin to receive a known request, or dispatch one that is large; return whether there is room."""
        method, path, route, params = head.target
        request = Request(method, path, b"", head.headers, b"", params, route, credential)
        request.certificate = self._certificate
        if head.body_bytes >= COUNTED_BYTES and not self.stage.app.receive(request, head.body_bytes):
            return False  # The parser's way has words for that.
        if missing:
            self._request = request
            self._missing_bytes = missing
            self._parts.append(memoryview(data)[end:])
            self._idle_since, self._receiving_since = 0.0, self.stage.now
            self._received_bytes = len(data)
        else:
            request.body = data[end:]
            self._keeps_alive = not self._closing
            self._dispatch(request)
        return True

    def parse_now(self, data: bytes) -> None:
        """Parse `data`, behind the body of a known request that it may begin with."""
        super().parse_now(self._collect(data) if self._missing_bytes else data)

    def _collect(self, data: bytes) -> bytes:
        """Take the rest of a known request's body, and dispatch it when it is whole; return what follows."""
        missing, request = self._missing_bytes, self._request
        if request is None or self.transport.is_closing():
            return b""
        self._received_bytes += len(data)
        self._parts.append(data if len(data) <= missing else data[:missing])
        if len(data) < missing:
            self._missing_bytes -= len(data)
            return b""
        self._missing_bytes, self._receiving_since, self._request = 0, 0.0, None
        request.body = self._whole_body()
        self._keeps_alive = not self._closing
        self._dispatch(request)
        return data[missing:]

    def _whole_body(self) -> bytes:
        parts = self._parts
        body = parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)
        parts.clear()
        return body

    def feed(self, data: bytes) -> bytes:
        """Pass `data` to the parser; return what has to be parsed once more."""
        if not self._receiving_since:  # Between two requests.
            self._beginning, self._received_bytes = data[: self.stage.longest_kept], 0
        self._received_bytes += len(data)
        self._framing_bytes += len(data)  # The callbacks that see more than framing set it back.
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
            if isinstance(cause, _HostError):
                self.refuse(cause.refusal)
            elif cause is None or isinstance(cause, httptools.HttpParserInvalidURLError):
                self.refuse(Refusal(400, f"request: expected HTTP/1.1, found something else ({error})"))
            else:
                raise  # A defect of ours, and not of the client.
            return b""
        except httptools.HttpParserUpgrade as upgrade:
            head, self._declined = self._declined, b""
            return head + data[upgrade.args[0] :] if head else b""
        if self._framing_bytes > _MOST_HEAD_BYTES:
            self.refuse(_TOO_LARGE_HEAD)
        request, self._parsed = self._parsed, None
        if request is not None and self._keeps_alive:
            self.stage.remember(self._beginning, self._received_bytes, request)
            self._beginning = b""
        return b""

    def on_message_begin(self) -> None:
        """Note the beginning; uvicorn's scope is built only if the request is not for a fast route."""
        self.url = b""
        self._headers = {}
        self._hosts = 0
        self._request = None
        self._idle_since = 0.0
        self._receiving_since = self.stage.now
        self._framing_bytes = self._body_left = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; of one that comes twice the last, because no handler reads a list."""
        name = name.lower()
        self._headers[name] = value
        if name == b"host":
            self._hosts += 1

    def on_headers_complete(self) -> None:
        """Choose between a fast route and uvicorn's own way."""
        if self._waits_for_stage:  # Pipelined: each request is answered before the next is looked at.
            self.stage.run_jobs()
        self._framing_bytes = 0
        length = self._headers.get(b"content-length", b"")
        if b"transfer-encoding" not in self._headers and len(length) < 19 and length.isdigit():
            self._body_left = int(length)
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() == "1.1"):
            raise _HostError(self._hosts)
        if self.parser.should_upgrade() and b"upgrade" in self._headers:
            self._decline_upgrade()
            return
        self._request = self._as_fast()
        if self._request is None:
            url = self.url
            super().on_message_begin()
            self.url = url
            if self._certificate:
                scope: Any = self.scope  # It has keys that only uvicorn and ASGI know.
                scope[CERTIFICATE] = self._certificate
            for name, value in self._headers.items():
                super().on_header(name, value)
            if not url.isascii() or httptools.parse_url(url).path is None:
                raise httptools.HttpParserInvalidURLError(url)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Collect the body; its length is known to be within the limit."""
        self._framing_bytes = 0
        self._body_left -= len(body)
        if self._request is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Answer now, or when the job has run."""
        if self._declined:
            return
        self._receiving_since, self._framing_bytes = 0.0, 0
        self._message_ended = True
        request = self._request
        if request is None:
            super().on_message_complete()
            return
        self._request = None
        request.body = self._whole_body()
        self._keeps_alive = self.parser.should_keep_alive() and not self._closing
        self._parsed = request
        self._dispatch(request)

    def _as_fast(self) -> Request | None:
        """Return the request if it is for a fast route and plain enough, or None if ASGI is to answer it."""
        parser = self.parser
        target = self.stage.find(parser.get_method(), self.url)
        if target is None:
            return None
        cycle = self.cycle  # `_is_answering` in place: every request that is parsed passes here.
        if (cycle is not None and not cycle.response_complete) or self.flow.write_paused:
            return None
        headers = self._headers
        length = headers.get(b"content-length", b"0")
        if not target.route.any_type and not is_json(headers.get(b"content-type", JSON)):
            return None  # The application refuses it under ASGI, with its sentence.
        if b"transfer-encoding" in headers or b"expect" in headers:
            return None
        if b"connection" in headers and parser.get_http_version() == "1.0":
            return None  # It may ask for keep-alive, and uvicorn answers that there is none.
        request = Request(target.method, target.path, b"", headers, b"", target.params, target.route)
        request.certificate = self._certificate
        if len(length) > self.stage.small_digits:
            app = self.stage.app
            if not length.isdigit() or int(length) > app.max_body_bytes:
                return None
            if int(length) >= COUNTED_BYTES and not app.receive(request, int(length)):
                return None  # It is refused under ASGI, where what follows is read for a while.
        return request

    def _decline_upgrade(self) -> None:
        """Have the request read again without its wish for another protocol.

        The parser takes its body for that protocol's. Java's client asks for HTTP/2 in every first request,
        and a server that does not speak it answers as if it had not been asked (RFC 9110, section 7.8).
        """
        line = b"%b %b HTTP/%b\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        kept = (b"%b: %b\r\n" % header for header in self._headers.items() if header[0] != b"upgrade")
        self._declined = b"%b%b\r\n" % (line, b"".join(kept))

    # Answering.

    def _dispatch(self, request: Request) -> None:
        request.waiter, request.client = self, self.client
        if self._certificate:
            request.certificate = self._certificate
        stage = self.stage
        response = stage.app.dispatch(request, stage.deliver, stage.pending_jobs)
        if response is not None:
            self._write(response, keep_alive=self._keeps_alive)
        else:
            self._wait(request)

    def _wait(self, request: Request) -> None:
        """Answer once the request's job has run."""
        # Neither queued nor read elsewhere: the job runs at the end of this stage.
        if not request.is_elsewhere and not request.job.holds_version:  # type: ignore[union-attr]  # started
            self._waits_for_stage = True
            return
        self._pending = PendingAnswer(self, request, keep_alive=self._keeps_alive)
        request.waiter = self._pending
        self.cycle = self._pending

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

    def _write(self, response: Response, *, keep_alive: bool) -> None:
        """Make the bytes of an answer; they are sent at the end of the stage, or now if there is none."""
        body, model = response.body, response.model
        if response.status == 200 and response.content_type is JSON and not response.headers:
            head = self.stage.head(self.server_state.default_headers)
        else:
            head = self._head(response)
        answer = b"%b%d\r\nx-request-id: %b\r\n%b%b%b" % (
            head,
            len(body),
            response.request_id,
            model.header_block if model is not None else b"",
            b"\r\n" if keep_alive else b"connection: close\r\n\r\n",
            body,
        )
        if self._answer:  # Of pipelined requests; so that flow control sees every answer.
            self.stage.write_answers()
        self._answer = answer
        self._closes_after = not keep_alive
        if self.stage.pending_writes is None:
            self.send()
        else:
            self.stage.pending_writes.append(self)
        self.server_state.total_requests += 1
        # One sweep a second closes idle connections: a timer for every answer would cost 1–2 µs.
        self._idle_since = self.stage.now

    def _head(self, response: Response) -> bytes:
        """Return the beginning of an answer, up to the value of its content-length."""
        headers = (
            *self.server_state.default_headers,
            (b"content-type", response.content_type),
            *response.headers,
        )
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"%b%bcontent-length: " % (STATUS_LINE[response.status], lines)

    # What uvicorn calls on the connection.

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the job whose client has gone."""
        pending, self._pending = self._pending, None
        if pending is not None and pending.request.is_elsewhere:
            pending.response_complete = pending.request.is_gone = True
        elif pending is not None and pending.request.job is not None:
            pending.response_complete = True
            pending.request.job.cancel()
        super().connection_lost(exc)
        self._forget(pending)

    def drop_the_rest(self) -> None:
        """Read on without parsing, and without the body of a known request."""
        self._request, self._missing_bytes = None, 0
        self._parts.clear()
        super().drop_the_rest()

    def shutdown(self) -> None:
        """Finish what is in flight, including a request that is still being received, then close."""
        self.stage.run()
        self._closing = True
        if self._request is None and not self._backlog:
            super().shutdown()

    def sweep(self, now: float) -> None:
        """Answer for a job that is past its deadline, and end what lasts too long."""
        pending = self._pending
        if pending is not None and not pending.response_complete:
            # A request that is elsewhere keeps its deadline there.
            job = pending.request.job if not pending.request.is_elsewhere else None
            if job is not None and job.is_overdue(time.monotonic()):
                pending.time_out(self.stage.app)
            elif self._half_closed:
                self.abort_if_gone()
        else:
            super().sweep(now)

    def _forget(self, pending: PendingAnswer | None) -> None:
        """Drop an answer, and the bodies with it: the connection may stay for long."""
        if pending is not None and self.cycle is pending:
            self.cycle = None


def fast_protocol(app: App, limits: ClientLimits) -> type[FastProtocol]:
    """Make the protocol class that answers for `app`, with `limits` for slow clients."""

    class Bound(FastProtocol):
        stage = Stage(app, limits)

    return Bound
