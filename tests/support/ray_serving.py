"""lading's server on a Ray Serve cluster: asked from within its network, watched, and killed in parts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

from support.ray_clusters import ADDRESS, RayCluster, descendants
from support.waiting import wait_until

PORT = 8000
URL = f"http://127.0.0.1:{PORT}"
RETRIES = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response junk-response 503",
    "RAY_SERVE_HAPROXY_RETRIES": "10",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "262144",
}
"""What the machines of the guide are started with: a front that asks another replica if one has ended."""
BODY = json.dumps({"data": [[5.1, 3.5, 1.4, 0.2]]})

# Callers that keep their connections, and count what they get until they are to end.
LOAD = """
import collections, http.client, json, signal, sys, threading
port, callers, body = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
done, seen = threading.Event(), collections.Counter()
signal.signal(signal.SIGTERM, lambda *_: done.set())
def call():
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while not done.is_set():
        try:
            connection.request("POST", "/predict", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            seen[str(answer.status) if answer.status == 200 else f"{answer.status} {text[:200]}"] += 1
        except http.client.RemoteDisconnected:
            # A kept connection that ends without an answer: clients send again (RFC 9112, 9.3.1). HAProxy
            # ends it where that of a server was reset.
            seen["closed"] += 1
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        except Exception as error:
            seen[repr(error)] += 1
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
threads = [threading.Thread(target=call) for _ in range(callers)]
for thread in threads:
    thread.start()
print("calling", flush=True)
done.wait()
for thread in threads:
    thread.join()
print(json.dumps(seen))
"""


class Callers:
    """Callers of the front of the head, from the cluster's own network."""

    def __init__(self, cluster: RayCluster, count: int) -> None:
        self.process = cluster.start(sys.executable, "-c", LOAD, str(PORT), str(count), BODY)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "calling\n"

    def seen(self) -> dict[str, int]:
        """End them; return how often each status or failure was seen."""
        # `nsenter --pid` forks: its child is the program.
        (program,) = descendants(self.process.pid)[:1]
        os.kill(program, signal.SIGTERM)
        out, err = self.process.communicate(timeout=180)
        assert self.process.returncode == 0, err
        counts: dict[str, int] = json.loads(out)
        return counts


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
        lambda: len(replicas(cluster)) == count and servers(cluster) == count, 120, lambda: replicas(cluster)
    )


def servers(cluster: RayCluster) -> int:
    """Return how many servers there are in replicas."""
    return sum(
        any("end_with_parent" in words for words in map(_command, descendants(pid)))
        for pid in replicas(cluster)
    )


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


def _command(pid: int) -> str:
    from support.ray_clusters import command_of

    return command_of(pid)
