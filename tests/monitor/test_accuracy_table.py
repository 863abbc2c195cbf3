"""The table of estimated accuracy: real data sets, shifted, and the page that the command wrote."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "monitoring.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def table():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import accuracy_table
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return accuracy_table


@pytest.mark.slow
def test_estimates_follow_accuracy_where_inputs_shift_among_known_rows(table):
    results = table.trials(splits=2)
    assert len(results) == 2 * len(table.DATA) * len(table.SHIFTS)
    for data in table.DATA:
        known = [
            trial
            for trial in results
            if trial.data == data.name and trial.shift in ("none", "more rows that the model is unsure of")
        ]
        errors = [abs(trial.estimate.accuracy - trial.accuracy) for trial in known]
        assert np.mean(errors) < 0.06
        assert (
            np.mean([trial.estimate.low <= trial.accuracy <= trial.estimate.high for trial in known]) >= 0.5
        )
    rows = table.table(results)
    assert rows.count("\n") == 1 + len(table.DATA) * len(table.SHIFTS)


def test_the_page_has_every_data_set_and_shift_beside_nannyml(table):
    text = re.search(r"<!-- accuracy: made by .*?-->\n(.*?)<!-- end of accuracy -->", PAGE, re.DOTALL).group(
        1
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()[2:]]
    assert [row[:2] for row in rows] == [[data.name, shift] for data in table.DATA for shift in table.SHIFTS]
    assert all(0 < float(row[7]) < 1 for row in rows)
