"""Pieces of statements, in both databases."""

from __future__ import annotations

import time

from sqlalchemy import insert, select

from lading.registry.catalog.sql.statements import json_text, prune_rows, unix_now, upsert
from lading.registry.catalog.sql.tables import leases


def test_the_database_knows_the_unix_time(catalog):
    before = time.time()
    with catalog.database.transaction("read") as connection:
        now = connection.execute(select(unix_now(connection))).scalar_one()
    assert before - 1 < now < time.time() + 1


def test_an_upsert_can_keep_or_replace_an_existing_row(catalog):
    row = {"what": "rollout", "holder": "a", "expires_at": 1.0}
    with catalog.database.transaction("write") as connection:
        connection.execute(insert(leases).values(row))
        connection.execute(upsert(connection, leases).values({**row, "holder": "b"}).on_conflict_do_nothing())
        assert connection.execute(select(leases.c.holder)).scalar_one() == "a"
        query = upsert(connection, leases).values({**row, "holder": "b"})
        query = query.on_conflict_do_update(index_elements=["what"], set_={"holder": query.excluded.holder})
        connection.execute(query)
        assert connection.execute(select(leases.c.holder)).scalar_one() == "b"


def test_pruning_counts_the_same_rows_whether_it_deletes_them_or_not(catalog):
    rows = [{"what": f"lease {number}", "holder": "a", "expires_at": float(number)} for number in range(5)]
    with catalog.database.transaction("write") as connection:
        connection.execute(insert(leases), rows)
        rules = (leases.c.expires_at < 3, leases.c.holder == "a")
        assert [prune_rows(connection, leases, *rules, dry_run=dry) for dry in (True, False, False)] == [
            3,
            3,
            0,
        ]


def test_json_of_equal_values_is_equal_text():
    assert json_text({"b": 1, "a": 0.1 + 0.2}) == json_text({"a": 0.1 + 0.2, "b": 1})
    assert json_text("größer") == '"größer"'
