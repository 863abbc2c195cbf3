"""Makes one version ready to answer: checks memory, loads, replays the golden samples, measures a run.

Decides nothing: which version, and when, is the manager's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lading.bundle import Bundle
from lading.errors import MemoryShort
from lading.runtime.host.huge_pages import WORTHWHILE_BYTES, use_huge_pages
from lading.runtime.host.memory import memory_available, memory_needed
from lading.runtime.open import load_runtime, load_shared, operator_by_values
from lading.runtime.python.host import DEFAULT_HOST, PythonHost
from lading.runtime.python.open import build_environment, check_allowed
from lading.server.inference.inline_runs import INLINE_S, InlineRuns
from lading.server.inference.loaded import Cost, LoadedModel
from lading.server.inference.version import Replayed, ServedVersion, State
from lading.signature import Array
from lading.verify import replay
from lading.verify.golden_replay import repeat_rows

Prove = Callable[[Bundle, Callable[[], None]], None]
"""Runs the model of a bundle in another process unless it has run here before; calls the function first."""

log = logging.getLogger("lading.server")

_NEGLIGIBLE_S = 0.0001
_MAX_TIMED_RUNS = 50
_MANY_ROWS_S = 0.25


def prepare(
    served: ServedVersion,
    bundle: Bundle,
    threads: int,
    weights_folder: Path | None = None,
    prove: Prove | None = None,
    python: PythonHost = DEFAULT_HOST,
) -> int:
    """Load, prove and warm `bundle` as `served`, all but ready; return how many golden rows were replayed.

    Workers share weights in `weights_folder`, if there is one. `prove` runs an ONNX model that is new here
    in another process first, with its steps if it has some; what runs in Python has processes of its own, on
    the terms of `python`.
    """
    # First of all: what may not run here is not even given memory.
    check_allowed(bundle.manifest, python.allow)
    if prove is not None and bundle.has_onnx:
        if bundle.manifest.runtime == "python":
            # Before the time that a model has to prove itself: it is no fault of the model's.
            build_environment(bundle, python)
        prove(bundle, lambda: check_memory(served, bundle))
    runtime = load_shared(bundle, weights_folder, threads=threads) if weights_folder is not None else None
    if runtime is None:
        # Not for shared weights: those that another worker has mapped take no more memory, and memory is
        # checked where the shared copy is made.
        check_memory(served, bundle)
        runtime = load_runtime(bundle, threads=threads, python=python)
    try:
        if _model_bytes(bundle) >= WORTHWHILE_BYTES:
            use_huge_pages()
        model = LoadedModel.of(bundle, runtime, served.label)
        served.adopt(model)
        served.advance(State.WARMING)
        began = time.perf_counter()
        parity = replay(runtime, bundle)
        served.replayed = Replayed(parity.rows, time.perf_counter() - began, parity.max_abs_error)
        cost = measure(model)
        served.adopt(replace(model, cost=cost, inline_runs=inline_runs(served.label, model, cost)))
    except BaseException:
        runtime.close()
        raise
    return parity.rows


def check_memory(served: ServedVersion, bundle: Bundle) -> None:
    """Raise `MemoryShort` if loading the model would need more memory than is free."""
    needed = memory_needed(_model_bytes(bundle))
    available = memory_available()
    if available is not None and needed > available:
        raise MemoryShort(
            f"loading `{served.label}`",
            expected=f"{needed / 1e6:,.0f} MB of free memory",
            found=f"{available / 1e6:,.0f} MB",
            hint="give the server more memory, or have it replace the old version (`--swap replace`)",
        )


def measure(
    model: LoadedModel, *, budget_s: float = 0.05, clock: Callable[[], float] = time.perf_counter
) -> Cost:
    """Time runs of 1 row and of many, within about `budget_s` each; the fastest of each make up the cost."""

    def fastest_s(inputs: dict[str, Array]) -> float:
        # The fastest and not the mean: whatever else the machine does only ever adds to a run.
        fastest, until = float("inf"), clock() + budget_s
        for _ in range(_MAX_TIMED_RUNS):
            began = clock()
            model.runtime.run(inputs, None)
            ended = clock()
            fastest = min(fastest, ended - began)
            if ended > until:
                break
        return fastest

    signature, golden = model.signature, model.samples.inputs
    row = repeat_rows(signature, golden, 1)
    first_row_s = fastest_s(row)
    if not signature.batched:
        return Cost(first_row_s, 0.0)
    rows = _timed_rows(first_row_s)
    many_rows_s = fastest_s(repeat_rows(signature, golden, rows))
    if many_rows_s < _NEGLIGIBLE_S:
        # So fast a run is mostly the fixed cost of any run. More rows show better what each further row
        # costs.
        rows = 512
        many_rows_s = fastest_s(repeat_rows(signature, golden, rows))
    return Cost(first_row_s, max(0.0, many_rows_s - first_row_s) / (rows - 1), rows)


def inline_runs(label: str, model: LoadedModel, cost: Cost) -> InlineRuns:
    """Return what is known of the model's runs: those that were measured and are short, if sizes decide."""
    signature, golden = model.signature, model.samples.inputs
    # The event loop waits for no other process, however quick that was when it was measured.
    if cost.first_row_s >= INLINE_S or model.bundle.manifest.runtime != "onnx":
        return InlineRuns(signature, learns=False)
    operator = operator_by_values(model.bundle)
    if operator:
        log.info("%s: every run is queued: values of a request decide how much `%s` does", label, operator)
        return InlineRuns(signature, learns=False)
    runs = InlineRuns(signature)
    row = repeat_rows(signature, golden, 1)
    runs.measured(row, len(row[signature.inputs[0].name]) if signature.inputs[0].batched else 1)
    further = int(min(cost.rows - 1, (INLINE_S - cost.first_row_s) / max(cost.further_row_s, 1e-12)))
    if further:
        runs.measured(repeat_rows(signature, golden, cost.rows), 1 + further)
    return runs


def _timed_rows(first_row_s: float) -> int:
    """Return how many rows to time beside a single one: few of a slow model, whose start they would delay."""
    return int(min(32, max(2, _MANY_ROWS_S / max(first_row_s, 1e-9))))


def _model_bytes(bundle: Bundle) -> int:
    return sum(entry.size for name, entry in bundle.manifest.files.items() if name != "samples.npz")
