"""``lading monitor status``: what is known on a terminal and as JSON."""

from __future__ import annotations

import json

import pytest


@pytest.mark.usefixtures("windows")
def test_the_columns_of_the_version_seen_last_are_shown_with_what_is_not_known(lading):
    code, out, _ = lading("monitor", "status", "iris")
    assert code == 0
    assert out.startswith("iris:1, release 1, ")
    assert "1,200 of 12,000 rows, 1 replica, compared with reference data" in out
    assert "o process tests the columns now" in out
    assert [line for line in out.splitlines() if line.startswith("age ") and "not tested" in line]


@pytest.mark.usefixtures("windows")
def test_the_status_as_json_has_the_counts(lading):
    _, out, _ = lading("monitor", "status", "iris", "--json")
    status = json.loads(out)
    assert (status["name"], status["version"], status["rows"]) == ("iris", 1, 1200)
    assert [sum(column["live"]) for column in status["columns"][:2]] == [1200, 1200]


@pytest.mark.usefixtures("windows")
def test_of_a_version_without_windows_nothing_is_known(lading):
    code, out, _ = lading("monitor", "status", "iris:2")
    assert code == 0
    assert "o row was counted in this period" in out


@pytest.mark.usefixtures("opened")
def test_an_unknown_model_is_an_error(lading):
    code, _, err = lading("monitor", "status", "wine")
    assert code != 0
    assert "wine" in err
