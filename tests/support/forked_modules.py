"""``python -m MODULE ARGUMENTS`` in a tenth of the time: forked from a process that has imported everything.

Stands in for the `subprocess` module in what verifies, for campaigns over thousands of models. Such a process
runs the module by the same entry, with the same arguments, streams and end, and may be killed like any other.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_MEMORY_BYTES = 4 << 30
_CHUNK = 1 << 16


class Zygote:
    """The process that forks; a small one, because what is in memory makes each fork slow."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(other.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL)
        other.close()

    def start(self, module: str, arguments: Sequence[str], streams: Sequence[int]) -> int:
        """Start one process with its stdout and stderr; return its id. One at a time."""
        socket.send_fds(self._socket, [json.dumps([module, *arguments]).encode()], list(streams))
        return int(self._receive(None))

    def wait(self, timeout_s: float | None) -> int:
        """Return how the process ended, as `subprocess` says it; raises `TimeoutError`."""
        return int(self._receive(timeout_s))

    def close(self) -> None:
        """End the zygote."""
        self._socket.close()
        self._process.wait()

    def _receive(self, timeout_s: float | None) -> bytes:
        self._socket.settimeout(timeout_s)
        data = self._socket.recv(64)
        if not data:
            raise ChildProcessError("the process that forks has ended")
        return data


def _prepare() -> None:
    """Import what a model needs, and bound what models take from the machine.

    A good model is verified here: libraries import and register much when they are first used.
    """
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import lading.verify.child
    import lading.verify.memory_probe  # noqa: F401 - imported once for all that are forked
    from lading.runtime.host import signals
    from lading.verify import measure
    from lading.verify.model_checks import ModelChecks
    from support.bundles import linear_bundle

    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    # What is forked has this process as its parent, and not the one that asks for it.
    own, here = signals.end_with_parent, os.getpid()
    signals.end_with_parent = lambda _parent: own(here)
    measure.WARM_UP_S = measure.BUDGET_S = 0.0  # five runs each, and not 0.6 s
    with tempfile.TemporaryDirectory() as folder:
        checks = ModelChecks()
        checks.examine(linear_bundle(Path(folder) / "b"), 1)
        assert all(check.outcome == "passed" for check in checks.checks), checks.checks
    gc.freeze()


def _serve(requests: socket.socket) -> None:
    """Fork for each request, say which process that is, wait for its end and say how it ended."""
    while True:
        data, streams, _, _ = socket.recv_fds(requests, 1 << 20, 2)
        if not data:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            requests.close()
            _run(json.loads(data), streams)
        for stream in streams:
            os.close(stream)
        requests.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):
            requests.send(str(os.waitstatus_to_exitcode(status)).encode())


def _run(argv: list[str], streams: list[int]) -> None:
    """Do what ``python -m`` does, and end the process."""
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv = argv
    sys.modules.pop(argv[0], None)  # Imported for its own imports; now it is run.
    code = 0
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class ForkedProcess:
    """What verification uses of `subprocess.Popen`."""

    returncode: int | None = None

    def __init__(self, zygote: Zygote, command: Sequence[str]) -> None:
        assert command[:3] == [sys.executable, "-P", "-m"], command
        self._zygote = zygote
        pipes = os.pipe(), os.pipe()
        self._ends = [read for read, _ in pipes]
        self.pid = zygote.start(command[3], command[4:], [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        self._outputs: dict[int, list[bytes]] = {end: [] for end in self._ends}

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Read both streams to their end, and wait for the process; raises `subprocess.TimeoutExpired`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            self._read(deadline)
            if self.returncode is None:
                self.returncode = self._zygote.wait(_left(deadline))
        except TimeoutError:
            raise subprocess.TimeoutExpired("forked", timeout or 0) from None
        output, messages = (b"".join(parts) for parts in self._outputs.values())
        return output, messages

    def kill(self) -> None:
        """End the process, unless it is known to have ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _read(self, deadline: float | None) -> None:
        with selectors.DefaultSelector() as selector:
            for end in self._ends:
                selector.register(end, selectors.EVENT_READ)
            while self._ends:
                ready = selector.select(_left(deadline))
                if not ready:
                    raise TimeoutError
                for key, _ in ready:
                    part = os.read(key.fd, _CHUNK)
                    self._outputs[key.fd].append(part)
                    if not part:
                        selector.unregister(key.fd)
                        os.close(key.fd)
                        self._ends.remove(key.fd)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


class ForkedModules:
    """Takes the place of the module `subprocess`."""

    DEVNULL, PIPE, TimeoutExpired = subprocess.DEVNULL, subprocess.PIPE, subprocess.TimeoutExpired

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote

    def Popen(self, command: Sequence[str], **_streams: Any) -> ForkedProcess:  # noqa: N802 - its name there
        """Start a process whose output can be read."""
        return ForkedProcess(self._zygote, command)

    def run(
        self, command: Sequence[str], *, timeout: float, **_options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a process to its end; raises `subprocess.TimeoutExpired`."""
        process = ForkedProcess(self._zygote, command)
        try:
            output, messages = process.communicate(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        assert process.returncode is not None
        return subprocess.CompletedProcess(command, process.returncode, output, messages)


if __name__ == "__main__":
    _prepare()
    _serve(socket.socket(fileno=int(sys.argv[1])))
