"""What live pages cost: `benchmarks/hub.py` measures it, and here is what it must never be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "hub.py"


@pytest.mark.slow
@pytest.mark.alone
def test_fifty_browsers_that_display_a_release_under_load_cost_less_than_a_fifth_of_a_core():
    command = [sys.executable, str(BENCHMARK), "--browsers", "50", "--seconds", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    measured = re.search(r"([\d.]+) % of one core; (\d+) changes displayed, (\d+) pages", done.stdout)
    assert measured, done.stdout
    percent, changes, asked = (float(number) for number in measured.groups())
    # 1.7 % was measured; a page that is drawn once for each browser costs ten times as much.
    assert percent < 20
    # All of them displayed what changed, every two seconds or so.
    assert changes >= 100
    assert asked >= 100
