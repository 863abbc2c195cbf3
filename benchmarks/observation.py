"""What looking at every row costs a server: checks and live columns, and the prediction log.

    python benchmarks/observation.py

Serves the small network of the other benchmarks three times, on one core: nothing looked at; checks counted
and columns compared, as is the default; every request logged besides. Measures the rate of one-row JSON of
each in turn, a second at a time, and the time of the processor that the server's own process takes for a
request. The writer of the log is a process of its own, and here on the same core: the rate has its share in
it. With `--matrix` a request has 1,000 rows of 30 columns instead.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import models
from load import Load, http
from servers import Running, lading
from workloads import ROW, interleaved, matrix, paired, started

NOTHING = ("--drift", "off", "--input-checks", "off")
LIMITS = {"observed": ("nothing", 0.95), "logged": ("observed", 0.90)}
"""What each is compared with, and the share of its rate that we want at least."""


def cpu_s(server: Running) -> float:
    """Return the seconds on the processor of every thread of a server's process so far."""
    tasks = Path(f"/proc/{server.process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def counted(server: Running, spent: list[float], connections: int, body: bytes) -> Callable[[], Load]:
    """Return a measure of one second, which adds to `spent` the µs of the processor for a request."""

    def measure() -> Load:
        before = cpu_s(server)
        load = http(server.url("/predict"), body, seconds=1, connections=connections)
        spent.append((cpu_s(server) - before) / load.rate * 1e6)
        return load

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="seconds for each server")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--matrix", action="store_true", help="1,000 rows of 30 columns; 4 connections")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    spent: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="lading-observation-") as folder:
        bundle, body = models.small(Path(folder)), ROW
        if options.matrix:
            bundle, body, options.connections = models.wide(Path(folder)), matrix()[1], 4
        commands = {
            "nothing": lading(bundle, *NOTHING),
            "observed": lading(bundle),
            "logged": lading(bundle, "--log-predictions", "1", "--log", str(Path(folder, "log"))),
        }
        with started(**{name: (command, {}) for name, command in commands.items()}) as up:
            measures = {name: counted(up[name], spent[name], options.connections, body) for name in up}
            series = interleaved(measures, options.rounds)
    for name, each in series.items():
        cpu_us = statistics.median(spent[name][1:])
        print(f"{name:>9}: {each.rate:8,.0f} requests/s, {cpu_us:5.2f} µs in the server's process")
    for name, (other, least) in LIMITS.items():
        share = paired(series[name], series[other], lambda load: load.rate)
        print(f"{share:.3f} times the rate of {other}: {name} (at least {least:g} is wanted)")


if __name__ == "__main__":
    main()
