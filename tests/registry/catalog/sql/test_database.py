"""Transactions over a database: what commits, what waits, and which errors are outages."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from lading.errors import RegistryUnavailable
from lading.registry.catalog.sql.tables import leases

ROW = {"what": "rollout", "holder": "a", "expires_at": 1.0}


def holders(catalog) -> list[str]:
    with catalog.database.transaction("read") as connection:
        return list(connection.execute(select(leases.c.holder)).scalars())


def test_a_transaction_commits_at_its_end_and_not_if_it_raises(catalog):
    def write_and_fail() -> None:
        with catalog.database.transaction("write") as connection:
            connection.execute(insert(leases).values(ROW))
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert holders(catalog) == []
    with catalog.database.transaction("write") as connection:
        connection.execute(insert(leases).values(ROW))
    assert holders(catalog) == ["a"]


def test_a_reader_sees_one_moment_while_others_write(open_catalog):
    reader, writer = open_catalog(), open_catalog()
    with reader.database.transaction("read") as connection:
        query = select(leases.c.holder)
        assert connection.execute(query).all() == []
        with writer.database.transaction("write") as other:
            other.execute(insert(leases).values(ROW))
        assert connection.execute(query).all() == []
    assert holders(reader) == ["a"]


def test_exclusive_transactions_run_one_at_a_time(open_catalog):
    first, second, order = open_catalog(), open_catalog(), []

    def run() -> None:
        with second.database.transaction("exclusive"):
            order.append("second")

    thread = threading.Thread(target=run)
    with first.database.transaction("exclusive"):
        thread.start()
        # Long enough for the second to begin, if it could.
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_faulty_statement_is_no_outage(catalog):
    with pytest.raises(DBAPIError), catalog.database.transaction("write") as connection:
        connection.execute(text("INSERT INTO leases (what) VALUES (NULL)"))


def test_the_preparation_runs_before_the_first_transaction_and_again_if_it_failed(catalog):
    calls = []

    def prepare() -> None:
        calls.append("began")
        # Its own transactions do not wait for it.
        assert holders(catalog) == []
        if len(calls) == 1:
            raise RegistryUnavailable("the catalog", expected="an answer", found="none")

    catalog.database.prepare_later(prepare)
    with pytest.raises(RegistryUnavailable):
        holders(catalog)
    for _ in range(2):
        assert holders(catalog) == []
    assert calls == ["began"] * 2
