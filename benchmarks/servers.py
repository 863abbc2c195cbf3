"""The contenders: started on one core, waited for, measured, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from load import SERVER_CORE

HERE = Path(__file__).parent
PYTHON = sys.executable


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    ready_s: float

    @property
    def resident_mb(self) -> float:
        """Memory of the process and its children, each page shared by several counted once for each."""
        pids = [self.process.pid, *_children(self.process.pid)]
        return sum(_resident(pid) for pid in pids) / 1e6

    @property
    def proportional_mb(self) -> float:
        """Memory of the process and its children, each page shared by several divided among them."""
        pids = [self.process.pid, *_children(self.process.pid)]
        return sum(_proportional(pid) for pid in pids) / 1e6

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"


@contextlib.contextmanager
def running(
    command: list[str],
    *,
    environ: dict[str, str] | None = None,
    probe: str = "/health",
    cores: str = SERVER_CORE,
    grpc_only: bool = False,
) -> Iterator[Running]:
    """Run `command` until the block ends; ``{port}`` and ``{grpc}`` in it are free ports.

    It is ready when `probe` is answered with 200; without one, when the port takes a connection.
    """
    port, grpc_port = free_port(), free_port()
    filled = [part.format(port=port, grpc=grpc_port) for part in command]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environ or {})}
    began = time.monotonic()
    process = subprocess.Popen(
        ["taskset", "-c", cores, *filled],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        _wait(process, grpc_port if grpc_only else port, probe)
        yield Running(process, port, grpc_port, time.monotonic() - began)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Some leave processes of theirs behind when they are asked to end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def lading(bundle: Path, *flags: str) -> list[str]:
    """Return the command of our own server, all features on."""
    return [PYTHON, "-m", "lading", "serve", str(bundle), "--port", "{port}", "--grpc-port", "{grpc}", *flags]


def fastapi() -> list[str]:
    """Return the command of the reference: gunicorn with uvicorn's worker class."""
    worker = "uvicorn_worker.UvicornWorker"
    where = ["--chdir", str(HERE / "references"), "-b", "127.0.0.1:{port}"]
    return [
        PYTHON,
        "-m",
        "gunicorn",
        "fastapi_app:app",
        "-k",
        worker,
        "-w",
        "1",
        *where,
        "--log-level",
        "error",
    ]


def echo_http() -> list[str]:
    return [PYTHON, str(HERE / "references/echo_http.py"), "{port}"]


def parse_http() -> list[str]:
    return [PYTHON, str(HERE / "references/parse_http.py"), "{port}"]


def echo_grpc() -> list[str]:
    return [PYTHON, str(HERE / "references/echo_grpc.py"), "{grpc}"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, probe: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended before it was ready"
        if _answers(port, probe):
            return
        time.sleep(0.002)
    raise TimeoutError(f"nothing answered at {port}{probe}")


def _answers(port: int, probe: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as wire:
            if not probe:
                return True
            wire.sendall(f"GET {probe} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n".encode())
            return b" 200 " in wire.recv(64)
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    children = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            children += [int(child), *_children(int(child))]
    return children


def _proportional(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
