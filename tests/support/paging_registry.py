"""What docker-registry does not do and the specification allows: pages of tags, half a chunk of an upload.

Another real registry would be better; none is available where these tests run.
"""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class PagingRegistry(ThreadingHTTPServer):
    """Receives uploads, and cuts the connection once within a chunk, after `cut_at` bytes in all.

    With `least_bytes` it asks for chunks of at least that many.
    """

    def __init__(
        self, *, tags: list[str] | None = None, cut_at: int = -1, least_bytes: int | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tags = sorted(tags or [])
        self.cut_at = cut_at
        self.least_bytes = least_bytes
        self.upload = bytearray()
        self.blobs: dict[str, bytes] = {}
        self.log: list[str] = []
        self.address = f"127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Ignore connections that the test cuts."""


class _Handler(BaseHTTPRequestHandler):
    server: PagingRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.endswith("/tags/list"):
            last = parse_qs(url.query).get("last", [""])[0]
            page = [tag for tag in self.server.tags if tag > last][:3]
            more = bool(page) and page[-1] != self.server.tags[-1]
            headers = {"link": f'<{url.path}?n=3&last={page[-1]}>; rel="next"'} if more else {}
            tags = ", ".join(f'"{tag}"' for tag in page)
            return self._answer(200, f'{{"name": "models", "tags": [{tags}]}}'.encode(), headers)
        return self._answer(204, b"", self._where())

    def do_HEAD(self) -> None:
        blob = self.server.blobs.get(self.path.rpartition("/")[2])
        self.send_response(404 if blob is None else 200)
        self.send_header("content-length", str(len(blob or b"")))
        self.end_headers()

    def do_POST(self) -> None:
        self.server.log.append("POST")
        self.server.upload.clear()
        least = self.server.least_bytes
        asked = {} if least is None else {"oci-chunk-min-length": str(least)}
        self._answer(202, b"", {**self._where(), **asked})

    def do_PATCH(self) -> None:
        start = int(re.match(r"(\d+)-", self.headers["content-range"])[1])
        self.server.log.append(f"PATCH {self.headers['content-range']}")
        assert start == len(self.server.upload)
        left = int(self.headers["content-length"])
        while left:
            data = self.rfile.read(min(left, 1 << 16))
            self.server.upload += data
            left -= len(data)
            if 0 <= self.server.cut_at <= len(self.server.upload):
                self.server.cut_at = -1
                self.close_connection = True
                self.connection.close()
                return
        self._answer(202, b"", self._where())

    def do_PUT(self) -> None:
        self.server.upload += self.rfile.read(int(self.headers.get("content-length", 0)))
        digest = parse_qs(urlsplit(self.path).query)["digest"][0]
        received = f"sha256:{hashlib.sha256(self.server.upload).hexdigest()}"
        if received == digest:
            self.server.blobs[digest] = bytes(self.server.upload)
        self._answer(201 if received == digest else 400, b"", {})

    def _where(self) -> dict[str, str]:
        last = max(len(self.server.upload) - 1, 0)
        return {"location": "/v2/models/blobs/uploads/1", "range": f"0-{last}"}

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass
