"""A thousand models in PostgreSQL: what pages ask, by which index, and how long they take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import msgspec
import pytest
from sqlalchemy import event, insert, text

from lading.hub.follower import read_knowledge
from lading.hub.knowledge import Knowledge
from lading.hub.pages import Pages
from lading.registry import Registry
from lading.registry.catalog.sql.tables import events, evidence, jobs, models, releases, runs, tags, versions
from lading.release import EventDraft, Plan, Release, link
from support.hub_rows import loaded, replica
from support.hub_runs import finished, run
from support.release_processes import new_version

MODELS, VERSIONS, REPLICAS, EVENTS, RUNS, JOBS = 1000, 10, 500, 100, 20_000, 20_000
AT = "2026-11-30T08:00:00.000Z"


@pytest.fixture(scope="module")
def registry(request, tmp_path_factory) -> Iterator[Registry]:
    url = request.getfixturevalue("postgres").database()
    store = str(tmp_path_factory.mktemp("hub") / "store")
    with Registry.open(url, store=store) as opened:
        opened.models()
        fill(opened)
        yield opened


def fill(registry: Registry) -> None:
    """Write 1,000 models with 10 versions and 100 events each, their evidence, runs, and 500 replicas."""
    names = [f"model-{number:04}" for number in range(MODELS)]
    engine = registry.catalog.database.engine
    with engine.begin() as connection:
        rows = [{"name": name, "last_version": VERSIONS, "last_release": 1} for name in names]
        connection.execute(insert(models), rows)
        rows = [
            {**msgspec.structs.asdict(new_version(name, number)), "version": number, "metrics": "{}"}
            for name in names
            for number in range(1, VERSIONS + 1)
        ]
        connection.execute(insert(versions), rows)
        connection.execute(insert(tags), [{"name": name, "tag": "live", "version": 3} for name in names])
        connection.execute(insert(releases), [release_row(name) for name in names])
        for name in names:
            connection.execute(insert(events), list(event_rows(name)))
        rows = [
            {"digest": f"sha256:{number % 20:064x}", "fingerprint": f"{number:012x}", "body": BODY}
            for number in range(10_000)
        ]
        connection.execute(insert(evidence), rows)
        connection.execute(insert(runs), [run_row(number, names) for number in range(RUNS)])
        connection.execute(insert(jobs), [job_row(number, names) for number in range(JOBS)])
        connection.execute(text("ANALYZE"))
    for number in range(REPLICAS):
        served = (loaded(names[2 * number], 3), loaded(names[2 * number + 1], 3))
        registry.fleet.beat(replica(number, *served, packages={f"package-{n}": "1.0" for n in range(40)}))


BODY = (
    '{"bundle":"sha256:x","name":"m","fingerprint":{"lading":"0","python":"3","onnxruntime":"1","numpy":"2",'
    '"os":"linux","arch":"x86_64"},"checks":[],"numbers":{},"measured_at":"2026-11-30T08:00:00Z"}'
)


def release(name: str) -> Release:
    return Release(
        name=name,
        number=1,
        live=3,
        candidate=None,
        plan=Plan(mode="live"),
        step=0,
        weight_percent=100.0,
        state="live",
        reason="",
        actor="ann",
        runtime=None,
        replaces=None,
        created_at=AT,
        changed_at=AT,
        step_started_at=AT,
        epoch=1,
    )


def release_row(name: str) -> dict[str, object]:
    row = msgspec.structs.asdict(release(name))
    return {**row, "plan": msgspec.json.encode(row["plan"]).decode()}


def run_row(number: int, names: list[str]) -> dict[str, object]:
    # One in two thousand has failed, as it should be: an index has to find those.
    state = "failed" if number % 2000 == 7 else "finished"
    name, at = names[number % MODELS], 1_790_000_000.0 + number
    made = run(f"{number:032x}", name=name, state=state, batch=finished())
    times = {"began_at": at, "heard_at": at + 60, "ended_at": at + 60}
    body = msgspec.json.encode(made).decode()
    return {"id": made.id, "kind": "batch", "name": name, "state": state, "body": body, **times}


def job_row(number: int, names: list[str]) -> dict[str, object]:
    # The last ones wait, and few have failed.
    state = "failed" if number % 2000 == 7 else "waiting" if number > JOBS - 50 else "done"
    texts = ("headers", "replica", "claim", "reason", "served", "answer_type", "webhook", "hook", "hook_text")
    times = ("due_at", "started_at", "ended_at", "expires_at", "hook_due_at")
    name = names[number % MODELS]
    return {
        **dict.fromkeys(texts, ""),
        **dict.fromkeys(times, 0.0),
        **dict.fromkeys(("attempts", "status", "hook_attempts", "rank"), 0),
        "id": f"{number:032x}",
        "name": name,
        "target": name,
        "path": "/p",
        "fingerprint": "f",
        "state": state,
        "body": b"",
        "created_at": 1_790_000_000.0,
        "answer_headers": "[]",
    }


def event_rows(name: str) -> Iterator[dict[str, object]]:
    last = None
    for _ in range(EVENTS):
        last = link(last, release(name), EventDraft(kind="step", actor="driver"), at=AT, digest="")
        yield {**msgspec.structs.asdict(last), "evidence": "{}"}


@pytest.fixture
def pages(registry) -> Pages:
    return Pages(registry)


@pytest.fixture
def knowledge(registry) -> Knowledge:
    return read_knowledge(registry)


def asked(path_params: dict[str, object] | None = None, **query: str) -> SimpleNamespace:
    """Return a request as far as views look at it."""
    return SimpleNamespace(path_params=path_params or {}, query_params=query)


PAGES = {
    "home": (lambda pages: pages.home, asked()),
    "models": (lambda pages: pages.models, asked(q="99", sort="-changed", page="1")),
    "model": (lambda pages: pages.model, asked({"name": "model-0500"})),
    "older": (lambda pages: pages.model, asked({"name": "model-0500"}, below="5")),
    "version": (lambda pages: pages.version, asked({"name": "model-0500", "version": 3})),
    "tried version": (
        lambda pages: pages.version,
        asked({"name": "model-0500", "version": 4}, row="0", x0="1"),
    ),
    "release": (lambda pages: pages.release, asked({"name": "model-0500"})),
    "pause": (lambda pages: partial(pages.act, act="pause"), asked({"name": "model-0500"})),
    "rollback": (lambda pages: partial(pages.act, act="rollback"), asked({"name": "model-0500"})),
    "begin": (lambda pages: pages.begin, asked({"name": "model-0500", "version": 3})),
    "inventory": (lambda pages: pages.inventory, asked(q="package-7==1", sort="-onnxruntime")),
    "history": (lambda pages: pages.history, asked()),
    "old history": (lambda pages: pages.history, asked(below="50000")),
    "actor": (lambda pages: pages.history, asked(actor="nobody", kind="ready")),
    "runs": (lambda pages: pages.runs, asked(sort="-rows", page="2")),
    "failed runs": (lambda pages: pages.runs, asked(state="failed")),
    "lost runs": (lambda pages: pages.runs, asked(state="lost")),
    "runs of one": (lambda pages: pages.runs, asked(model="model-0500")),
    "older runs": (lambda pages: pages.runs, asked(before="1790010000.0~x")),
    "run": (lambda pages: pages.run, asked({"id": f"{7:032x}"})),
    "jobs": (lambda pages: pages.jobs, asked()),
    "older jobs": (lambda pages: pages.jobs, asked(before="10000")),
    "failed jobs": (lambda pages: pages.jobs, asked(state="failed")),
    "jobs of one": (lambda pages: pages.jobs, asked(model="model-0500", state="done")),
    "job": (lambda pages: pages.job, asked({"id": f"{7:032x}"})),
    "history of one": (lambda pages: pages.model_history, asked({"name": "model-0500"}, actor="driver")),
}


@pytest.fixture
def asked_of(registry) -> Iterator[list[tuple[str, object]]]:
    """Yield the statements that the database is asked, as they come, with their parameters."""
    statements: list[tuple[str, object]] = []
    engine = registry.catalog.database.engine

    def note(_connection, _cursor, statement, parameters, *_more):
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def whole_tables(registry: Registry, statement: str, parameters: object) -> list[str]:
    """Return what PostgreSQL would read as a whole for a statement."""
    with registry.catalog.database.engine.connect() as connection:
        plan = list(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())
    # The leases are one row for each kind of driver, of which an index would save nothing.
    return [line for line in plan if "Seq Scan" in line and "Seq Scan on leases" not in line]


@pytest.mark.slow
def test_the_follower_finds_runs_by_an_index(registry, asked_of):
    read_knowledge(registry)
    about_runs = [each for each in asked_of if "FROM runs" in each[0]]
    assert len(about_runs) == 3
    assert [each for each in about_runs if whole_tables(registry, *each)] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_few_questions_and_reads_no_whole_table(registry, pages, knowledge, asked_of, page):
    # What the follower asks is not the page's.
    asked_of.clear()
    view, request = PAGES[page]
    data, _ = view(pages)(request, knowledge)
    assert data
    queries = [each for each in asked_of if each[0].startswith("SELECT")]
    assert len(queries) <= 8
    assert bool(queries) is (page not in ("home", "models", "inventory"))
    assert [each for each in queries if whole_tables(registry, *each)] == []


@pytest.mark.slow
@pytest.mark.alone
def test_pages_and_the_follower_stay_within_their_time(registry, pages, knowledge):
    for view, request in PAGES.values():
        took = []
        for _ in range(20):
            began = time.perf_counter()
            view(pages)(request, knowledge)
            took.append(time.perf_counter() - began)
        assert statistics.quantiles(took, n=20)[-1] < 0.3
    took = []
    for _ in range(5):
        began = time.perf_counter()
        knowledge = read_knowledge(registry)
        took.append(time.perf_counter() - began)
    assert (len(knowledge.newest), len(knowledge.replicas)) == (MODELS, REPLICAS)
    # Every two seconds: at most a tenth of a core.
    assert min(took) < 0.2
