"""The soak in short: a good client beside some hostile ones loses nothing, and the server does not grow."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from support.scripts import load_script

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak"
KINDS = "odd chunks,half closes,deep lists,outputs by the thousand,empty rows,two hosts,bad bodies,pipelining"


@pytest.mark.slow
def test_a_good_client_loses_nothing_beside_hostile_ones():
    options = ["--minutes", "0.4", "--cycles", "1", "--lenient", "--kinds", KINDS]
    done = subprocess.run(
        [sys.executable, str(SOAK), *options], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| requests and probes lost | 0 | 0 | yes |" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_plan_fills_its_time_and_every_kind_has_its_turn_in_each_cycle():
    plan = load_script("plan", SOAK)
    slots = plan.plan(["a", "b"], 600, 3)
    assert slots[0].start_s == 0
    assert slots[-1].end_s == pytest.approx(600)
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in pairwise(slots))
    names = [slot.name for slot in slots]
    assert names.count("a") == names.count("b") == 3
    assert names[0] == names[-1] == "calm"
    assert plan.slot_at(slots, slots[1].start_s + 0.1).name == "a"
    # What lingers of a kind is neither calm nor hostile.
    assert plan.slot_at(slots, slots[2].start_s + 0.1) is None
    assert plan.slot_at(slots, slots[2].start_s + 2).name == "calm"
