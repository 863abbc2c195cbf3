"""The trials of releases: no bad candidate is promoted, no equal one rolled back, and the page says so."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "verdict.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def trials():
    spec = importlib.util.spec_from_file_location("release_trials", ROOT / "scripts" / "release_trials.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["release_trials"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["release_trials"]


@pytest.mark.slow
@pytest.mark.parametrize("callers", [0, 40])
def test_no_bad_candidate_of_ten_kinds_is_promoted_and_no_equal_one_rolled_back(trials, tmp_path, callers):
    ended = trials.outcomes(trials.families(tmp_path), 10, seed=4, callers=callers)
    assert set(ended) == {*trials.BAD, *trials.EQUAL}
    assert [kind for kind in trials.BAD if ended[kind]["promoted"]] == []
    assert [kind for kind in trials.EQUAL if ended[kind]["rolled back"]] == []
    # And not because nothing is decided.
    assert sum(ended[kind]["rolled back"] for kind in trials.BAD) >= 7
    assert sum(ended[kind]["promoted"] for kind in trials.EQUAL) >= 7


def test_the_page_has_200_bad_and_200_equal_trials_without_a_wrong_end(trials):
    mark = f"<!-- made by `{trials.COMMAND}`: seed {trials.SEED}, 200 bad and 200 equal candidates -->"
    text = PAGE.split(mark)[1].split("<!-- end of the trials -->")[0]
    rows = {row[0]: [int(cell) for cell in row[1:4]] for row in rows_of(text)[2:]}
    assert set(rows) == {"**bad**", "**equal**", *trials.BAD, *trials.EQUAL}
    assert (sum(rows["**bad**"]), rows["**bad**"][0]) == (200, 0)
    assert (sum(rows["**equal**"]), rows["**equal**"][1]) == (200, 0)


def rows_of(table: str) -> list[list[str]]:
    return [re.split(r" *\| *", line)[1:-1] for line in table.strip().splitlines()]
