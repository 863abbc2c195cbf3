"""Two replicas as Ray Serve offers them, beside two plain servers: one-row JSON, in one network namespace.

    .venv-engines/ray/bin/python benchmarks/ray_serve.py --rounds 3

Needs Linux with `unshare` and `ip`, and Ray's environment (`scripts/engines ray`). Prints a table: Serve's
front in Python, Serve's front by HAProxy, and plain servers among which callers are shared out. Rounds are
interleaved, figures are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from lading.deploy.ray_config import NODE_ENVIRONMENT
from support.bundles import linear_bundle
from support.ray_clusters import RayCluster
from support.ray_serving import BODY, PORT, deploy
from support.waiting import wait_until

CALLERS = (1, 8)
PLAIN = (8101, 8102)

# Each caller keeps its connection. Prints answers a second, and the median and the 99th percentile in ms.
LOAD = """
import http.client, json, sys, threading, time
ports, callers, seconds, body = json.loads(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
taken, failed = [], []
def call(number):
    connection = http.client.HTTPConnection("127.0.0.1", ports[number % len(ports)], timeout=60)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        (taken if answer.status == 200 else failed).append(time.perf_counter() - began)
threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, len(failed)
taken.sort()
print(json.dumps([len(taken) / seconds, taken[len(taken) // 2] * 1e3, taken[int(len(taken) * 0.99)] * 1e3]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as started:
        bundle = str(linear_bundle(Path(folder) / "iris").path)
        ways = {
            "Ray Serve, front in Python": (ray(started, bundle), (PORT,)),
            "Ray Serve, front by HAProxy": (ray(started, bundle, **NODE_ENVIRONMENT), (PORT,)),
        }
        # On the network of the first cluster, beside it: idle replicas take no time.
        ways["two plain servers"] = (plain(ways["Ray Serve, front in Python"][0], bundle), PLAIN)
        figures: dict[tuple[str, int], list[list[float]]] = {}
        for _ in range(settings.rounds):
            for callers in CALLERS:
                for name, (cluster, ports) in ways.items():
                    figures.setdefault((name, callers), []).append(
                        measured(cluster, ports, callers, settings.seconds)
                    )
    show(figures)


def ray(started: ExitStack, bundle: str, **environ: str) -> RayCluster:
    """Return a cluster of its own with two replicas."""
    cluster = started.enter_context(RayCluster(**environ))
    cluster.add_machine(cpus=4)
    done = deploy(cluster, bundle, "--min-replicas", "2", "--max-replicas", "2")
    if done.returncode:
        raise SystemExit(done.stderr)
    return cluster


def plain(cluster: RayCluster, bundle: str) -> RayCluster:
    """Start two servers on the network of a cluster, and return it."""
    for port in PLAIN:
        options = ("--port", str(port), "--grpc-port", "-1", "--threads", "1")
        # They end with the cluster, whose process table they are in.
        cluster.start(sys.executable, "-m", "lading", "serve", bundle, *options)
        health = ("curl", "-sf", "-o", "/dev/null", f"http://127.0.0.1:{port}/health")
        wait_until(lambda health=health: cluster.run(*health).returncode == 0, 60)
    return cluster


def measured(cluster: RayCluster, ports: tuple[int, ...], callers: int, seconds: float) -> list[float]:
    """Return answers a second, and the median and the 99th percentile of their times in milliseconds."""
    load = (sys.executable, "-c", LOAD, json.dumps(ports), str(callers), str(seconds), BODY)
    done = cluster.run(*load)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, load, done.stdout, done.stderr)
    numbers: list[float] = json.loads(done.stdout)
    return numbers


def show(figures: dict[tuple[str, int], list[list[float]]]) -> None:
    """Print the table."""
    print("| way | callers | requests/s | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for (name, callers), rounds in figures.items():
        rate, median, slow = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"| {name} | {callers} | {rate:,.0f} | {median:.2f} | {slow:.2f} |")


if __name__ == "__main__":
    main()
