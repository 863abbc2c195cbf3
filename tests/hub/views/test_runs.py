"""Runs over data sets as pages show them: order, places behind which more are, and what is left to do."""

from __future__ import annotations

import msgspec
import pytest

from lading.errors import InvalidName, UsageError
from lading.hub.views.runs import RUNS_READ, TABLES, RunsState, report_table, run_page, runs_page
from support.hub_runs import facts, finished, run


def began(id: str, at: float, **changes):
    return run(id, began_at=at, heard_at=at + 60, **changes)


def test_the_last_begun_is_first_unless_another_order_is_asked_for():
    runs = [began("b", 20.0, batch=facts(rows=1)), began("a", 10.0, batch=facts(rows=5))]
    assert [row.id for row in runs_page(RunsState.of({}), runs).table.rows] == ["b", "a"]
    assert [row.id for row in runs_page(RunsState.of({"sort": "-rows"}), runs).table.rows] == ["a", "b"]


def test_more_runs_than_are_sorted_come_behind_a_place():
    runs = [began(f"{at:04}", 1000.0 - at) for at in range(RUNS_READ + 1)]
    page = runs_page(RunsState.of({"state": "running"}), runs)
    assert page.table.of == RUNS_READ
    next_page = RunsState.of({"state": "running", "before": page.older})
    assert next_page.asked().before == (1000.0 - RUNS_READ + 1, f"{RUNS_READ - 1:04}")
    # Every link of the table stays behind the place, and keeps the filter.
    assert "before=" in next_page.table.sorted_by("rows")
    assert "state=running" in next_page.link(before="")
    assert runs_page(next_page, runs[-1:]).older == ""


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"model": "../x"}, InvalidName),
        ({"kind": "walk"}, UsageError),
        ({"state": "gone"}, UsageError),
        ({"sort": "colour"}, UsageError),
        *(
            ({"before": before}, UsageError)
            for before in ("x", "nan~a", "-1~a", "1~", "1~\0", f"1~{'a' * 64}")
        ),
    ],
)
def test_an_address_that_cannot_be_is_refused(query, error):
    with pytest.raises(error):
        RunsState.of(query)


def test_what_drifted_is_first_and_what_was_not_judged_is_not_calm():
    columns = [("a", 0.001), ("b", 0.4), ("c", 0.02)]
    page = run_page(run(state="finished", batch=finished(columns)))
    assert page.drift is not None
    assert [column.column for column in page.drift] == ["b", "c", "a"]
    assert (page.row.drifted, page.row.judged) == (1, 3)
    assert run_page(run()).drift is None
    assert run_page(run(batch=msgspec.structs.replace(finished(), drift=()))).drift == []


def test_time_left_is_that_of_parts_like_those_that_are_done():
    assert run_page(run(batch=facts(parts=40, parts_done=10, rows=1000, rows_per_s=100.0))).left_s == 30.0
    assert run_page(run(state="lost")).left_s is None
    assert run_page(run(batch=facts(parts_done=0))).left_s is None


def test_a_run_without_a_report_has_a_page():
    page = run_page(run(kind="training", batch=None))
    assert (page.row.share, page.row.rows, page.drift) == (0.0, 0, None)


@pytest.mark.parametrize("table", TABLES)
def test_each_table_has_a_name_for_each_cell(table):
    header, rows = report_table(run_page(run(state="finished", batch=finished())), table)
    assert rows
    assert {len(row) for row in rows} == {len(header)}
