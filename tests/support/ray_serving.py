"""lading's server on a Ray Serve cluster: asked from within its network, watched, and killed in parts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.ray_clusters import ADDRESS, RayCluster, command_of, descendants
from support.waiting import wait_until

PORT = 8000
URL = f"http://127.0.0.1:{PORT}"
BODY = json.dumps({"data": [[5.1, 3.5, 1.4, 0.2]]})

LOAD = Path(__file__).parent / "serve_load.py"


class Callers:
    """Callers of the front of the head, from the cluster's own network; `kinds` as `serve_load` has them.

    ``kept=3, new=1`` are three that keep their connections, and one with a new connection a request.
    """

    def __init__(self, cluster: RayCluster, python: str | Path = sys.executable, **kinds: int) -> None:
        counts = [f"{kind}={count}" for kind, count in kinds.items()]
        self.process = cluster.start(str(python), str(LOAD), str(PORT), BODY, *counts)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "calling\n"

    def end(self) -> tuple[dict[str, int], list[dict[str, Any]]]:
        """End them; return the number of answers by kind, and the failures."""
        # `nsenter --pid` forks: its child is the program.
        (program,) = descendants(self.process.pid)[:1]
        os.kill(program, signal.SIGTERM)
        out, err = self.process.communicate(timeout=180)
        assert self.process.returncode == 0, err
        seen = json.loads(out)
        return seen["answered"], seen["failed"]


def deploy(cluster: RayCluster, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the application on the cluster, with a front on the head alone: all machines are this one."""
    where = ("--apply", "--ray-address", ADDRESS, "--fronts", "HeadOnly", "--json")
    return cluster.lading("deploy", "ray", *arguments, *where, **environ)


def replicas(cluster: RayCluster, machine: int = 0) -> list[int]:
    """Return the processes of replicas."""
    return cluster.workers("ray::ServeReplica", machine)


def comes_to(cluster: RayCluster, count: int) -> None:
    """Wait until there are so many replicas, each with a server that is ready."""
    wait_until(
        lambda: len(replicas(cluster)) == count and len(servers(cluster)) == count,
        120,
        lambda: replicas(cluster),
    )


def servers(cluster: RayCluster) -> list[int]:
    """Return the processes of the servers in replicas."""
    return [pid for replica in replicas(cluster) for pid in _servers_of(replica)]


def _servers_of(replica: int) -> list[int]:
    return [pid for pid in descendants(replica) if "end_with_parent" in command_of(pid)]


def curl(cluster: RayCluster, path: str, *arguments: str) -> tuple[int, dict[str, str], Any]:
    """Ask with curl; return the status, the headers and the JSON of the answer."""
    done = cluster.run("curl", "-sS", "-i", *arguments, f"{URL}{path}")
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    lines = head.splitlines()
    headers = dict(re.split(r":\s*", line.lower(), maxsplit=1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, json.loads(body) if body.startswith("{") else body


def predict(cluster: RayCluster) -> tuple[int, dict[str, str], Any]:
    """Ask for a prediction."""
    return curl(cluster, "/predict", "-H", "content-type: application/json", "-d", BODY)


def end_machine(raylet: int) -> None:
    """Kill a machine with all that runs on it, at once."""
    for pid in (raylet, *descendants(raylet)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # Its parent took it along.
