"""Measure what it costs to run a model's code in a process of its own, beside pickles through a pipe.

The model returns its input as it is, so that all that is measured is the way there and back.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROUNDS = 5
SHAPES = {"1 row of 4 floats": ((1, 4), 4000), "0.8 MB": ((200, 1000), 400), "100 MB": ((1000, 25_000), 5)}
BUDGET_US, BUDGET_GB_S = 150, 1.0
CODE = """
import lading


class Echo(lading.Model):
    def predict(self, inputs):
        return {"y": inputs["x"]}
"""


def main() -> None:
    """Print for each size the time there and back, and how many times as long pickles take."""
    pipe, other_end = multiprocessing.Pipe()
    peer = multiprocessing.get_context("spawn").Process(target=echo, args=(other_end,), daemon=True)
    peer.start()
    with tempfile.TemporaryDirectory() as folder:
        runtime = open_echo(Path(folder))
        for title, (shape, calls) in SHAPES.items():
            array = np.random.default_rng(1).random(shape, np.float32)
            inputs = {"x": array}
            both = [
                (p50_s(partial(runtime.run, inputs), calls), p50_s(partial(through, pipe, inputs), calls))
                for _ in range(ROUNDS)
            ]
            own_s, ratio = median(own for own, _ in both), median(other / own for own, other in both)
            print(f"{title:>18}: {shown(own_s, array.nbytes)}; pickles take {ratio:.1f} times as long")
        runtime.close()
    pipe.send(None)
    peer.join()
    print(f"budget: {BUDGET_US} µs for one row, {BUDGET_GB_S:g} GB/s each way")


def open_echo(folder: Path) -> Any:
    """Start a model process whose model returns its input."""
    from lading.runtime.python.process import ProcessSettings
    from lading.runtime.python.session import PythonRuntime
    from lading.signature import Tensor

    (folder / "echo.py").write_text(CODE)
    inputs, outputs = (
        Tensor(name="x", dtype="float32", shape=("batch", "n")),
        Tensor(name="y", dtype="float32", shape=("batch", "n")),
    )
    return PythonRuntime(
        ProcessSettings(
            "echo", Path(sys.executable), folder, folder, "echo:Echo", inputs=(inputs,), outputs=(outputs,)
        )
    )


def echo(pipe: Connection) -> None:
    """Return what comes, until None comes."""
    while (value := pipe.recv()) is not None:
        pipe.send(value)


def through(pipe: Connection, inputs: Any) -> Any:
    """Pass arrays through a pipe, there and back."""
    pipe.send(inputs)
    return pipe.recv()


def p50_s(call: Callable[[], object], calls: int) -> float:
    """Return the median seconds of a call."""
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return median(times)


def shown(took_s: float, size: int) -> str:
    """Return a time there and back, and for large arrays the rate each way."""
    if size < 1 << 16:
        return f"{took_s * 1e6:,.0f} µs"
    return f"{took_s * 1e3:,.2f} ms, {2 * size / took_s / 1e9:.1f} GB/s each way"


if __name__ == "__main__":
    main()
