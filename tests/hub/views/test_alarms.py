"""The page of alarms and alerts, asked as a browser asks, over a real registry."""

from __future__ import annotations

import html
import re
import time

import msgspec
import pytest

from lading.alarms import Alarm
from lading.hub.views.alarms import ALARMS_A_PAGE
from lading.registry.open import open_catalog
from support.alert_states import firing
from support.hub_browser import Browser
from support.registries import registry_over

NOW = time.time()


@pytest.fixture
def registry(tmp_path):
    catalog = open_catalog(str(tmp_path / "registry"))
    yield registry_over(catalog)
    catalog.close()


def alarm(identity: str, age_s: float = 60.0, **changes) -> Alarm:
    raised = Alarm(
        id=identity,
        name="iris",
        version=3,
        digest="sha256:1",
        release=7,
        kind="drift",
        subject="age",
        began_at=NOW - age_s - 600,
        raised_at=NOW - age_s,
        value=0.3,
        text=f"`age` is higher, says {identity}",
    )
    return msgspec.structs.replace(raised, **changes)


def save(registry, *alarms: Alarm) -> None:
    registry.monitoring.save("monitor", {}, [], alarms)


def ids(registry, query: str = "") -> list[str]:
    return [each["id"] for each in Browser(registry).get(f"/api/alarms{query}").json()["data"]["alarms"]]


def test_without_an_alarm_the_page_says_what_would_raise_one(registry):
    page = Browser(registry).get("/alarms").text
    assert "No alarm is open" in page
    assert "<code>lading monitor run</code>" in page
    assert "lading monitor run --alerts alerts.toml" in page


def test_an_alarm_has_its_sentence_release_column_and_a_way_to_its_model(registry):
    save(registry, alarm("a", acknowledged_by="maria"), alarm("b", 600, ended_at=NOW - 1, subject=""))
    page = Browser(registry).get("/alarms").text
    assert "One alarm is open." in page
    assert 'href="/models/iris/monitoring"' in page
    assert 'href="/models/iris/3"' in page
    words = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", page))
    assert "age is higher, says a · taken by maria" in words
    assert "ongoing" in words
    assert words.index("says a") < words.index("says b"), "the newest is first"


def test_pages_follow_each_other_without_a_gap_and_say_where_they_end(registry):
    count = 2 * ALARMS_A_PAGE + 7
    save(registry, *(alarm(f"a{number:03}", number // 3) for number in range(count)))
    browser, path, seen = Browser(registry), "/alarms", []
    for _ in range(9):
        answer = browser.get(path)
        seen += re.findall(r"says (a\d+)", answer.text)
        older = re.search(r'rel="next" href="([^"]+)"', answer.text)
        if older is None:
            break
        path = "/alarms" + html.unescape(older[1])
    assert len(seen) == len(set(seen)) == count
    assert 'href="?"' in answer.text or ">Newest<" in answer.text


def test_alarms_are_filtered_by_model_kind_and_state_in_the_address(registry):
    save(
        registry,
        alarm("a"),
        alarm("b", 70, name="wine"),
        alarm("c", 80, kind="decay"),
        alarm("d", 90, ended_at=NOW),
    )
    assert ids(registry) == ["a", "b", "c", "d"]
    assert ids(registry, "?model=wine") == ["b"]
    assert ids(registry, "?kind=decay") == ["c"]
    assert ids(registry, "?state=ended") == ["d"]
    assert ids(registry, "?model=iris&kind=drift&state=open") == ["a"]
    page = Browser(registry).get("/alarms?kind=slice&state=open").text
    assert "No alarm is like that." in page
    assert '<option value="slice" selected>' in page


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        *("?model=a/../b", "?kind=evil", "?state=shut"),
        *("?before=x", "?before=nan~a", "?before=1~", "?before=1e99~a", "?before=1~a%00"),
        "?before=1~" + "x" * 99,
    ],
)
def test_an_address_that_means_nothing_is_refused(registry, query):
    assert Browser(registry).get(f"/alarms{query}").status_code == 400
    answer = Browser(registry).get(f"/api/alarms{query}")
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_alerts_are_with_their_states_firing_ones_first(registry):
    sent = firing(model="iris")
    pending = firing(model="wine", subject="x")
    states = [
        msgspec.structs.replace(pending, status="pending", fired_at=0.0, is_sent=True, since=NOW),
        msgspec.structs.replace(sent, sent_at=NOW - 60, is_sent=True, since=NOW - 90),
        msgspec.structs.replace(sent, rule="other", status="resolved", is_sent=False, since=NOW - 999),
    ]
    registry.monitoring.save("alerts", {state.key: msgspec.json.encode(state).decode() for state in states})
    alerts = Browser(registry).get("/api/alarms").json()["data"]["alerts"]
    assert [each["status"] for each in alerts] == ["firing", "pending", "resolved"]
    words = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", Browser(registry).get("/alarms").text))
    assert re.search(r"firing iris drift · age age has drifted: 0\.4 against 0\.1 drifts warn ops", words)
    assert "not delivered yet" in words
    assert len(Browser(registry).get("/api/alarms?model=wine").json()["data"]["alerts"]) == 1


def test_hostile_texts_are_shown_as_text_and_cut_off(registry):
    text = "<script>alert(1)</script>\u202e\x1b[31m" + "x" * 100_000
    save(registry, alarm("<b>", subject="<img src=x>", text=text, acknowledged_by="</td>"))
    page = Browser(registry).get("/alarms").text
    assert "<script>" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
    assert len(page) < 20_000
