"""A server as a child process: asked under ASGI, refused when its proof fails, ended with its host."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lading.deploy.child_server import ChildServer
from lading.errors import ModelNotReady, ServerUnavailable
from support.bundles import linear_bundle
from support.forged_bundles import forge_golden_output
from support.waiting import wait_until

pytestmark = pytest.mark.slow

ROW = {"data": [[5.1, 3.5, 1.4, 0.2]]}


async def ask(
    server: ChildServer, method: str, path: str, body: bytes = b"", *headers: tuple[bytes, bytes]
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Ask as an ASGI host does; return the status, the headers and the body of the answer."""
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"host", b"models.example.com"), *headers],
    }
    messages = iter(
        [
            {"type": "http.request", "body": body[:7], "more_body": True},
            {"type": "http.request", "body": body[7:]},
        ]
    )

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    await server.answer(scope, receive, send)
    begun, ended = sent
    return begun["status"], dict(begun["headers"]), ended["body"]


def connections(pid: int) -> int:
    """Return how many connections there are to the socket of a server."""
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    socket = command[command.index("--host") + 1].removeprefix("unix:")
    # Besides the one that listens.
    return Path("/proc/net/unix").read_text().count(socket) - 1


def test_requests_and_answers_are_passed_on_as_they_are(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")

    async def story() -> None:
        server = ChildServer([str(bundle.path)])
        try:
            await server.until_ready()
            status, headers, body = await ask(server, "POST", "/predict", json.dumps(ROW).encode())
            assert (status, len(json.loads(body)["prediction"])) == (200, 3)
            assert headers[b"x-lading-digest"].decode() == bundle.digest
            asked = await ask(server, "GET", "/v2/models/iris", b"", (b"x-request-id", b"mine"))
            assert (asked[0], asked[1][b"x-request-id"]) == (200, b"mine")
            refused = await ask(server, "POST", "/predict", b'{"data": [[1]]}')
            assert (refused[0], b"expected" in refused[2]) == (400, True)
            packed = await ask(server, "GET", "/metrics", b"", (b"accept-encoding", b"gzip"))
            assert len(packed[2]) == int(packed[1][b"content-length"])
            await server.check_alive()
        finally:
            await server.stop(30)
        with pytest.raises(ServerUnavailable, match="expected to run, found exit code 0"):
            await server.check_alive()

    asyncio.run(story())


def test_one_that_cannot_reproduce_its_golden_samples_is_never_ready(tmp_path):
    linear_bundle(tmp_path / "iris")
    forge_golden_output(tmp_path / "iris")

    async def story() -> None:
        server = ChildServer([str(tmp_path / "iris")])
        try:
            with pytest.raises(ModelNotReady, match="`probabilities`, row 3"):
                await server.until_ready()
        finally:
            await server.stop(0)

    asyncio.run(story())


def test_one_that_is_killed_is_started_again_and_asked_again(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")

    async def story() -> None:
        server = ChildServer([str(bundle.path)])
        try:
            await server.until_ready()
            killed = server.pid
            # Stopped, so that it has connections and does not answer.
            os.kill(killed, signal.SIGSTOP)
            body = json.dumps(ROW).encode()
            asked = [asyncio.create_task(ask(server, "POST", "/predict", body)) for _ in range(3)]
            while connections(killed) < 3:
                await asyncio.sleep(0.01)
            os.kill(killed, signal.SIGKILL)
            assert [status for status, _, _ in await asyncio.gather(*asked)] == [200] * 3
            assert server.pid != killed
            await server.check_alive()
        finally:
            await server.stop(0)

    asyncio.run(story())


def test_one_that_cannot_be_started_again_answers_503_and_its_host_learns_why(tmp_path):
    linear_bundle(tmp_path / "iris")

    async def story() -> None:
        server = ChildServer([str(tmp_path / "iris")])
        try:
            await server.until_ready()
            forge_golden_output(tmp_path / "iris")
            os.kill(server.pid, signal.SIGKILL)
            status, headers, body = await ask(server, "POST", "/predict", json.dumps(ROW).encode())
            assert (status, headers[b"retry-after"]) == (503, b"1")
            assert "ask again" in json.loads(body)["error"]
            with pytest.raises(ModelNotReady, match="`probabilities`, row 3"):
                await server.check_alive()
        finally:
            await server.stop(0)

    asyncio.run(story())


def test_without_requests_the_host_that_looks_at_it_starts_it_again(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")

    async def story() -> None:
        server = ChildServer([str(bundle.path)])
        try:
            await server.until_ready()
            os.kill(server.pid, signal.SIGKILL)
            while True:
                # Until the kernel has closed its sockets, then until it is back.
                try:
                    await server.check_alive()
                except ServerUnavailable as error:
                    if "starts again" in str(error):
                        break
            status, _, _ = await ask(server, "POST", "/predict", json.dumps(ROW).encode())
            assert status == 200
            await server.check_alive()
        finally:
            await server.stop(0)

    asyncio.run(story())


# In place of a server whose model ends it: one that is ready, and ends when it is sent anything.
ENDS_WHEN_ASKED = """
import http.server, os, socketserver, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def address_string(self):
        return "a socket"
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"health": "ok"}')
    def do_POST(self):
        os._exit(1)
path = sys.argv[sys.argv.index("--host") + 1].removeprefix("unix:")
socketserver.UnixStreamServer(path, Answers).serve_forever()
"""


def test_a_request_that_ends_every_server_is_answered_500_so_that_no_front_sends_it_on(monkeypatch):
    monkeypatch.setattr("lading.deploy.child_process._WITH_PARENT", ENDS_WHEN_ASKED)

    async def story() -> None:
        server = ChildServer([])
        try:
            await server.until_ready()
            status, _, body = await ask(server, "POST", "/predict", json.dumps(ROW).encode())
            assert (status, "twice" in json.loads(body)["error"]) == (500, True)
        finally:
            await server.stop(0)

    asyncio.run(story())


def test_one_that_names_nothing_ends_and_says_so(tmp_path):
    async def story() -> None:
        server = ChildServer(["iris:9"], ["--registry", str(tmp_path / "registry")])
        with pytest.raises(ServerUnavailable, match="found exit code 3"):
            await server.until_ready()
        await server.stop(0)

    asyncio.run(story())


HOST = """
import asyncio, sys
from lading.deploy.child_server import ChildServer
async def main():
    server = ChildServer([sys.argv[1]])
    await server.until_ready()
    print(server.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_it_ends_with_a_host_that_is_killed(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    host = subprocess.Popen([sys.executable, "-c", HOST, str(bundle.path)], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    server = int(host.stdout.readline())
    assert Path(f"/proc/{server}").exists()
    os.kill(host.pid, signal.SIGKILL)
    host.communicate()
    wait_until(lambda: not Path(f"/proc/{server}/exe").exists(), 30)
