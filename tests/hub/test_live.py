"""Live updates as programs read them: what a stream says, when, how often, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from lading.hub import live
from lading.hub.follower import Follower
from support.hub_rows import loaded, replica
from support.hub_server import hub_over
from support.waiting import wait_until

pytestmark = pytest.mark.slow


class Stream:
    """One stream of live updates, read line by line."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()

    def event(self) -> dict[str, str]:
        """Return the next event's fields; empty when the stream has ended."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line and fields:
                return fields
            name, _, value = line.partition(": ")
            fields[name] = value
        return fields

    def of_kind(self, kind: str) -> dict[str, str]:
        """Return the next event of a kind, or nothing if the stream ends before."""
        while event := self.event():
            if event.get("event") == kind:
                return event
        return {}


@contextlib.contextmanager
def stream(url: str, page: str = "/", id: str = "", **headers: str) -> Iterator[Stream]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    parameters = {"page": page, "id": id}
    with httpx.stream("GET", f"{url}/live", params=parameters, headers=named, timeout=30) as answer:
        yield Stream(answer)


def id_of(page: httpx.Response) -> str:
    """Return the id of the content that a page displays."""
    match = re.search(r'data-live="([0-9a-f]+)"', page.text)
    assert match
    return match[1]


@pytest.fixture
def hub(registry, push):
    push()
    with hub_over(registry) as server:
        yield server


def test_a_stream_says_that_the_page_has_changed_and_once(hub, registry):
    before = id_of(httpx.get(hub.url))
    with stream(hub.url, id=before) as events:
        assert events.event() == {"retry": "2000"}
        assert events.event()["event"] == "alive"
        hub.read()  # Nothing new.
        registry.release("iris:1", actor="ann")
        hub.read()
        changed = events.event()
        assert (changed["event"], changed["id"] != before) == ("changed", True)
        assert id_of(httpx.get(hub.url)) == changed["id"]
    # A browser that comes back with what it has seen last is not sent it again, and one without it is.
    with stream(hub.url, id=before, last_event_id=changed["id"]) as events:
        events.of_kind("alive")
        registry.fleet.beat(replica(1, loaded()))
        hub.read()
        assert events.of_kind("changed")["id"] not in (before, changed["id"])
    with stream(hub.url, id=before) as events:
        events.of_kind("alive")
        assert events.event()["event"] == "changed"


def test_what_changed_while_no_stream_was_open_is_said_by_the_next(hub, registry):
    before = id_of(httpx.get(f"{hub.url}/models/iris/release"))
    registry.release("iris:1", actor="ann")
    hub.read()
    with stream(hub.url, "/models/iris/release", before) as events:
        events.of_kind("alive")
        assert events.event()["event"] == "changed"


def test_a_page_is_drawn_once_for_all_that_have_it_open(hub, registry, monkeypatch):
    from lading.hub.answering import Answering

    drawn = []
    draw = Answering.drawn
    monkeypatch.setattr(
        Answering, "drawn", lambda self, *values, **more: (drawn.append(1), draw(self, *values, **more))[1]
    )
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(stream(hub.url, "/models")) for _ in range(5)]
        first = {events.of_kind("changed")["id"] for events in streams}
        assert len(first) == 1
        asked = {"lading-live": first.pop()}
        pages = {httpx.get(f"{hub.url}/models", headers=asked).text for _ in range(5)}
        assert (len(pages), len(drawn)) == (1, 1)
        # In another language, and for another person, it is another page.
        httpx.get(f"{hub.url}/models", headers={**asked, "accept-language": "ko"})
        httpx.get(f"{hub.url}/models", headers={**asked, "cookie": "somebody=else"})
        assert len(drawn) == 3
        hub.read()
        httpx.get(f"{hub.url}/models", headers=asked)
        assert len(drawn) == 3  # Nothing has changed.


def test_the_time_that_passes_changes_no_page(hub, registry, push):
    push()
    registry.release("iris:1", actor="ann")
    hub.read()
    models = ("/models", "/models/iris", "/models/iris/release", "/models/iris/1")
    paths = ("/", *models, "/history/iris", "/alarms")
    before = [id_of(httpx.get(hub.url + path)) for path in paths]
    time.sleep(0.01)
    hub.read()
    assert [id_of(httpx.get(hub.url + path)) for path in paths] == before


def test_an_address_that_is_no_page_has_no_stream(hub):
    for page in ("", "/nothing", "/api/models", "//evil.example/", "/live?page=/"):
        assert httpx.get(f"{hub.url}/live", params={"page": page}).status_code == 404
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert httpx.get(f"{hub.url}/live", params={"page": "/"}, headers=elsewhere).status_code == 403


def test_a_page_that_cannot_be_shown_yet_is_live_as_well(hub, registry):
    refused = httpx.get(f"{hub.url}/models/iris/release")
    assert refused.status_code == 404
    with stream(hub.url, "/models/iris/release", id_of(refused)) as events:
        events.of_kind("alive")
        registry.release("iris:1", actor="ann")
        hub.read()
        id = events.of_kind("changed")["id"]
        page = httpx.get(f"{hub.url}/models/iris/release", headers={"lading-live": id})
        assert (page.status_code, id_of(page)) == (200, id)


def test_more_streams_than_there_is_room_for_are_refused_in_a_line(hub, monkeypatch):
    monkeypatch.setattr(live, "MOST_STREAMS", 2)
    with stream(hub.url) as first, stream(hub.url) as second:
        assert first.of_kind("alive")
        assert second.of_kind("alive")
        with stream(hub.url) as third:
            assert third.event() == {"retry": "30000"}
            assert third.event() == {"event": "full", "data": "2"}
            assert third.event() == {}
    # Their places are free again.
    wait_until(lambda: _first_kind(hub.url) == "alive")


def _first_kind(url: str) -> str:
    with stream(url) as events:
        events.event()
        return events.event()["event"]


def test_streams_end_with_the_server_at_once(registry, push):
    push()
    with hub_over(registry) as hub:
        ends: list[dict[str, str]] = []

        def wait(events: Stream) -> None:
            ends.append(events.of_kind("never"))

        with stream(hub.url) as events:
            assert events.of_kind("alive")
            thread = threading.Thread(target=wait, args=(events,))
            thread.start()
            hub.stop()
            thread.join(10)
            assert ends == [{}]
        assert not hub.is_running


def test_a_browser_that_reads_nothing_is_dropped(registry, push, monkeypatch, caplog):
    push()
    monkeypatch.setattr(live, "_SEND_WITHIN_S", 0.05)
    follower = Follower(registry)
    follower.read()

    async def ask() -> int:
        from lading.hub.app import make_app

        sent = []

        async def send(message):
            sent.append(message)
            if len(sent) > 1:
                await asyncio.Event().wait()

        async def receive():
            await asyncio.Event().wait()

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/live",
            "query_string": b"page=/",
            "headers": [],
            "root_path": "",
        }
        await make_app(registry, follower)(scope, receive, send)
        return len(sent)

    assert asyncio.run(ask()) == 2
    assert "has read no live updates" in caplog.text


def test_an_outage_of_the_catalog_is_a_change_and_its_end_another(hub, registry, monkeypatch):
    from lading.errors import RegistryUnavailable

    def refuse(_kind):
        raise RegistryUnavailable("catalog", expected="an answer", found="connection refused")

    path = "/models/iris"
    before = id_of(httpx.get(hub.url + path))
    with stream(hub.url, path, before) as events:
        events.of_kind("alive")
        with monkeypatch.context() as outage:
            outage.setattr(registry.catalog.database, "transaction", refuse)
            hub.read()
            during = events.of_kind("changed")
            page = httpx.get(hub.url + path, headers={"lading-live": during["id"]})
            assert "connection refused" in page.text
            assert id_of(page) == during["id"]
            hub.read()
        hub.read()
        assert events.of_kind("changed")["id"] == before
        assert json.loads(during["data"])["read_at"] > 0
