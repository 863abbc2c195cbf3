"""Measurements of a model on this machine: time to load, latency, memory, size. Judges none of them.

MB is 1,000,000 bytes. docs/reference/verify.md says how each is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from lading.bundle import MANIFEST_FILE, Bundle
from lading.errors import RunFailed
from lading.runtime import Runtime
from lading.runtime.host.signals import how_it_ended
from lading.runtime.open import open_runtime
from lading.runtime.python.host import PythonHost
from lading.verify.golden_replay import repeat_rows

_MB = 1e6
_BATCH_ROWS = 32
# These bound the time that `lading verify` takes; docs/reference/verify.md states them.
WARM_UP_S = 0.1
BUDGET_S = 0.5
_MAX_RUNS = 2000
_MIN_RUNS = 5
_PROBE_TIMEOUT_S = 300


def load(bundle: Bundle, threads: int, python: PythonHost) -> tuple[Runtime, float]:
    """Open the model, and return it with the milliseconds that it took."""
    started = time.perf_counter()
    runtime = open_runtime(bundle, threads=threads, python=python)
    return runtime, (time.perf_counter() - started) * 1e3


def latency(runtime: Runtime, bundle: Bundle) -> dict[str, float]:
    """Time runs of golden inputs: of 1 row, and of 32 if the model has a batch dimension.

    One thread calls without a pause; protocols and queues are not included. Raises `RunFailed`.
    """
    signature, inputs = bundle.manifest.signature, bundle.samples().inputs
    numbers = {}
    for rows in (1, _BATCH_ROWS) if signature.batched else (1,):
        batch = repeat_rows(signature, inputs, rows)
        times_ms = _times_ms(lambda batch=batch: runtime.run(batch))  # type: ignore[misc]
        suffix = "" if rows == 1 else f"_{rows}"
        numbers[f"latency_p50_ms{suffix}"] = float(np.percentile(times_ms, 50))
        numbers[f"latency_p99_ms{suffix}"] = float(np.percentile(times_ms, 99))
    return numbers


def size_mb(bundle: Bundle) -> float:
    """Return the size of all files of the bundle."""
    manifest = (bundle.path / MANIFEST_FILE).stat().st_size
    return (manifest + sum(entry.size for entry in bundle.manifest.files.values())) / _MB


def memory(
    bundle: Bundle, threads: int, python: PythonHost, timeout_s: float = _PROBE_TIMEOUT_S
) -> dict[str, float]:
    """Return how much a fresh process grows, at its peak, when it loads and runs the model as a server does.

    Of a model in Python that includes its process, which has a number of its own as well. Raises `RunFailed`
    if that process fails: a model may need more memory than the machine has.
    """
    # -P keeps the current directory off the path: a `numpy.py` there must not be imported.
    wheels = str(python.wheels.absolute()) if python.wheels else ""
    arguments = [str(bundle.path), str(threads), str(os.getpid()), python.allow, wheels]
    command = [sys.executable, "-P", "-m", "lading.verify.memory_probe", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        expected = f"an end within {timeout_s:.3g} s"
        raise RunFailed("the process that measures memory", expected=expected, found="none") from None
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        outcome = f"{how_it_ended(done.returncode)}{f' ({last[0]})' if last else ''}"
        raise RunFailed("the process that measures memory", expected="exit code 0", found=outcome)
    measured = json.loads(done.stdout)
    names = {"memory_mb": "peak_bytes", "process_memory_mb": "process_bytes"}
    return {name: measured[key] / _MB for name, key in names.items() if key in measured}


def _times_ms(run: Callable[[], object]) -> list[float]:
    """Warm up for 0.1 s, then time runs for 0.5 s: at most 2,000, at least 5."""
    deadline = time.perf_counter() + WARM_UP_S
    run()
    while time.perf_counter() < deadline:
        run()
    times_ms: list[float] = []
    deadline = time.perf_counter() + BUDGET_S
    while len(times_ms) < _MIN_RUNS or (len(times_ms) < _MAX_RUNS and time.perf_counter() < deadline):
        started = time.perf_counter()
        run()
        times_ms.append((time.perf_counter() - started) * 1e3)
    return times_ms
