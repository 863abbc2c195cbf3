"""Writes docs/benchmarks-batch.md and its chart from what `batch` has measured. Measures nothing."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from page import DOCS, chart, machine

_CASES = {
    "file": "one file, logistic regression",
    "folder": "200 files, logistic regression",
    "trees": "one file, 100 trees",
}
_LIBRARIES = ("onnxruntime", "pyarrow", "numpy")


def write(results: dict[str, Any]) -> None:
    """Write the page and its chart."""
    file = results["file"]
    bars = {
        "bare pyarrow + ONNX Runtime": file["bare_rows_per_s"],
        "lading, one process": file["one_rows_per_s"],
        "lading, two processes": file["two_rows_per_s"],
    }
    if "peers" in results:
        bars["pandas, predict in chunks"] = results["peers"]["pandas_rows_per_s"]
        bars["MLflow, spark_udf"] = results["peers"]["mlflow_rows_per_s"]
    (DOCS / "benchmarks-batch.svg").write_text(chart("30 columns, logistic regression, rows/s", bars))
    (DOCS / "benchmarks-batch.md").write_text(_page(results))


def _page(results: dict[str, Any]) -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    parts = [
        "# Offline scoring",
        (
            f"Written by `make bench-batch` on {today}: {machine()}; Python {platform.python_version()}, "
            f"{libraries}. Whole processes, from their start to their end, over Parquet of 30 columns; "
            f"{results['rounds']} interleaved rounds, and a ratio for each. Machines differ; ratios hold."
        ),
        "![Rows per second](benchmarks-batch.svg)",
        "## Beside a bare loop",
        (
            "The loop reads, stacks columns, runs the model and writes answers, and does nothing else. "
            "lading also hashes the input, replays the golden samples, checks each value, counts every "
            "column for drift, numbers rows, sets aside what does not fit, brings parts to the disk and "
            "writes the manifest."
        ),
        _cases(results),
        (
            "Two bare loops at once, over the same input, are what the cores of this machine give together; "
            "what two processes of lading share besides is the start of Python and the hash of the input."
        ),
        "## Memory",
        _memory(results["memory"]),
    ]
    if "peers" in results:
        parts += ["## Beside MLflow and pandas", _PEERS, _peers(results)]
    return "\n\n".join(parts) + "\n"


_PEERS = (
    "The same scikit-learn model and file, on all cores: `mlflow.pyfunc.spark_udf` in a local session of "
    "Spark whose start is not counted, and `predict` over chunks that pandas makes, in one process. Both "
    "write labels alone; lading labels and probabilities."
)


def _cases(results: dict[str, Any]) -> str:
    rows = [
        "| | rows | bare loop, rows/s | one process to it | two processes to one | two bare loops to one |"
    ]
    rows.append("|---|---|---|---|---|---|")
    for name, title in _CASES.items():
        case = results[name]
        rows.append(
            f"| {title} | {case['rows']:,} | {case['bare_rows_per_s']:,} | {_listed(case['one_to_bare'])} "
            f"| {_listed(case['two_to_one'])} | {_listed(case['two_bare_to_bare'])} |"
        )
    return "\n".join(rows)


def _memory(most: dict[int, int]) -> str:
    listed = ", ".join(f"{mib:,} MiB for {rows:,} rows" for rows, mib in most.items())
    return f"The most that one process took: {listed}."


def _peers(results: dict[str, Any]) -> str:
    rows = ["| model | rows | lading, rows/s | to MLflow | to pandas | `lading.batch.spark_udf` to MLflow |"]
    rows.append("|---|---|---|---|---|---|")
    for name, title in (("peers", "logistic regression"), ("peers_trees", "100 trees")):
        case = results[name]
        rows.append(
            f"| {title} | {case['rows']:,} | {case['lading_rows_per_s']:,} "
            f"| {_listed(case['lading_to_mlflow'])} | {_listed(case['lading_to_pandas'])} "
            f"| {_listed(case['lading_spark_udf_to_mlflow'])} |"
        )
    return "\n".join(rows)


def _listed(ratios: Sequence[float]) -> str:
    return " · ".join(f"{ratio:g} ×" for ratio in ratios)
