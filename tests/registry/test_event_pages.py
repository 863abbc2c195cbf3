"""Pages of events over every catalog: newest first, none twice, none left out, by an index."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import pytest
import sqlalchemy

from lading.registry import Registry
from lading.registry.catalog.sql import releases as sql_releases
from lading.release import Event, EventDraft
from support.release_processes import new_version


@pytest.fixture
def registry(three_versions, catalog) -> Registry:
    """Events of `iris` and `wine` in turn: one released and 11 ready each, by two actors."""
    catalog.versions.add(new_version("wine", bundle=9), (), lambda: None)
    models = {
        name: three_versions.releases.begin(name, 1, actor="ann", reason=f"first {name}")
        for name in ("iris", "wine")
    }
    for number in range(11):
        for release in models.values():
            actor = "web-1" if number % 2 else "web-2"
            three_versions.releases.note(release, EventDraft(kind="ready", actor=actor, reason=f"{number}"))
    return three_versions


def walk(registry: Registry, name: str | None = None, **options) -> Iterator[list[Event]]:
    below = None
    while True:
        page = registry.releases.event_page(name, below=below, **options)
        yield page.events
        if not page.older:
            return
        below = page.older


def test_the_pages_together_are_all_events_newest_first_and_none_but_the_last_is_short(registry):
    for name, limit in itertools.product((None, "iris", "wine"), (1, 5, 12, 24, 100)):
        pages = list(walk(registry, name, limit=limit))
        assert [event for page in pages for event in page] == registry.releases.events(name)[::-1]
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1]


def test_events_added_meanwhile_move_no_page(registry):
    first = registry.releases.event_page(limit=10)
    before = registry.releases.events()[::-1]
    registry.releases.begin("iris", 2, actor="ben")
    assert registry.releases.event_page(limit=10, below=first.older).events == before[10:20]


def test_a_search_by_kind_or_actor_finds_every_event_however_little_a_page_looks_at(registry, monkeypatch):
    options = ({"kind": "released"}, {"actor": "web-1"}, {"kind": "ready", "actor": "web-2"})
    for searched, name, rule in itertools.product((3, 7, 20_000), (None, "iris"), options):
        monkeypatch.setattr(sql_releases, "SEARCHED_EVENTS", searched)
        newest = registry.releases.events(name)[::-1]
        wanted = [event for event in newest if all(getattr(event, k) == v for k, v in rule.items())]
        pages = list(walk(registry, name, limit=4, **rule))
        assert [event for page in pages for event in page] == wanted
    assert list(walk(registry, limit=4, actor="nobody"))[-1] == []


def test_a_model_without_events_has_an_empty_page_without_older_ones(registry):
    page = registry.releases.event_page("churn", kind="ready", limit=3)
    assert (page.events, page.older) == ([], 0)


@contextlib.contextmanager
def plans() -> Iterator[list[str]]:
    """Collect how the database means to answer each query of the block."""
    collected: list[str] = []

    def explain(connection, _cursor, statement, parameters, _context, _many):
        if not statement.startswith("SELECT") or "events" not in statement:
            return
        cursor = connection.connection.cursor()
        if connection.dialect.name == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        else:  # Of so few rows PostgreSQL would rather read all, so it is asked whether it has to.
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
            cursor.execute(f"EXPLAIN {statement}", parameters)
        collected.append("\n".join(str(row[-1]) for row in cursor.fetchall()))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", explain)
    try:
        yield collected
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", explain)


def test_no_page_reads_the_whole_table_or_sorts(registry):
    options = ({}, {"below": 9}, {"kind": "ready", "actor": "web-1"})
    for name, rule in itertools.product((None, "iris"), options):
        with plans() as collected:
            registry.releases.event_page(name, limit=5, **rule)
        assert 1 <= len(collected) <= 2
        for plan in collected:
            assert "Seq Scan" not in plan
            assert "Sort" not in plan
            assert "TEMP B-TREE" not in plan
        # Both bounds of the range are conditions of the index.
        assert "SEARCH events" in collected[-1] or "Index Cond" in collected[-1]
