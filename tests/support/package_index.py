"""A package index over a folder of wheels (PEP 503), for which clients need a password."""

from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self


class PackageIndex:
    """Serves the wheels of `folder` to ``user:secret``; with `refuse_with`, answers that status to all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refuse_with: int | None = None
        self.asked: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                status, body = index.answer(self.path, self.headers.get("authorization", ""))
                self.send_response(status)
                if status == 401:
                    self.send_header("www-authenticate", "Basic")
                kind = "application/zip" if self.path.endswith(".whl") else "text/html"
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def address(self, user: str) -> str:
        """Return the address of the index for a user and password."""
        return f"http://{user}@127.0.0.1:{self._server.server_port}/simple"

    def answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        """Return the status and the body for a path."""
        if self.refuse_with is not None:
            return self.refuse_with, b""
        if authorization != "Basic " + base64.b64encode(b"user:secret").decode():
            return 401, b""
        kind, _, name = path.strip("/").partition("/")
        if kind == "wheels":
            return 200, (self.folder / name).read_bytes()
        names = [file.name for file in self.folder.glob(f"{name.replace('-', '_')}-*.whl")]
        links = "".join(f'<a href="/wheels/{name}">{name}</a>' for name in sorted(names))
        return (200 if names else 404), links.encode()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
