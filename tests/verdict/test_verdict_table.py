"""The simulated table of the verdict: its rates hold, and the page has the table that the command wrote."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lading.release import Plan
from lading.traffic import FeedbackCounts, ShadowCounts, Window
from lading.verdict import judge

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "verdict.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("verdict_table", ROOT / "scripts" / "verdict_table.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["verdict_table"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["verdict_table"]


@pytest.mark.slow
def test_wrong_verdicts_are_rarer_than_stated(simulation):
    runs = 150
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    for outcome in simulation.outcomes(runs, seed=1):
        wrong = {"within": outcome.rolled_back, "between": outcome.rolled_back + outcome.promoted}.get(
            outcome.case.stands, outcome.promoted
        )
        assert wrong <= most, outcome
        # And not because nothing is decided: candidates far enough from their limit are, and rightly.
        if outcome.case.stands == "within":
            assert outcome.promoted > 0.9, outcome
        elif outcome.case.stands == "outside":
            assert outcome.rolled_back > 0.9, outcome


def test_the_page_has_a_line_of_every_case_within_the_stated_rates(simulation):
    mark = f"<!-- made by `{simulation.COMMAND}`: seed {simulation.SEED}, {simulation.RUNS:,} runs a line -->"
    assert mark in PAGE
    text = PAGE.split(mark)[1].split("<!-- end of the table -->")[0]
    rows = [re.split(r" *\| *", line)[1:-1] for line in text.strip().splitlines()]
    assert [row[0] for row in rows[2:]] == [case.name for case in simulation.CASES]
    for row, case in zip(rows[2:], simulation.CASES, strict=True):
        promoted, rolled_back, held = (float(cell.removesuffix(" %")) for cell in row[2:5])
        assert promoted + rolled_back + held == pytest.approx(100, abs=0.2)
        assert (promoted if case.stands in ("at", "outside") else rolled_back) <= 5.0


def test_the_simulation_and_the_judge_reach_the_same_verdict(simulation):
    plan = Plan(mode="canary", steps=(20,), hold_s=0, min_requests=0)
    for case in (simulation.CASES[0], simulation.CASES[4], simulation.CASES[8]):
        state = np.random.default_rng(5)
        live, candidate = (
            simulation.draw(state, drawn, 1, rate)
            for drawn, rate in ((simulation.CASES[0], 400.0), (case, 100.0))
        )
        live = simulation.without_pairs(live)
        action, requests = simulation.decide(case, np.random.default_rng(5), 1)
        simulated = {1: "promote", -1: "roll_back", 0: "hold"}[int(action[0])]
        upto = int(np.searchsorted(candidate.requests[0].cumsum(), requests[0])) + 1
        sides = [
            [window(side, at, version) for at in range(upto)] for version, side in ((1, live), (2, candidate))
        ]
        judged = judge({}, sides[0], sides[1], float(upto), 0.0, plan)
        assert judged.action == simulated, (case.name, judged.reasons)
        before = judge({}, sides[0][:-1], sides[1][:-1], float(upto - 1), 0.0, plan)
        assert before.action == "hold"


def window(side, at: int, version: int) -> Window:
    return msgspec.convert(
        {
            "name": "iris",
            "release": 1,
            "version": version,
            "digest": "",
            "replica": "",
            "at": float(at),
            "seconds": 1.0,
            "requests": int(side.requests[0, at]),
            "errors": {"RunFailed": int(side.errors[0, at])},
            "latency": side.latency[0, at].astype(int).tolist(),
            "outputs": {str(label): int(count) for label, count in enumerate(side.outputs[0, at])},
            "shadow": ShadowCounts(
                agreed=int(side.agreed[0, at]),
                differed=int(side.disagreed[0, at] - side.failed[0, at]),
                failed=int(side.failed[0, at]),
            ),
            "feedback": FeedbackCounts(right=int(side.right[0, at]), wrong=int(side.wrong[0, at])),
        },
        Window,
        from_attributes=True,
    )
