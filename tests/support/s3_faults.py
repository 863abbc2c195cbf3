"""A proxy before an S3 server that answers some requests itself, or badly, as a test says."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>{}</Message></Error>'


@dataclass(frozen=True)
class Asked:
    """A request as a fault sees it."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def access_key(self) -> str:
        """Who signed it."""
        return self.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]


@dataclass(frozen=True)
class Refuse:
    """Answer with an error of S3."""

    status: int
    code: str


@dataclass(frozen=True)
class Cut:
    """Pass the answer on, and end the connection after so many bytes of its body."""

    after_bytes: int


class Drop:
    """End the connection without an answer."""


class Stall:
    """Answer nothing until the proxy ends."""


Fault = Refuse | Cut | Drop | Stall | None
Faults = Callable[[Asked], Fault]


def first_times(fault: Fault, *paths: str, methods: Sequence[str] = ("GET", "PUT")) -> Faults:
    """Return what gives a fault to the first request of a method for each object with one of these parts."""
    seen: set[tuple[str, str]] = set()

    def faults(asked: Asked) -> Fault:
        key = asked.method, asked.path.partition("?")[0]
        if asked.method not in methods or key in seen or not any(part in key[1] for part in paths):
            return None
        seen.add(key)
        return fault

    return faults


class FaultyS3:
    """Listens on an address of its own; ``fault`` says for each request what is wrong with it."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.fault: Faults = lambda _: None
        self.asked: list[Asked] = []
        self.ended = threading.Event()
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._listener.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._listener.server_port}"
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def count(self, method: str, part: str) -> int:
        """Return how many requests of a method had this part in their path."""
        return sum(asked.method == method and part in asked.path for asked in self.asked)

    def close(self) -> None:
        self.ended.set()
        self._listener.shutdown()
        self._listener.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _pass(self) -> None:
                proxy.carry(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815 - names of http.server

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def carry(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.rfile.read(int(headers.get("content-length") or 0))
        asked = Asked(request.command, request.path, headers)
        self.asked.append(asked)
        fault = self.fault(asked)
        request.close_connection = True
        with contextlib.suppress(ConnectionError):
            if isinstance(fault, Refuse):
                self._refuse(request, fault)
            elif isinstance(fault, Stall):
                self.ended.wait()
            elif not isinstance(fault, Drop):
                self._forward(request, headers, body, fault)

    def _refuse(self, request: BaseHTTPRequestHandler, fault: Refuse) -> None:
        body = b"" if request.command == "HEAD" else ERROR.format(fault.code, "by the test").encode()
        request.send_response(fault.status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _forward(
        self, request: BaseHTTPRequestHandler, headers: dict[str, str], body: bytes, cut: Cut | None
    ) -> None:
        connection = http.client.HTTPConnection(self.server)
        # The host that was signed stays as it is: moto does not look at signatures.
        connection.request(request.command, request.path, body, {**headers, "connection": "close"})
        answer = connection.getresponse()
        content = answer.read()
        request.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding"}:
                request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content if cut is None else content[: cut.after_bytes])
        connection.close()


@contextlib.contextmanager
def faulty_s3(server: str) -> Iterator[FaultyS3]:
    """Return a proxy before `server` and close it in the end."""
    opened = FaultyS3(server)
    try:
        yield opened
    finally:
        opened.close()
