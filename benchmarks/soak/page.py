"""The page of a soak: limits, latencies by kind, memory, and what each hostile client got."""

from __future__ import annotations

import datetime
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import grpc_kinds  # noqa: F401 - registers its kinds
from good_client import GRPC_HEALTH, HEALTH
from kinds import KINDS
from observed import Soak

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks-soak.md"
_LIBRARIES = ("onnxruntime", "numpy", "uvicorn", "uvloop", "grpcio")


@dataclass(frozen=True)
class Limit:
    """One promise, what was measured, and whether it holds."""

    what: str
    promise: str
    value: str
    met: bool


def limits(soak: Soak, *, lenient: bool = False) -> list[Limit]:
    """Compare what was observed with what is promised.

    `lenient` leaves out what neighbours disturb, and what only many cycles show.
    """
    request = soak.is_request
    calm, hostile = (soak.latency(request & soak.is_in(*names)) for names in (("calm",), soak.kinds))
    health = soak.latency(soak.is_way(HEALTH))
    grpc_health = soak.latency(soak.is_way(GRPC_HEALTH))
    lost = int((soak.records["lost"] > 0).sum())
    second, last = (median(sample.resident_mb for sample in soak.third(at)) for at in (1, 2))
    early, late = (max(sample.descriptors for sample in soak.third(at)) for at in (1, 2))
    made = [
        Limit("requests and probes lost", "0", f"{lost}", lost == 0),
        _at_most("memory, last third times second third", 1.25 if lenient else 1.05, last / second),
        Limit("end of the server", "exit code 0", f"exit code {soak.exit_code}", soak.exit_code == 0),
    ]
    if lenient:
        return made
    return [
        *made,
        _at_most("descriptors, most in the last third times second", 1.1, late / early),
        _at_most("p99 beside hostile clients, times calm", 3, hostile.p99_ms / calm.p99_ms),
        _at_most("`GET /health`, p99 in ms", 100, health.p99_ms),
        _at_most("gRPC health, p99 in ms", 100, grpc_health.p99_ms),
    ]


def _at_most(what: str, most: float, value: float) -> Limit:
    return Limit(what, f"≤ {most:g}", f"{value:.3g}", value <= most)


def text(soak: Soak, made: list[Limit]) -> str:
    """Write the whole page."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    at_s, p99_ms, active = soak.worst_window()
    losses = "".join(f"- lost: {line}\n" for line in soak.losses())
    machine = f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}"
    intro = " ".join(
        [
            f"Written by `python benchmarks/soak --write` on {today}: {machine};",
            f"Python {platform.python_version()}, {libraries}.",
            f"{soak.seconds / 60:.3g} minutes on loopback, everything on the same cores.",
            f"One server (`lading serve {soak.flags}`) follows the releases of five models.",
            "A good client sends 200 requests a second, REST and gRPC by halves, in six ways, on time",
            "whatever the answers do: a latency counts from when the request was due. Each answer is",
            "compared with the first. Beside it is a hostile client, in turns of one kind, each followed by",
            "calm, and of all together. It is niced by 10: on another machine its own work would take",
            "nothing from the server.",
        ]
    )
    slowest = f"The slowest 2 s began {at_s:.0f} s after the start, with a p99 of {p99_ms:.1f} ms: {active}."
    return f"""# A good client beside hostile ones

{intro}

| what | limit | measured | met |
|---|---|--:|---|
{_rows([(limit.what, limit.promise, limit.value, "yes" if limit.met else "**no**") for limit in made])}
{slowest} Processes of the server that ended before it did: {soak.ended_processes()}.
{losses}
## Latencies

Of the good client's requests, in ms.

| beside | requests | lost | p50 | p99 | most | p99 of `GET /health` |
|---|--:|--:|--:|--:|--:|--:|
{_latencies(soak)}
| way, beside hostile clients | requests | lost | p50 | p99 | p99, calm |
|---|--:|--:|--:|--:|--:|
{_ways(soak)}
## Memory and descriptors

All processes of the server, pages that they share counted once for each.

| third | MB, median | MB, most | descriptors, most |
|---|--:|--:|--:|
{_thirds(soak)}
## What the hostile clients got

Statuses, or what else happened, by number.

| kind | what it does | what it got |
|---|---|---|
{_kinds(soak)}"""


def write(page_text: str) -> None:
    """Write the page."""
    PAGE.write_text(page_text, encoding="utf-8")


def _latencies(soak: Soak) -> str:
    rows = []
    for name in ("calm", *soak.kinds):
        inside = soak.is_in(name)
        latency = soak.latency(soak.is_request & inside)
        health = soak.latency(soak.is_way(HEALTH) & inside)
        numbers = (latency.p50_ms, latency.p99_ms, latency.most_ms, health.p99_ms)
        rows.append((name, f"{latency.requests:,}", str(latency.lost), *(f"{ms:.2f}" for ms in numbers)))
    return _rows(rows)


def _ways(soak: Soak) -> str:
    rows, hostile, calm = [], soak.is_in(*soak.kinds), soak.is_in("calm")
    for name in dict.fromkeys(soak.ways):
        asks = soak.is_way(name)
        latency, before = soak.latency(asks & hostile), soak.latency(asks & calm)
        numbers = (latency.p50_ms, latency.p99_ms, before.p99_ms)
        rows.append((name, f"{latency.requests:,}", str(latency.lost), *(f"{ms:.2f}" for ms in numbers)))
    return _rows(rows)


def _thirds(soak: Soak) -> str:
    rows = []
    for number, name in enumerate(("first", "second", "last")):
        samples = soak.third(number)
        resident = [sample.resident_mb for sample in samples]
        most = max(sample.descriptors for sample in samples)
        rows.append((name, f"{median(resident):.0f}", f"{max(resident):.0f}", str(most)))
    return _rows(rows)


def _kinds(soak: Soak) -> str:
    rows = []
    for name in soak.got:
        line = (KINDS[name].__doc__ or "").splitlines()[0]
        counts = sorted(soak.got[name].items(), key=lambda item: -item[1])
        rows.append((name, line, ", ".join(f"{what}: {count:,}" for what, count in counts)))
    return _rows(rows)


def _rows(rows: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
