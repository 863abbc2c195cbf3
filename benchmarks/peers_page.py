"""The page of the peers: one table, with machine, versions and date."""

from __future__ import annotations

import datetime
import platform
from dataclasses import dataclass, field
from importlib.metadata import version

import lading
from page import DOCS, machine
from workloads import Series

# The protocol that lading has in common with a peer; its own where there is none.
_BESIDE = {
    "mlserver": "lading, OIP",
    "mlserver-sklearn": "lading, scikit-learn",
    "triton": "lading, OIP",
}
_NATIVE = "lading, native"
_TITLES = {
    "mlserver": "MLServer",
    "mlserver-sklearn": "MLServer, scikit-learn",
    "bentoml": "BentoML",
    "litserve": "LitServe",
    "triton": "Triton (nvidia-pytriton)",
}


@dataclass(frozen=True)
class Start:
    """From the command to the first prediction, and the memory then."""

    seconds: float
    resident_mb: float


@dataclass
class Results:
    """Everything that one run measured, by contender."""

    rounds: int
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)
    starts: dict[str, Start] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def table(results: Results) -> str:
    """Write the table of Markdown, the fastest first, and a line for each peer that was left out."""
    rows = [
        "| | requests/s | p50 ms | p99 ms | first prediction, s | memory, MB | failed | lading is |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, series in sorted(results.series.items(), key=lambda item: -item[1].rate):
        start = results.starts[name]
        ratio = "" if name not in _TITLES else f"{_ratio(results, name):.1f} ×"
        cells = (
            _TITLES.get(name, name),
            f"{series.rate:,.0f}",
            f"{series.p50_ms:.2f}",
            f"{series.p99_ms:.2f}",
            f"{start.seconds:.2f}",
            f"{start.resident_mb:.0f}",
            f"{series.failed}",
            ratio,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join((*rows, *_left_out(results)))


def write(results: Results) -> None:
    """Write docs/benchmarks-peers.md."""
    DOCS.mkdir(exist_ok=True)
    (DOCS / "benchmarks-peers.md").write_text(_page(results))


def _ratio(results: Results, name: str) -> float:
    return results.series[_BESIDE.get(name, _NATIVE)].rate / results.series[name].rate


def _left_out(results: Results) -> list[str]:
    return ["", *(f"{_TITLES[name]} is left out: {why}." for name, why in results.left_out.items())]


def _page(results: Results) -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    own = f"lading {lading.__version__} with onnxruntime {version('onnxruntime')}"
    libraries = "; ".join(dict.fromkeys((own, *results.versions.values())))
    parts = [
        "# Benchmarks beside other model servers",
        (
            f"Written by `make bench-peers` on {today}: {machine()}; Python {platform.python_version()}; "
            f"{libraries}. Medians of {results.rounds} interleaved rounds of {results.seconds:g} s. The "
            "server had one core, the load the other. Machines differ; ratios hold."
        ),
        (
            "One row of JSON, 32 connections, a 4-16-3 network: the same ONNX file for all, run by ONNX "
            "Runtime with one thread, and the same answer checked before the load. Each peer speaks its own "
            "protocol; the last column is lading over the same one (Open Inference Protocol for MLServer "
            "and Triton), its native one for the others. The two rows named scikit-learn run the estimator "
            "itself: MLServer loads it with its own runtime from a file of joblib, in its own process; "
            'lading runs a bundle packed with `runtime="python"`, in a model process on the same core. '
            "Both answer over the Open Inference Protocol."
        ),
        table(results),
        (
            "Memory is the proportional set size of the server and its children, idle after the first "
            "prediction. Each peer runs in an environment of its own with one worker: MLServer predicts in "
            "its own process, BentoML in an `async` method, LitServe in its worker process. The wheel of "
            "nvidia-pytriton holds Triton without its ONNX Runtime backend, so Triton calls ONNX Runtime "
            "in Python, through its dynamic batcher: Triton with a backend of its own was not measured. How "
            "each is written is in `benchmarks/references/`."
        ),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"
