"""Runs over data sets in both catalogs: dated by the database, lost when they are silent, pruned by age."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import update

from lading.registry.catalog.runs import RunQuery
from lading.registry.catalog.sql.tables import runs as table
from lading.runs import LOST_AFTER_S, BatchFacts, Run
from support.registries import registry_over


def run(identity: str, name: str = "iris", **values: object) -> Run:
    facts = BatchFacts(engine="local", output="/out", plan="p", files=2, parts=3)
    base = Run(
        id=identity, kind="batch", name=name, version=3, digest="sha256:1", actor="ann", host="h", batch=facts
    )
    return msgspec.structs.replace(base, **values)


@pytest.fixture
def registry(open_catalog):
    return registry_over(open_catalog())


def silence(registry, identity: str, seconds: float) -> None:
    with registry.catalog.database.transaction("write") as connection:
        rule = table.c.id == identity
        connection.execute(update(table).where(rule).values(heard_at=table.c.heard_at - seconds))


def test_a_run_is_dated_by_the_catalog_and_keeps_when_it_began(registry):
    before = registry.fleet.now()
    registry.runs.save(run("a"))
    first = registry.runs.find("a")
    assert before <= first.began_at <= registry.fleet.now()
    assert (first.state, first.ended_at, first.title) == ("running", 0.0, "iris:3")
    facts = BatchFacts(engine="local", output="/out", plan="p", files=2, parts=3, rows=5)
    registry.runs.save(run("a", state="finished", batch=facts))
    last = registry.runs.find("a")
    assert (last.state, last.began_at, last.batch) == ("finished", first.began_at, facts)
    assert last.ended_at >= first.began_at
    assert registry.runs.find("b") is None


def test_a_run_that_is_silent_is_lost_until_it_reports_again(registry):
    registry.runs.save(run("a"))
    registry.runs.save(run("b", state="finished"))
    for identity in "ab":
        silence(registry, identity, LOST_AFTER_S + 1)
    assert [registry.runs.find(each).state for each in "ab"] == ["lost", "finished"]
    assert [each.id for each in registry.runs.page(RunQuery(state="lost"))] == ["a"]
    assert registry.runs.page(RunQuery(state="running")) == []
    registry.runs.save(run("a"))
    assert [each.id for each in registry.runs.page(RunQuery(state="running"))] == ["a"]


def test_pages_of_runs_follow_each_other_last_begun_first(registry):
    for identity in "abcde":
        registry.runs.save(run(identity, name="wine" if identity == "c" else "iris"))
    first = registry.runs.page(RunQuery(), 2)
    second = registry.runs.page(RunQuery(before=(first[-1].began_at, first[-1].id)), 9)
    assert [each.id for each in (*first, *second)] == ["e", "d", "c", "b", "a"]
    assert [each.id for each in registry.runs.page(RunQuery(name="wine"))] == ["c"]
    assert registry.runs.page(RunQuery(kind="training")) == []


def test_old_runs_are_pruned(registry):
    registry.runs.save(run("a"))
    registry.runs.save(run("b"))
    silence(registry, "a", 401 * 86400)
    assert [removed.name for removed in registry.runs.prune(dry_run=True)] == ["1 runs"]
    assert registry.runs.find("a") is not None
    registry.runs.prune(dry_run=False)
    assert (registry.runs.find("a"), registry.runs.find("b").id) == (None, "b")
