"""Measure lading against references in one run, print the table, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import models
import page
import workloads


def main() -> int:
    """Run everything; 1 if a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--seconds", type=float, default=2, help="seconds of load a round")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its chart")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), options.rounds, options.seconds)
    budgets = page.budgets(results)
    print(page.table(budgets))
    if options.write:
        page.write(results, budgets)
    return 0 if all(budget.met for budget in budgets) else 1


def measure(folder: Path, rounds: int, seconds: float) -> page.Results:
    """Run every workload."""

    def say(what: str) -> None:
        print(f"measuring {what} …", file=sys.stderr, flush=True)

    say("own cost")
    small, wide, costly = models.small(folder), models.wide(folder), models.costly(folder)
    cost = workloads.own_cost(small)
    matrix_us, floor = workloads.matrix_cost(wide), workloads.floor_ms(wide)
    say("start-up")
    start = workloads.start_up(small, rounds)
    say("one row of JSON")
    row = workloads.one_row_json(small, rounds, seconds)
    say("a million requests")
    soak = workloads.soak(small)
    say("one row over gRPC")
    rpc = workloads.one_row_grpc(small, rounds, seconds)
    say("matrices of 1,000 × 30")
    matrix = workloads.matrices(wide, rounds, seconds)
    merged = {}
    for connections in (1, 8, 64):
        say(f"a model of 1 ms at {connections} connections")
        merged[connections] = workloads.merging(costly, connections, rounds, seconds)
    say("two workers")
    workers = workloads.two_workers(small, rounds, seconds)
    return page.Results(
        cost, matrix_us, floor, start, soak, row, rpc, matrix, merged, workers, rounds, seconds
    )


if __name__ == "__main__":
    raise SystemExit(main())
