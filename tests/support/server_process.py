"""A real server in a process of its own, for tests: started on a free port, ended by SIGTERM."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from support.cgroups import MemoryGroup
from support.waiting import wait_until


@dataclass
class ServerProcess:
    """A running ``lading serve``; ``lines`` is what it has written to stderr so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    url: str = ""
    _grpc = re.compile(r"grpcs?://([\w.:]+:\d+)")

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait_until(self, condition: Callable[[], object], timeout_s: float = 60.0) -> object:
        def holds() -> object:
            outcome = condition()
            assert outcome or self.process.poll() is None, f"the server ended:\n{self.log}"
            return outcome

        return wait_until(holds, timeout_s, lambda: self.log)

    def grpc_target(self) -> str:
        """Wait until gRPC answers as well; return its address."""
        self.wait_until(lambda: self._grpc.search(self.log))
        address = self._grpc.search(self.log)
        assert address is not None
        return address.group(1)

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers; none if there is only one worker, which is this process."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def wait_ready(self) -> None:
        # Whose certificate it is, other tests ask.
        verify = not self.url.startswith("https")
        self.wait_until(lambda: httpx.get(f"{self.url}/health", timeout=20, verify=verify).status_code == 200)

    def stop(self, timeout_s: float = 20.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextlib.contextmanager
def serving(
    *refs: Path | str,
    flags: tuple[str, ...] = (),
    environ: dict[str, str] | None = None,
    ready: bool = True,
    group: MemoryGroup | None = None,
    prefix: tuple[str, ...] = (),
) -> Iterator[ServerProcess]:
    """Run ``lading serve REF…`` until the block ends; wait for it to be ready unless `ready` is false.

    `prefix` is a command that runs it.
    """
    command = [*prefix, sys.executable, "-m", "lading", "serve", *map(str, refs), "--port", "0", *flags]
    if group is not None:
        command = group.command(*command)
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environ or {})}
    )
    server = ServerProcess(process)
    reader = threading.Thread(target=_collect, args=(process, server.lines), daemon=True)
    reader.start()
    try:
        server.wait_until(lambda: re.search(r"https?://[\w.:]+:\d+", server.log))
        address = re.search(r"https?://[\w.:]+:\d+", server.log)
        assert address is not None
        server.url = address.group()
        if ready:
            server.wait_ready()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(5)
        assert process.stderr is not None
        process.stderr.close()


def _collect(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stderr is not None
    while line := process.stderr.readline():
        lines.append(line)
