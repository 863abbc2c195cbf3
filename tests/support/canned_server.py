"""An HTTP server with canned answers, which stands for servers of other projects.

Not a mock of our own code: TensorFlow Serving and Triton come as container images only, which a test run
cannot count on, so their documented JSON is served over a real socket. MLServer and MLflow are real, in
tests/clients.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextlib.contextmanager
def answering(answers: Mapping[str, Any]) -> Iterator[str]:
    """Answer ``GET /path`` and ``POST /path`` with JSON, or bytes as they are; anything else is a 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(f"{self.command} {self.path}")
            body = (
                answer if isinstance(answer, bytes) else json.dumps(answer or {"error": "not here"}).encode()
            )
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(404 if answer is None else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_given: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
