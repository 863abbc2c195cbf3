"""Simulate releases; write the table of docs/reference/verdict.md: how often a verdict is right, how soon.

    python scripts/verdict_table.py            writes the table into the page
    python scripts/verdict_table.py --print    prints it

Draws traffic by the second for many runs together and decides at every second as `lading.verdict.judge` does;
a test checks that both agree. Serves nothing.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, field, replace
from math import erf, log, sqrt
from pathlib import Path

import numpy as np

from lading.traffic import LATENCY_BOUNDS_S
from lading.verdict import LiveGates, applicable
from lading.verdict.aggregates import Side
from lading.verdict.e_values import Floats
from lading.verdict.gate_tests import check
from lading.verdict.observations import Traffic

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "verdict.md"
COMMAND = "python scripts/verdict_table.py"
SEED, RUNS = 20261120, 1000
SECONDS, LIVE_RATE, CANDIDATE_RATE, PAIR_RATE = 160, 400.0, 100.0, 10.0
RATED = 0.5
OUTPUTS = (0.5, 0.3, 0.15, 0.05)
_RUNS_TOGETHER = 100  # bounds the memory


@dataclass(frozen=True)
class Case:
    """A candidate and how it is worse; live fails in 0.2 %, takes 3 ms (p99 10 ms) and is right in 90 %."""

    name: str
    stands: (
        str  # "within", "at" or "outside" the limit; "between" two, to be neither promoted nor rolled back
    )
    error: float = 0.002
    slowdown: float = 1.0
    outputs: tuple[float, ...] = OUTPUTS
    accuracy: float = 0.9
    agreement: float | None = None  # a shadow release where it is not None
    paired: float = 0.99  # else: the share of the requests to both sides that are answered alike
    asked: tuple[str, ...] = ()
    gates: dict[str, float] = field(default_factory=dict)


ACCURACY = ("max_accuracy_drop",)
CASES = (
    Case("equal", "within"),
    Case("equal, accuracy asked for", "within", asked=ACCURACY),
    Case("errors +0.5 points", "at", error=0.007),
    Case("errors +1 point", "outside", error=0.012),
    Case("errors +2 points", "outside", error=0.022),
    Case("errors +5 points", "outside", error=0.052),
    Case("latency × 1.2", "within", slowdown=1.2),
    Case("latency × 1.5", "at", slowdown=1.5),
    Case("latency × 2", "outside", slowdown=2.0),
    Case("outputs shifted by 0.1", "at", outputs=(0.4, 0.3, 0.25, 0.05)),
    Case("outputs shifted by 0.2", "outside", outputs=(0.3, 0.3, 0.25, 0.15)),
    Case("accuracy −2 points", "at", accuracy=0.88, asked=ACCURACY),
    Case("accuracy −5 points", "outside", accuracy=0.85, asked=ACCURACY),
    Case("classes permuted", "outside", paired=0.0),
    Case("two of three classes swapped", "outside", paired=1 / 3),
    Case("agrees in 80 %", "between", paired=0.8),
    Case("shadow: agrees in 97 %", "within", agreement=0.97),
    Case("shadow: agrees in 90 %", "at", agreement=0.9),
    Case("shadow: agrees in 75 %", "between", agreement=0.75),
    Case("shadow: agrees in 40 %", "outside", agreement=0.4),
)


@dataclass(frozen=True)
class Outcome:
    """Shares of the runs of a case, and the candidate's median requests until a verdict."""

    case: Case
    promoted: float
    rolled_back: float
    requests: float

    @property
    def held(self) -> float:
        """The share without a verdict at the end."""
        return max(0.0, 1 - self.promoted - self.rolled_back)


def latency_shares(slowdown: float) -> Floats:
    """Return the share of each bin for log-normal latencies: median 3 ms, sigma 0.52, times `slowdown`."""
    below = [
        0.5 * (1 + erf(log(bound / (0.003 * slowdown)) / (0.52 * sqrt(2)))) for bound in LATENCY_BOUNDS_S
    ]
    return np.diff([0.0, *below, 1.0])  # [bins]


def draw(rng: np.random.Generator, case: Case, runs: int, rate: float, *, seconds: int = SECONDS) -> Side:
    """Draw one side's traffic: Poisson arrivals, independent requests."""
    # Poisson counts of each bin are independent and sum to Poisson arrivals.
    bins = len(LATENCY_BOUNDS_S) + 1
    latency = rng.poisson(
        rate * latency_shares(case.slowdown), (runs, seconds, bins)
    )  # [runs, seconds, bins]
    requests = latency.sum(axis=-1)
    rated = rng.binomial(requests, RATED)
    right = rng.binomial(rated, case.accuracy)
    paired = rng.poisson(PAIR_RATE, requests.shape)
    copies = paired if case.agreement is None else requests
    agreed = rng.binomial(copies, case.paired if case.agreement is None else case.agreement)
    disagreed = copies - agreed
    counts = (
        requests,
        rng.binomial(requests, case.error),
        latency,
        rng.multinomial(requests, case.outputs),
        right,
        rated - right,
        agreed,
        disagreed,
        np.minimum(rng.binomial(requests, case.error), disagreed),
        agreed,
    )
    return Side(*(count.astype(np.float64) for count in counts))


def without_pairs(side: Side) -> Side:
    """Return the traffic of live: requests that both sides answered are counted by the candidate."""
    none = np.zeros_like(side.agreed)
    return replace(side, agreed=none, disagreed=none, failed=none, same_values=none)


def simulate(case: Case, runs: int, rng: np.random.Generator) -> Outcome:
    """Run a case `runs` times."""
    decided = [decide(case, rng, min(_RUNS_TOGETHER, runs - done)) for done in range(0, runs, _RUNS_TOGETHER)]
    action, requests = (np.concatenate(each) for each in zip(*decided, strict=True))
    reached = requests[action != 0]
    return Outcome(
        case,
        promoted=float((action > 0).mean()),
        rolled_back=float((action < 0).mean()),
        requests=float(np.median(reached)) if len(reached) else float("nan"),
    )


def decide(case: Case, rng: np.random.Generator, runs: int) -> tuple[Floats, Floats]:
    """Return for each run +1, -1 or 0 (promoted, rolled back, held) and the requests until then."""
    mode = "canary" if case.agreement is None else "shadow"
    live = without_pairs(draw(rng, CASES[0], runs, LIVE_RATE))
    candidate = draw(rng, case, runs, CANDIDATE_RATE)
    traffic = Traffic(live, candidate, live, np.arange(float(SECONDS)), shadow=mode == "shadow")
    gates = LiveGates.of(case.gates)
    judged = [gate for gate in applicable(mode) if gates.judged(gate)]
    harm = np.zeros((runs, SECONDS), dtype=bool)
    proved = np.ones((runs, SECONDS), dtype=bool)
    for gate in judged:
        finding = check(gate, gates, traffic, gates.alpha / len(judged))
        harm |= _by_second(finding.harm >= finding.log_threshold, finding.blocks.edges)
        assert finding.proof is not None
        known = finding.proof >= 1
        if gate in ACCURACY and gate not in case.asked:
            known |= finding.harm < log(3)  # no proof is asked for, but nothing may speak for harm
            proved &= _by_second(known, finding.blocks.edges, before=True)
        else:
            proved &= _by_second(known, finding.blocks.edges)
    first_harm, first_proof = (np.where(is_.any(1), is_.argmax(1), SECONDS) for is_ in (harm, proved))
    at = np.minimum(first_harm, first_proof)
    action = np.where(at == SECONDS, 0, np.where(first_harm <= first_proof, -1, 1))
    upto = traffic.tried.cumsum(axis=1)
    return action, upto[np.arange(runs), np.minimum(at, SECONDS - 1)]


def _by_second(states: np.ndarray, edges: np.ndarray, *, before: bool = False) -> np.ndarray:
    """Return the state of the last block that had ended by each second; `before` until the first has."""
    ended = np.zeros((len(edges), SECONDS + 1), dtype=np.int64)
    runs = np.arange(len(edges))[:, None]
    np.maximum.at(ended, (runs, edges), np.arange(edges.shape[1]))
    last = np.maximum.accumulate(ended, axis=1)[:, 1:]
    return np.concatenate([np.full((len(edges), 1), before), states], axis=1)[runs, last]


def table(outcomes: list[Outcome]) -> str:
    """Write the outcomes as a table in Markdown."""
    lines = [
        "| candidate | limit | promoted | rolled back | held | median requests |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for outcome in outcomes:
        parts = (outcome.promoted, outcome.rolled_back, outcome.held)
        shares = " | ".join(f"{100 * share:.1f} %" for share in parts)
        limit = {"within": "kept", "at": "reached exactly", "outside": "broken", "between": "between two"}[
            outcome.case.stands
        ]
        requests = "–" if np.isnan(outcome.requests) else f"{outcome.requests:,.0f}"
        lines.append(f"| {outcome.case.name} | {limit} | {shares} | {requests} |")
    return "\n".join(lines)


def marked(rows: str) -> str:
    """Put the table between the comments that mark its place in the page."""
    begin = f"<!-- made by `{COMMAND}`: seed {SEED}, {RUNS:,} runs a line -->"
    return f"{begin}\n{rows}\n<!-- end of the table -->"


def outcomes(runs: int = RUNS, seed: int = SEED) -> list[Outcome]:
    """Simulate every case, each with random numbers of its own."""
    streams = np.random.SeedSequence(seed).spawn(len(CASES))
    return [
        simulate(case, runs, np.random.default_rng(stream))
        for case, stream in zip(CASES, streams, strict=True)
    ]


def main() -> int:
    """Simulate, and write or print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--print", action="store_true", help="print the table, change nothing")
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    rows = table(outcomes(arguments.runs))
    if arguments.print:
        print(rows)
        return 0
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(r"<!-- made by .*?<!-- end of the table -->", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: marked(rows), text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
