"""The table of anomalies, at a smaller size: the page has what the script finds, and nothing in calm data."""

from __future__ import annotations

import re

import pytest

from support.scripts import load_script

anomalies = load_script("anomalies_table")
PAGE = anomalies.PAGE.read_text().partition("<!-- numbers")[0]


@pytest.fixture(scope="module")
def frame():
    return anomalies.mixed_finder(7, rows=600, calm=600)


def cells(name: str) -> list[str]:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_there_are_more_than_twenty_kinds_and_each_is_on_the_page():
    assert len(anomalies.ANOMALIES) > 20
    assert [len(cells(name)) for name in anomalies.ANOMALIES] == [6] * len(anomalies.ANOMALIES)


@pytest.mark.slow
@pytest.mark.parametrize("name", anomalies.ANOMALIES)
def test_signature_and_checks_find_what_the_page_says(frame, name):
    repeat = 3 if name == anomalies.DUPLICATES else 1
    outcome = anomalies.outcome(*frame, anomalies.ANOMALIES[name], repeat=repeat)
    _, refused, failed, rules, *_ = cells(name)
    assert (outcome.refused == outcome.changed) == (refused == "100 %")
    assert (outcome.failed > 0.9 * outcome.changed) == (failed in ("99 %", "100 %"))
    assert sorted(outcome.rules) == sorted(re.findall(r"`(\w+)`", rules))


def test_nothing_is_found_in_rows_that_nothing_was_done_to(frame):
    outcome = anomalies.outcome(*frame, None)
    assert (outcome.refused, outcome.failed, outcome.alarmed) == (0, 0, ())
