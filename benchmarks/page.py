"""The page of results: budgets, tables, a chart; with machine, versions and date."""

from __future__ import annotations

import datetime
import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path

from load import Load
from workloads import Series, Start, paired

DOCS = Path(__file__).parent.parent / "docs"
FORMER = DOCS / "benchmarks"
_rate, _p50, _p99 = attrgetter("rate"), attrgetter("p50_ms"), attrgetter("p99_ms")
_LIBRARIES = ("onnxruntime", "numpy", "uvicorn", "uvloop", "httptools", "fastapi", "gunicorn", "grpcio")


@dataclass(frozen=True)
class Results:
    """Everything that one run measured."""

    cost: dict[str, float]
    matrix_us: dict[str, float]
    floor_ms: float
    start: Start
    soak: dict[str, float]
    row: dict[str, Series]
    rpc: dict[str, Series]
    matrix: dict[str, Series]
    merged: dict[int, dict[str, Series]]
    workers: dict[str, Series]
    rounds: int
    seconds: float


@dataclass(frozen=True)
class Budget:
    """One promise, what was found, and whether it holds."""

    what: str
    promised: str
    value: str
    met: bool


def budgets(results: Results) -> list[Budget]:
    """Compare what was measured with the budgets."""
    row, rpc = results.row, results.rpc
    many, alone = results.merged[64], results.merged[1]
    beyond = {name: results.matrix_us[name] - results.matrix_us["model"] for name in ("json", "binary")}

    def beyond_model_us(load: Load) -> float:
        return 1e6 / load.rate - results.matrix_us["model"]

    return [
        _at_least("JSON, one row: times FastAPI + gunicorn", 8, paired(row["lading"], row["fastapi"], _rate)),
        _at_least(
            "JSON, one row: share of a bare httptools echo", 0.3, paired(row["lading"], row["echo"], _rate)
        ),
        _at_least(
            "gRPC, one row: share of a bare grpcio echo", 0.6, paired(rpc["lading"], rpc["echo"], _rate)
        ),
        _at_most("own cost a request, µs (no network, no model)", 10, results.cost["own"]),
        _at_most("start to first prediction, s", 0.6, results.start.seconds),
        _at_most("resident memory with one small model, MB", 120, results.start.resident_mb),
        _at_most(
            "1,000 × 30 JSON over the network: times a bare server of the fastest parse and the model",
            1.5,
            paired(results.matrix["bare server of both"], results.matrix["lading JSON"], _rate),
        ),
        _at_least(
            "1,000 × 30 over the network: what JSON costs beyond the model, times binary",
            5,
            paired(results.matrix["lading OIP JSON"], results.matrix["lading binary"], beyond_model_us),
        ),
        _at_most(
            "the same inside the process: JSON, times the fastest parse and the model",
            1.5,
            results.matrix_us["json"] / 1000 / results.floor_ms,
        ),
        _at_least(
            "the same inside the process: what JSON costs beyond the model, times binary",
            5,
            beyond["json"] / beyond["binary"],
        ),
        _at_least(
            "model of 1 ms, 64 connections: merging, times none", 2, paired(many["on"], many["off"], _rate)
        ),
        _at_most("the same: p99 with merging, times without", 1, paired(many["on"], many["off"], _p99)),
        _at_most("the same, 1 connection: p50, times without", 1.05, paired(alone["on"], alone["off"], _p50)),
        _at_most(
            "resident memory after 1,000,000 requests, times after 50,000",
            1.05,
            results.soak["late"] / results.soak["early"],
        ),
        _at_most("requests that failed in all rounds", 0, _failed(results)),
    ]


def table(budgets: list[Budget]) -> str:
    """Write the budgets as a table of Markdown."""
    rows = [
        f"| {budget.what} | {budget.promised} | {budget.value} | {'yes' if budget.met else '**no**'} |"
        for budget in budgets
    ]
    return "\n".join(("| what | budget | found | met |", "|---|---|---|---|", *rows))


def write(results: Results, budgets: list[Budget]) -> None:
    """Write docs/benchmarks.md and its chart."""
    _keep_former()
    row = results.row
    bars = {
        "bare httptools echo": row["echo"].rate,
        "lading": row["lading"].rate,
        "FastAPI + gunicorn": row["fastapi"].rate,
    }
    (DOCS / "benchmarks.svg").write_text(chart("One row of JSON, one core, requests/s", bars))
    (DOCS / "benchmarks.md").write_text(_page(results, budgets))


def _keep_former() -> None:
    """Move the page of another day to docs/benchmarks/, named by its date."""
    page = DOCS / "benchmarks.md"
    text = page.read_text() if page.exists() else ""
    date = re.search(r"Written by `make bench` on (\d{4}-\d\d-\d\d): ", text)
    if date is None or date[1] == _today():
        return
    FORMER.mkdir(exist_ok=True)
    moved = text.replace("](benchmarks.svg)", f"]({date[1]}.svg)").replace("](benchmarks/", "](")
    (FORMER / f"{date[1]}.md").write_text(moved)
    (DOCS / "benchmarks.svg").rename(FORMER / f"{date[1]}.svg")


def _former_runs() -> str:
    """Name the pages of other days, the newest first."""
    pages = sorted(FORMER.glob("*.md"), reverse=True)
    return ", ".join(f"[{page.stem}](benchmarks/{page.name})" for page in pages)


def _today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def chart(title: str, bars: dict[str, float]) -> str:
    """Draw horizontal bars as SVG."""
    longest, height = max(bars.values()), 34 * len(bars) + 44
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" font-family="sans-serif" '
            'font-size="14">'
        ),
        f'<rect width="720" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-weight="bold" fill="#222222">{title}</text>',
    ]
    for at, (name, value) in enumerate(bars.items()):
        top, width = 40 + 34 * at, 400 * value / longest
        colour = "#1f6feb" if name.startswith("lading") else "#9aa4b2"
        lines += [
            f'<text x="12" y="{top + 17}" fill="#222222">{name}</text>',
            f'<rect x="220" y="{top}" width="{width:.0f}" height="24" rx="3" fill="{colour}"/>',
            f'<text x="{228 + width:.0f}" y="{top + 17}" fill="#222222">{value:,.0f}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def machine() -> str:
    """Say what machine this is, without its name."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}"


def _page(results: Results, budgets: list[Budget]) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    start = results.start
    parts = [
        "# Benchmarks",
        (
            f"Written by `make bench` on {_today()}: {machine()}; Python {platform.python_version()}, "
            f"{libraries}. Medians of interleaved rounds: {round(results.rounds * results.seconds)} of 1 s "
            f"for one row and 1,000 × 30, {results.rounds} of {results.seconds:g} s for two workers, "
            f"{4 * results.rounds} of {results.seconds:g} s for the model of 1 ms "
            f"({12 * results.rounds} of 1 s with 1 connection). The server had one core, the load the other. "
            "Machines differ; ratios hold: those over the network are medians of the ratios within a round."
        ),
        *([f"Earlier runs: {former}."] if (former := _former_runs()) else []),
        "![One row of JSON](benchmarks.svg)",
        "## Budgets",
        table(budgets),
        "## One row of JSON, 32 connections, a 4-16-3 network",
        _rates(results.row),
        "## One row over gRPC (Open Inference Protocol), 8 connections of 4 calls",
        _rates(results.rpc),
        "## 1,000 × 30, 4 connections, a 30-16-2 network",
        _rates(results.matrix),
        (
            f"Inside the process: JSON {results.matrix_us['json'] / 1000:.2f} ms, binary "
            f"{results.matrix_us['binary'] / 1000:.2f} ms, the model "
            f"alone {results.matrix_us['model'] / 1000:.2f} ms. The fastest way known to read that text "
            f"into an array, and the model: {results.floor_ms:.2f} ms."
        ),
        (
            "The bare server is httptools and uvloop around that reading and the model; it checks nothing "
            "and answers the same bytes always. Against reading and model in a loop, without any server, "
            f"lading's JSON takes {_times(results, 'parse and model alone', 'lading JSON')} times as long "
            "over the network. With the model, which is about half of such a request, binary tensors are "
            f"answered {_times(results, 'lading binary', 'lading OIP JSON')} times as often as JSON of the "
            f"same protocol, and {_times(results, 'lading binary', 'lading JSON')} times as lading's own."
        ),
        "## A model of about 1 ms (a layer of 2,600 × 2,600 weights), merging on and off",
        *(
            f"{count} connection{'s' * (count > 1)}:\n\n{_rates(series)}"
            for count, series in results.merged.items()
        ),
        "## One worker and two, sharing both cores with the load",
        _rates(results.workers),
        "## Inside the process",
        (
            f"One request by itself, without network: {results.cost['request']:.1f} µs of CPU, and "
            f"{results.cost['own']:.1f} µs where the model's answer is given without running it. "
            "From the command to the first prediction "
            f"{start.seconds:.2f} s; {start.resident_mb:.0f} MB resident, gRPC included."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _rates(series: dict[str, Series]) -> str:
    rows = [
        f"| {name} | {rounds.rate:,.0f} | {rounds.p50_ms:.2f} | {rounds.p99_ms:.2f} |"
        for name, rounds in series.items()
    ]
    return "\n".join(("| | requests/s | p50 ms | p99 ms |", "|---|---|---|---|", *rows))


def _times(results: Results, first: str, second: str) -> str:
    return f"{paired(results.matrix[first], results.matrix[second], _rate):.2f}"


def _failed(results: Results) -> float:
    groups = [results.row, results.rpc, results.matrix, results.workers, *results.merged.values()]
    return results.soak["failed"] + sum(series.failed for group in groups for series in group.values())


def _at_least(what: str, least: float, value: float) -> Budget:
    return Budget(what, f"≥ {least:g}", f"{value:.2f}", value >= least)


def _at_most(what: str, most: float, value: float) -> Budget:
    return Budget(what, f"≤ {most:g}", f"{value:.2f}", value <= most)
