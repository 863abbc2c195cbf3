"""A real Ray cluster of several machines on this one, in a network and a process table of its own.

Ray listens on all addresses, whatever its settings; here those are of a loopback that nobody else has.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

SOURCES = Path(__file__).parents[2] / "src"
PORT = 6379
ADDRESS = f"127.0.0.1:{PORT}"

# The first process of a process table: it collects what has ended, and all others end with it.
INIT = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""


class RayCluster:
    """A cluster without machines at first. `environ` is what its machines and commands run with."""

    def __init__(self, **environ: str) -> None:
        # A short path: names of sockets may have about a hundred characters.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(SOURCES),
            "LADING_CACHE": str(self.folder / "cache"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ADDRESS": ADDRESS,
            **environ,
        }
        command = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        script = 'ip link set lo up && exec "$0" -c "$1"'
        self._init = subprocess.Popen(
            [*command, "sh", "-c", script, sys.executable, INIT], stdout=subprocess.PIPE, text=True
        )
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == "up\n"
        self._inside = children(self._init.pid)[0]

    def start(self, *command: str, **environ: str) -> subprocess.Popen[str]:
        """Start a command on the cluster's own network; end it with `kill`."""
        enter = ["nsenter", "--target", str(self._inside), "--user", "--preserve-credentials"]
        return subprocess.Popen(
            [*enter, "--net", "--pid", "--mount", f"--wdns={Path.cwd()}", "--", *command],
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the cluster's own network to its end."""
        process = self.start(*command, **environ)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def lading(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of lading there."""
        return self.run(sys.executable, "-m", "lading", *arguments, **environ)

    def add_machine(self, cpus: int = 1, hidden: Path | None = None, **environ: str) -> int:
        """Start a machine, the first one as the head; return the process that is all of it.

        In place of the folder `hidden` it sees an empty one.
        """
        before = set(self.raylets())
        place = ["--head", f"--port={PORT}", f"--temp-dir={self.folder}"] if not before else []
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start"]
        where = place or [f"--address={ADDRESS}"]
        small = [f"--num-cpus={cpus}", "--object-store-memory=80000000", "--disable-usage-stats"]
        plain = ["--include-dashboard=false"] if place else []
        command = [*ray, *where, "--node-ip-address=127.0.0.1", *small, *plain]
        if hidden is not None:
            script = f'mount -t tmpfs none "{hidden}" && exec "$0" "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, *command]
        self._start_ray(command, environ)
        (raylet,) = set(self.raylets()) - before
        return raylet

    def _start_ray(self, command: list[str], environ: dict[str, str]) -> None:
        """Run ``ray start``, once more where it found the machine too busy."""
        others = set(descendants(self._init.pid))
        for last in (False, True):
            started = self.run(*command, **environ)
            if started.returncode == 0:
                return
            # Ray gives its processes 30 s, by no setting more, and leaves them where that was not enough.
            text = started.stdout + started.stderr
            assert "timed out during startup" in text, text
            assert not last, text
            for pid in set(descendants(self._init.pid)) - others:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def raylets(self) -> list[int]:
        """Return the processes that are machines of this cluster."""
        return [pid for pid in descendants(self._init.pid) if "/raylet/raylet " in command_of(pid)]

    def workers(self, text: str, machine: int = 0) -> list[int]:
        """Return the processes whose title, which Ray sets to class and method, has `text`."""
        return [pid for pid in descendants(machine or self._init.pid) if text in command_of(pid)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._init.kill()
        self._init.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


def kill(process: subprocess.Popen[str]) -> None:
    """End what `RayCluster.start` has started, without a word to it."""
    for pid in children(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run, or have not been collected."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid: int) -> list[int]:
    """Return the processes below a process."""
    below = []
    for child in children(pid):
        below += [child, *descendants(child)]
    return below


def command_of(pid: int) -> str:
    """Return the command line of a process, empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
