"""Runs over data sets as batch runs report them: well ended, going on, lost and failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lading.runs import BatchFacts, ColumnDrift, Run, RunInput

IDS = tuple("0" * 31 + str(number) for number in (1, 2, 3, 4))
FINISHED, RUNNING, LOST, FAILED = IDS


def run(id: str = FINISHED, **changes: Any) -> Run:
    """Return a run that goes on, unless changed."""
    values = {
        "id": id, "kind": "batch", "name": "iris", "version": 2, "digest": f"sha256:{'a1' * 32}",
        "actor": "ann", "host": "batch-1.example.com", "batch": facts(),
    }  # fmt: skip
    return Run(**{**values, **changes})


def facts(**changes: Any) -> BatchFacts:
    """Return what a run has come to after 12 of 40 parts, unless changed."""
    values = {
        "engine": "local", "output": "/data/scored/2026-11-30", "plan": f"sha256:{'5e' * 32}", "files": 2,
        "parts": 40, "parts_done": 12, "rows": 3_000_000, "scored": 3_000_000, "rows_per_s": 24_118.4,
    }  # fmt: skip
    return BatchFacts(**{**values, **changes})


def finished(columns: Sequence[tuple[str, float]] = (("age", 0.41), ("income", 0.003))) -> BatchFacts:
    """Return the report of a run that has ended well, some of whose columns may have drifted."""
    return facts(
        parts_done=40,
        resumed=3,
        rows=9_840_112,
        scored=9_838_871,
        rejected=1_241,
        rows_per_s=23_907.6,
        reasons=(
            ("column `savings`: expected `float32`, found no value", 1_187),
            ("column `age`: expected `float32`, found `unknown`", 54),
        ),
        failed=(("age range: 18 to 95 (stated)", 318),),
        drift=tuple(ColumnDrift(name, psi, 0.0021, psi > 0.1) for name, psi in columns),
        inputs=tuple(
            RunInput(
                f"applications-{number}.parquet", f"{number}c" * 32, 214_748_364, rows, rows - aside, aside
            )
            for number, rows, aside in ((1, 5_000_000, 611), (2, 4_840_112, 630))
        ),
        manifest="9d" * 32,
    )
