"""The budgets of `make bench-release` for images: its exit code says whether they were met."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.images import ROOT

JUDGING = """
import sys
import release
from release_page import IMAGE, SMALL, WHOLE, Cost, Results, Stage

results = Results(load=0.1)
for size in sys.argv[2:]:
    results.layers[size], results.digests[size] = 1_000_000, {"sha256:a"}
    results.costs[size, IMAGE, Stage.PUBLISH] = [Cost(float(sys.argv[1]), 1_005_000, 0)]
    results.costs[size, IMAGE, Stage.FIRST] = [Cost(0.5, 0, 0)]
    results.costs[size, WHOLE, Stage.PUBLISH] = [Cost(20, 100_000_000, 0)]
sys.exit(release.judge(results))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "size", "code", "row"),
    [("0.5", "1 MB", 0, "| ≤ 1 | 0.50 | yes |"), ("1.5", "1 MB", 1, "**no**"), ("9", "200 MB", 0, "")],
)
def test_a_missed_budget_is_shown_and_ends_the_run_with_1(seconds, size, code, row):
    # In another process, because modules of the benchmarks and of the tests have the same names.
    done = subprocess.run(
        [sys.executable, "-c", JUDGING, seconds, size],
        cwd=ROOT / "benchmarks",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, row in done.stdout) == (code, True), done.stderr
