"""Measure an ONNX model while the code of a model beside it, in the same server, misbehaves in every way.

Each round asks the ONNX model at a steady rate, first in peace and then beside one fault that is asked for
again as soon as its model answers; what is printed is the ratio of the two, the median over rounds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import lading
import models
from servers import PYTHON, Running, running

RATE_S, CONNECTIONS = 400.0, 4
ROW = [5.1, 3.5, 1.4, 0.2]
CODE = Path(__file__).parents[1] / "tests" / "support" / "faulty_model.py"
FAULTS = {
    "a usual answer": 2,
    "a row that raises": 1007,
    "os._exit": 1001,
    "killed": 1002,
    "hanging until the deadline": 1003,
    "leaking to its memory limit": 1004,
    "printing 100 MB": 1005,
    "forking": 1006,
}
FLAGS = ("--allow", "code", "--process-memory-mb", "600", "--deadline-s", "1")


def main() -> int:
    """Print the ratios; 1 if a request to the ONNX model failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; all by default")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as up:
        steady(up, 1.0)
        for title in options.faults or FAULTS:
            value = FAULTS[title]
            ratios = []
            for _ in range(options.rounds):
                calm, lost = steady(up, options.seconds)
                with asking(up, value) as faults:
                    beside, lost_beside = steady(up, options.seconds)
                failed += lost + lost_beside
                ratios.append(tuple(np.percentile(beside, q) / np.percentile(calm, q) for q in (50, 99)))
            p50, p99 = (median(column) for column in zip(*ratios, strict=True))
            print(
                f"{title:>28}: p50 {p50:.2f} x, p99 {p99:.2f} x; {len(faults)} in the last round", flush=True
            )
    print(f"{failed} requests to the ONNX model failed")
    return 1 if failed else 0


@contextmanager
def server(folder: Path) -> Iterator[Running]:
    """Serve the small network and the model that misbehaves, on all cores."""
    small, faulty = models.small(folder), pack_faulty(folder)
    command = [PYTHON, "-m", "lading", "serve", str(small), str(faulty), "--port", "{port}"]
    with running([*command, "--grpc-port", "{grpc}", *FLAGS], cores="0,1") as up:
        wait_until(lambda: ask_faulty(up.port, 2) == 200)
        yield up


def pack_faulty(folder: Path) -> Path:
    """Pack the class that misbehaves for some values, and not for those of its samples."""
    sys.path.insert(0, str(CODE.parent))
    from faulty_model import Faulty

    rows = np.linspace(0, 1, 20).reshape(-1, 1)
    to = folder / "faulty.bundle"
    return lading.pack(Faulty, name="faulty", owner="bench@example.com", samples=rows, to=to).path


def steady(up: Running, seconds: float) -> tuple[list[float], int]:
    """Ask the ONNX model at a steady rate; return the seconds since each was due, and how many failed."""
    body = json.dumps({"data": [ROW]})
    took: list[float] = []
    failed: list[int] = []
    begin = time.perf_counter() + 0.05

    def ask(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=30)
        for number in range(first, int(seconds * RATE_S), CONNECTIONS):
            due = begin + number / RATE_S
            time.sleep(max(due - time.perf_counter(), 0))
            connection.request("POST", "/models/iris/predict", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            took.append(time.perf_counter() - due)
            if answer.status != 200:
                failed.append(answer.status)
        connection.close()

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, len(failed)


@contextmanager
def asking(up: Running, value: int) -> Iterator[list[int]]:
    """Ask the other model for its fault, again and again, until the block ends; give the statuses."""
    # In a process of its own: a thread beside those that measure would take turns with them.
    context = multiprocessing.get_context("spawn")
    done, answers = context.Event(), context.SimpleQueue()
    process = context.Process(target=ask_on, args=(up.port, value, done, answers))
    process.start()
    statuses: list[int] = [answers.get()]
    yield statuses
    done.set()
    while status := answers.get():
        statuses.append(status)
    process.join()


def ask_on(port: int, value: int, done: Any, answers: Any) -> None:
    """Ask until `done`, put each status into `answers`, and 0 at the end."""
    while not done.is_set():
        answers.put(ask_faulty(port, value))
        wait_until(lambda: done.wait(0.1) or ask_faulty(port, 2) == 200)
    answers.put(0)


def ask_faulty(port: int, value: int) -> int:
    """Return the status with which the other model answers a value."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"data": [[value]]})
    connection.request("POST", "/models/faulty/predict", body, {"content-type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("the model that misbehaves has not answered for a minute")
        time.sleep(0.05)


if __name__ == "__main__":
    raise SystemExit(main())
