"""The page about a model's live traffic, asked as a browser asks, over a real registry."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from sqlalchemy import Engine, event

from lading.errors import RegistryUnavailable
from lading.hub.reading import Reader
from lading.monitor.driver import MonitorDriver
from lading.monitor.slice_tests import SliceTests, key_of
from lading.profile.encoding import digest as digest_of
from lading.profile.live import ColumnWindow, LiveCounts
from lading.profile.measure import measure
from lading.registry.open import open_catalog
from lading.registry.records import NewVersion
from lading.signature import Signature, Tensor
from lading.traffic import FeedbackCounts, Window
from support.hub_browser import Browser
from support.live_columns import DIGEST, HOUR_S, reference, report, window
from support.registries import registry_over

NOW = time.time()


@pytest.fixture
def registry(tmp_path):
    catalog = open_catalog(str(tmp_path / "registry"))
    catalog.versions.add(new_version(), (), lambda: None)
    yield registry_over(catalog)
    catalog.close()


def new_version(name: str = "iris") -> NewVersion:
    return NewVersion(
        name=name,
        digest=DIGEST,
        blob=DIGEST,
        size_bytes=1,
        purpose="",
        owner="ml@example.com",
        description="",
        pushed_at="2026-11-30T12:00:00Z",
        metrics={},
    )


def page(registry, query: str = "") -> str:
    answer = Browser(registry).get(f"/models/iris/monitoring{query}")
    assert answer.status_code == 200, answer.text
    return answer.text


def data(registry, query: str = ""):
    answer = Browser(registry).get(f"/api/models/iris/monitoring{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def text(html: str) -> str:
    html = re.sub(r"<(title|desc)[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def hours(profile, count: int = 3, **changes) -> list[ColumnWindow]:
    """Return windows of the last hours."""
    return [window(profile, NOW - HOUR_S * hour, hour, **changes) for hour in range(count, 0, -1)]


def test_of_a_model_without_windows_nothing_is_known_and_the_page_says_what_to_do(registry):
    html = text(page(registry))
    assert "Nothing is known of this period." in html
    assert "lading serve iris" in html
    assert "lading pack train:model --name iris --reference train.csv" in html
    assert "Nothing alarms" not in html
    assert data(registry)["verdict"] == "unknown"


@pytest.mark.slow
def test_what_is_not_known_is_said_with_the_command_that_would_change_it(registry):
    profile = reference()
    report(registry, profile, hours(profile))
    html = text(page(registry))
    assert "No column has been tested, so it is not known whether any has drifted." in html
    assert "lading monitor run" in html
    assert "/models/iris/feedback" in html
    assert "--reference-labels" in html
    assert data(registry)["gaps"] == ["no test", "no labels", "no estimate"]


@pytest.mark.slow
def test_a_reference_of_golden_samples_is_said_to_be_weak(registry):
    inputs = {"X": np.arange(20, dtype=np.float32).reshape(10, 2)}
    signature = signature_of("age", "income")
    profile = measure(signature, inputs, {}, source="samples")
    live = LiveCounts(profile, signature)
    live.add(inputs, {}, 10)
    report(registry, profile, [counted(profile, live)])
    html = text(page(registry))
    assert "The reference is only 10 golden samples" in html
    assert "golden samples, 10 rows" in html


def signature_of(*names: str) -> Signature:
    columns = Tensor(name="X", dtype="float32", shape=("batch", len(names)), columns=names)
    return Signature(inputs=(columns,), outputs=())


def counted(profile, live: LiveCounts, **changes) -> ColumnWindow:
    fields = {"name": "iris", "version": 1, "digest": DIGEST, "release": 1, "replica": "replica-1"}
    more = {"profile": digest_of(profile), "at": NOW - 60.0, "seconds": 30.0, "rows": live.rows, "id": "w"}
    return ColumnWindow(**{**fields, **more, "seen": live.rows, "counts": live.drain(), **changes})


@pytest.fixture
def drifted(registry):
    """Return a registry in which the age of a model has drifted, as the driver found."""
    profile = reference()
    report(
        registry,
        profile,
        [window(profile, NOW - HOUR_S * hour, hour, shift=4.0, rows=200) for hour in range(60, 0, -1)],
    )
    assert MonitorDriver(registry, "a", clock=lambda: NOW, slot_s=HOUR_S).turn()
    return registry


@pytest.mark.slow
def test_the_verdict_is_in_words_first_and_names_what_changed_first(drifted):
    html = text(page(drifted, "?since=7d"))
    assert re.search(r"One of \d columns has drifted\. What changed first: age ?,", html)
    assert html.index("has drifted") < html.index("Compared with") < html.index("Columns and outputs")
    known = data(drifted, "?since=7d")
    assert (known["verdict"], known["drifted"], known["columns"]["rows"][0]["status"]["name"]) == (
        "alarming",
        1,
        "age",
    )
    (alarm,) = known["alarms"]
    assert (alarm["subject"], alarm["ended_at"]) == ("age", 0.0)


@pytest.mark.slow
def test_every_chart_is_drawn_without_styles_and_has_its_numbers_as_a_table(drifted):
    html = page(drifted, "?since=7d")
    # The policy of the hub allows no style but its file.
    assert not re.search(r"\sstyle=|<style|<script(?! src=\"/static/)", html)
    charts = re.findall(r'<svg role="img".*?</svg>', html, re.DOTALL)
    assert len(charts) >= 2 * 5
    for chart in charts:
        ElementTree.fromstring(chart)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert html.count("<details") == len(charts)
    for table in ("cells", "drift", "columns"):
        assert f"monitoring.csv?since=7d&amp;table={table}" in html


@pytest.mark.slow
def test_accuracy_by_labels_is_over_time_with_its_interval(registry):
    profile = reference(labelled=True)
    report(registry, profile, hours(profile))
    labels = [
        Window(
            name="iris",
            release=1,
            version=1,
            digest=DIGEST,
            replica="replica-1",
            at=NOW - hour * HOUR_S,
            seconds=60.0,
            feedback=FeedbackCounts(right=80 + hour, wrong=20 - hour),
            id=f"{hour}",
        )
        for hour in (1, 2)
    ]
    registry.traffic.add_windows(labels)
    html = text(page(registry))
    assert re.search(r"81\.5 % 95 % interval 7\d\.\d % – 8\d\.\d %", html)
    assert "200 of 9,000 rows have a label by now." in html
    accuracy, estimated = data(registry)["metrics"]
    assert [point["rows"] for point in accuracy["history"]] == [100, 100]
    assert estimated["kind"] == "estimated accuracy"


@pytest.mark.slow
def test_failed_checks_are_by_column_and_by_rule(registry):
    profile = reference()
    report(registry, profile, hours(profile, failures=(("age", "range", 7),)))
    html = text(page(registry))
    assert "Input checks that failed" in html
    assert "range 21" in html
    assert data(registry)["checks"] == [{"column": "age", "rule": "range", "failures": 21}]


@pytest.mark.slow
def test_slices_that_cannot_be_read_are_said_to_be_untested(registry):
    profile = reference()
    report(registry, profile, hours(profile))
    unread = "no log was named"
    tests = SliceTests(name="iris", version=1, digest=DIGEST, release=1, counted_until=NOW, unread=unread)
    body = msgspec.json.encode(tests).decode()
    registry.monitoring.save("monitor", {key_of("iris", DIGEST): body})
    assert "Accuracy by slice is not tested. no log was named" in text(page(registry))


NASTY = ("=1+1", "<script>alert(1)</script>", "\u202eevil", "العمر", '"quoted"', "x" * 500)


@pytest.fixture
def wide(registry):
    """Return a registry with a model of seventy columns, some with hostile names, and c6 shifted most."""
    names = (*NASTY, *(f"c{number}" for number in range(64)))
    signature = signature_of(*names)
    random = np.random.default_rng(1)
    profile = measure(signature, {"X": random.standard_normal((400, 70)).astype(np.float32)}, {})
    rows = random.standard_normal((300, 70)).astype(np.float32)
    rows[:, names.index("c6")] += 3
    rows[:150, names.index("c7")] = np.nan
    live = LiveCounts(profile, signature)
    live.add({"X": rows}, {}, 300)
    report(registry, profile, [counted(profile, live)])
    return registry


@pytest.mark.slow
def test_columns_are_sorted_by_drift_thirty_a_page_and_the_address_keeps_the_order(wide):
    first, third = data(wide), data(wide, "?page=3")
    assert first["columns"]["total"] == 70
    assert {first["columns"]["rows"][at]["status"]["name"] for at in (0, 1)} == {"c6", "c7"}
    assert [len(each["columns"]["rows"]) for each in (first, third)] == [30, 10]
    missing = data(wide, "?sort=missing")
    assert missing["columns"]["rows"][0]["missing_now"] == 0.5
    html = page(wide, "?sort=name&since=7d&page=2")
    assert 'href="?since=7d&amp;sort=name&amp;page=3#columns"' in html
    assert 'href="?since=7d&amp;sort=name#columns"' in html
    assert 'href="?since=30d&amp;sort=name"' in html


@pytest.mark.slow
def test_columns_are_found_by_name_and_nothing_that_is_found_is_said_in_words(wide):
    known = data(wide, "?q=C6")["columns"]
    assert {row["status"]["name"] for row in known["rows"]} == {"c6", "c60", "c61", "c62", "c63"}
    assert "No column has that in its name." in text(page(wide, "?q=nothing"))


@pytest.mark.slow
def test_hostile_names_are_text_on_the_page_and_in_its_tables(wide):
    html = page(wide, "?q=script")
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "\u202e" not in page(wide, "?q=evil")
    answer = Browser(wide).get("/api/models/iris/monitoring.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="iris-columns.csv"'
    names = [row[0] for row in csv.reader(io.StringIO(answer.text))]
    assert "'=1+1" in names
    assert "=1+1" not in names


@pytest.mark.parametrize("table", ["columns", "cells", "drift", "accuracy", "checks"])
def test_every_table_is_read_by_programs(wide, table):
    answer = Browser(wide).get(f"/api/models/iris/monitoring.csv?table={table}")
    header, *rows = csv.reader(io.StringIO(answer.text))
    assert header[0] in ("column", "metric")
    assert all(len(row) == len(header) for row in rows)
    assert len(rows) >= (70 if table in ("columns", "cells", "drift") else 0)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?since=1y", "`since`: expected one of `1d`, `7d`, `30d`, found `1y`"),
        ("?sort=rows", "`sort`: expected one of"),
        ("?page=0", "`page`: expected a number from 1 on"),
    ],
)
def test_an_address_that_means_nothing_is_refused_in_one_sentence(registry, query, words):
    for path in ("/models/iris/monitoring", "/api/models/iris/monitoring"):
        answer = Browser(registry).get(path + query)
        assert answer.status_code == 400
        assert words in (answer.json()["message"] if path.startswith("/api") else answer.text)


def test_a_table_and_a_model_that_do_not_exist_are_refused(registry):
    csv_of = "/api/models/{}/monitoring.csv?table={}"
    refused = Browser(registry).get(csv_of.format("iris", "secrets"))
    assert (refused.status_code, refused.json()["error"]) == (400, "UsageError")
    for path in ("/models/wine/monitoring", csv_of.format("wine", "columns")):
        assert Browser(registry).get(path).status_code == 404


@pytest.mark.slow
def test_a_page_asks_the_catalog_eight_times_and_the_next_not_at_all(drifted):
    asked: list[str] = []

    def note(_connection, _cursor, statement, *_more):
        if not statement.startswith(("BEGIN", "PRAGMA")):
            asked.append(statement)

    reader = Reader(drifted, clock=lambda: NOW)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        first = reader.monitoring("iris", 86_400.0, "ml")
        count = len(asked)
        assert reader.monitoring("iris", 86_400.0, "ml") is first
        assert (count, len(asked)) == (8, 8)
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_a_status_is_read_again_after_some_seconds(registry):
    profile, now = reference(), NOW
    reader = Reader(registry, clock=lambda: now)
    assert reader.monitoring("iris", 86_400.0, "ml").value.rows == 0
    report(registry, profile, hours(profile))
    now = NOW + 14
    assert reader.monitoring("iris", 86_400.0, "ml").value.rows == 0
    now = NOW + 15
    assert reader.monitoring("iris", 86_400.0, "ml").value.rows == 900


def test_while_the_catalog_is_unreachable_the_last_status_stays_with_the_reason(registry, monkeypatch):
    profile, now = reference(), NOW
    report(registry, profile, hours(profile))
    reader = Reader(registry, clock=lambda: now)
    before = reader.monitoring("iris", 86_400.0, "ml")

    def unreachable(_kind):
        raise RegistryUnavailable("catalog", expected="an answer", found="connection refused")

    monkeypatch.setattr(registry.catalog.database, "transaction", unreachable)
    now = NOW + 60
    known = reader.monitoring("iris", 86_400.0, "ml")
    assert (known.value, known.read_at) == (before.value, NOW)
    assert "connection refused" in known.failure
    with pytest.raises(RegistryUnavailable):
        reader.monitoring("wine", 86_400.0, "ml")


@pytest.mark.slow
def test_of_a_long_period_a_share_of_the_windows_is_read_and_the_page_says_so(registry):
    profile = reference()
    first = window(profile, NOW, 1, rows=1)
    everything = [
        msgspec.structs.replace(first, at=NOW - 80_000 + 9 * number, id=f"w{number}")
        for number in range(8_000)
    ]
    report(registry, profile, everything)
    known = data(registry)
    assert 0 < known["share_read"] < 1
    assert known["rows"] == round(known["share_read"] * 8_000)
    assert "of the windows of this period were read, spread evenly over it" in text(page(registry))


def test_the_page_of_the_model_links_to_its_monitoring(registry):
    assert 'href="/models/iris/monitoring"' in Browser(registry).get("/models/iris").text


@pytest.mark.slow
def test_the_page_speaks_korean(drifted):
    client = Browser(drifted)
    html = client.get("/models/iris/monitoring?since=7d", accept_language="ko").text
    assert "드리프트가 있습니다" in html
    assert "Columns and outputs" not in html
    assert json.loads(client.get("/api/models/iris/monitoring").text)["stale"] == ""
