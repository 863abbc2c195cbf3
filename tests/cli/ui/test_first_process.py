"""A server as process 1 of a container: it reaps orphans, passes signals on, and ends as its server ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.bundles import linear_bundle
from support.model_code import children
from support.server_process import serving
from support.waiting import wait_until

IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")


def namespaces_work() -> bool:
    try:
        return subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not namespaces_work(), reason="no PID namespace may be made here")


def below(pid: int) -> list[int]:
    """Return all processes below `pid`."""
    try:
        nearest = children(pid)
    except FileNotFoundError:  # It has ended meanwhile.
        return []
    return [*nearest, *(deeper for child in nearest for deeper in below(child))]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_orphans_are_reaped_and_sigterm_drains(tmp_path, workers):
    bundle = linear_bundle(tmp_path / "b")
    flags = ("--workers", str(workers), "--grpc-port", "-1")
    with serving(bundle.path, flags=flags, prefix=IN_A_NAMESPACE) as server:
        (first,) = below(server.process.pid)[:1]
        assert len(below(first)) >= workers
        # Processes whose parent ends at once become children of process 1.
        command = ["nsenter", "--target", str(first), "--user", "--pid", "--preserve-credentials"]
        subprocess.run([*command, "sh", "-c", "sleep 0.3 & sleep 0.3 & sleep 30 &"], check=True)
        wait_until(lambda: len(below(first)) >= workers + 1)
        orphan = max(below(first))
        Path(f"/proc/{orphan}").exists()
        wait_until(lambda: [pid for pid in below(first) if state(pid) == "Z"] == [], within_s=10)
        subprocess.run(["kill", "-TERM", str(first)], check=True)
        assert server.process.wait(20) == 0
        assert "drained; bye" in server.log


@pytest.mark.slow
def test_it_ends_with_the_exit_code_of_the_command(tmp_path):
    command = [
        *IN_A_NAMESPACE,
        sys.executable,
        "-m",
        "lading",
        "serve",
        str(tmp_path / "absent"),
        "--port",
        "0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    plain = subprocess.run(
        command[len(IN_A_NAMESPACE) :], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == plain.returncode != 0
    assert done.stderr == plain.stderr
