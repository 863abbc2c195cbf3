"""What pages ask of windows and alarms is looked up in an index: no query reads a whole table."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, event

from lading.registry.catalog.monitoring import AlarmQuery
from lading.registry.open import open_catalog

SPANS = [(float(at), at + 0.5) for at in range(480)]
ASKED = {
    "newest window": lambda catalog: catalog.monitoring.newest_window("iris", 0.0, 9.0),
    "windows of a period": lambda catalog: catalog.monitoring.column_windows("iris", 0.0, 9.0),
    "windows of spans": lambda catalog: catalog.monitoring.windows_within("iris", SPANS),
    "labels": lambda catalog: catalog.traffic.labels("iris", [1, 2, 3], SPANS),
    "one state": lambda catalog: catalog.monitoring.state("monitor", "iris"),
    "alarms": lambda catalog: catalog.monitoring.alarm_page(AlarmQuery(), 51),
    "next alarms": lambda catalog: catalog.monitoring.alarm_page(AlarmQuery(before=(9.0, "a")), 51),
    "alarms of a model": lambda catalog: catalog.monitoring.alarm_page(AlarmQuery(name="iris"), 51),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_a_query_of_a_page_goes_by_an_index(asked, tmp_path):
    catalog = open_catalog(str(tmp_path / "registry"))
    plans: list[str] = []

    def explain(connection, _cursor, statement, parameters, _context, _many):
        if statement.startswith("SELECT"):
            rows = connection.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in rows)

    event.listen(Engine, "before_cursor_execute", explain)
    asked(catalog)
    event.remove(Engine, "before_cursor_execute", explain)
    looked_up = [plan for plan in plans if plan.startswith(("SEARCH", "SCAN")) and "CONSTANT" not in plan]
    assert looked_up
    assert [plan for plan in looked_up if "INDEX" not in plan] == []
