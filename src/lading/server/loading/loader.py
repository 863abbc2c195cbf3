"""Makes one version ready to answer: enough memory, load, golden replay, and what a run of it costs.

Decides nothing: which version, and when, is the manager's.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from lading.bundle import Bundle
from lading.errors import MemoryShort
from lading.runtime import Runtime
from lading.runtime.host.huge_pages import WORTHWHILE_BYTES, use_huge_pages
from lading.runtime.host.memory import memory_available, memory_needed
from lading.runtime.open import load_runtime, load_shared
from lading.server.inference.loaded import Cost, LoadedModel
from lading.server.inference.version import ServedVersion, State
from lading.signature import Array
from lading.verify import replay
from lading.verify.golden_replay import rows_of

_NEXT_TO_NOTHING_S = 0.0001


def prepare(served: ServedVersion, bundle: Bundle, threads: int, weights_in: Path | None = None) -> int:
    """Load, prove and warm the version that `bundle` is, all but ready; return the golden rows replayed."""
    # Weights that another worker has mapped already take no memory: that is checked where a copy is made.
    runtime = load_shared(bundle, weights_in, threads=threads) if weights_in is not None else None
    if runtime is None:
        check_memory(served, bundle)
        runtime = load_runtime(bundle, threads=threads)
    try:
        if _model_bytes(bundle) >= WORTHWHILE_BYTES:
            use_huge_pages()
        model = LoadedModel.of(bundle, runtime, served.label)
        served.adopt(model)
        served.advance(State.WARMING)
        parity = replay(runtime, bundle)
        served.adopt(replace(model, cost=measure(model)))
    except BaseException:
        runtime.close()
        raise
    return parity.rows


def check_memory(served: ServedVersion, bundle: Bundle) -> None:
    """Raise `MemoryShort` where loading the model would need more memory than there is."""
    needed = memory_needed(_model_bytes(bundle))
    available = memory_available()
    if available is not None and needed > available:
        raise MemoryShort(
            f"loading `{served.label}`",
            expected=f"{needed / 1e6:,.0f} MB of free memory",
            found=f"{available / 1e6:,.0f} MB",
            hint="give the server more memory, or have it replace the old version (`--swap replace`)",
        )


def _model_bytes(bundle: Bundle) -> int:
    return sum(entry.size for name, entry in bundle.manifest.files.items() if name != "samples.npz")


def measure(model: LoadedModel, *, budget_s: float = 0.05) -> Cost:
    """Time runs of 1 and 32 rows, within about `budget_s` each; the least of them is the cost.

    Where 32 rows cost next to nothing 512 tell more: what a run costs however many rows it has weighs less.
    """
    runtime, signature, golden = model.runtime, model.signature, model.samples.inputs
    row = rows_of(signature, golden, 1)
    first = _fastest(runtime, row, budget_s)
    row_values = 0 if signature.fixed_rows else sum(array.size for array in row.values())
    if not signature.batched:
        return Cost(first, 0.0, row_values)
    rows = 32
    many = _fastest(runtime, rows_of(signature, golden, rows), budget_s)
    if many < _NEXT_TO_NOTHING_S:
        rows = 512
        many = _fastest(runtime, rows_of(signature, golden, rows), budget_s)
    return Cost(first, max(0.0, many - first) / (rows - 1), row_values)


def _fastest(runtime: Runtime, inputs: dict[str, Array], budget_s: float) -> float:
    fastest, until = float("inf"), time.perf_counter() + budget_s
    for _ in range(50):
        began = time.perf_counter()
        runtime.run(inputs, None)
        ended = time.perf_counter()
        fastest = min(fastest, ended - began)
        if ended > until:
            break
    return fastest
