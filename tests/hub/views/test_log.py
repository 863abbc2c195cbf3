"""The pages of the prediction log, over logs that the project's own writer has written."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import time

import msgspec
import numpy as np
import pytest

from lading.errors import missing_extra
from lading.hub import prediction_log
from lading.hub.views.log import LogState
from lading.server.observe.prediction_log import Privacy
from support.hub_browser import Browser
from support.hub_pages import parsed, text_of
from support.hub_rows import alarm
from support.predictions import LogMaker, chunk

pytestmark = pytest.mark.slow  # Hundreds of requests to hubs: the fast tests have those of each view.

NOW = time.time()


@pytest.fixture
def log(tmp_path) -> LogMaker:
    """Return the log of the registry: where `lading log` and the hub look by themselves."""
    return LogMaker(tmp_path / "registry" / "log")


def add(log: LogMaker, *ids: str, ago_s: float = 60.0, **fields) -> None:
    at = [time.time() - ago_s + number for number in range(len(ids))]
    log.add(chunk(list(ids), ended_at=at, **fields))


def get(registry, path: str = "/log/iris"):
    return Browser(registry).get(path)


def data(registry, path: str = "/log/iris"):
    answer = get(registry, f"/api{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_records_have_what_was_asked_answered_and_known_since(registry, log):
    add(log, "a", "b", errors=["", "RunFailed"], statuses=[200, 500], warnings=[("too <b>large",), ()])
    log.label("a", "class 0", at=time.time())
    log.flush()
    page = get(registry)
    text = text_of(page)
    for part in ("class 0", "RunFailed", "500", "too <b>large", "250 ms", "replica-1", "length 0.0"):
        assert part in text
    assert "<b>large" not in page.text
    assert ("/models/iris/1", "") in parsed(page).links
    records = data(registry)["result"]["records"]
    assert [(each["id"], each["label"]) for each in records] == [("b", None), ("a", "class 0")]


def test_the_list_has_the_models_of_the_log_and_the_navigation_has_the_list(registry, log):
    add(log, "a")
    log.close()
    page = get(registry, "/log")
    assert ("/log/iris", "") in parsed(page).links
    assert ("/log", "") in parsed(get(registry, "/")).links
    assert data(registry, "/log")["models"] == ["iris"]


def test_an_address_limits_the_records_and_the_form_says_so(registry, log):
    add(log, "a", "b", statuses=[200, 500], errors=["", "RunFailed"])
    add(log, "old", ago_s=3 * 86_400)
    log.close()
    assert [each["id"] for each in data(registry)["result"]["records"]] == ["b", "a"]
    for query, expected in (
        ("?since=7d", ["b", "a", "old"]),
        ("?since=all&outcome=error", ["b"]),
        ("?id=a", ["a"]),
        ("?column=inputs.width&op=gt&value=2", ["b"]),
        ("?column=outputs.label&value=class+0", ["a"]),
        ("?version=2", []),
        ("?since=all&until=2d", ["old"]),
        ("?label=no", ["b", "a"]),
    ):
        assert [each["id"] for each in data(registry, f"/log/iris{query}")["result"]["records"]] == expected
    page = get(registry, "/log/iris?version=2&column=inputs.width&op=lt&value=7")
    assert "No record of this period is like that." in text_of(page)
    for value in ('value="2"', 'value="inputs.width"', 'value="lt" selected', 'value="7"'):
        assert value in page.text


def test_pages_follow_each_other_by_their_links(registry, log):
    add(log, *(f"r{at}" for at in range(70)), ago_s=600)
    log.close()
    path, seen = "/log/iris", []
    while path:
        page = get(registry, path)
        seen += re.findall(r"id=(r\d+)", page.text)
        path = next((f"/log/iris{link}" for link, rel in parsed(page).links if rel == "next"), "")
    assert seen == [f"r{at}" for at in reversed(range(70))]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("since=yesterday", "`since`: expected a time, found `yesterday`"),
        ("since=99999999999999h", "expected a time"),
        ("version=x", "`version`: expected a number"),
        ("outcome=well", "`outcome`: expected one of"),
        ("column=width&value=1", "`column`: expected an input or output"),
        ("column=inputs.width&value=wide", "expected a number, found `wide`"),
        ("before=x", "`before`: expected the place of a record"),
        ("before=99999999999999999~0~~a", "`before`: expected the place of a record"),
        ("id=" + "x" * 600, "`id`: expected at most 500 characters"),
    ],
)
def test_what_cannot_be_looked_for_is_said_in_a_sentence(registry, log, query, sentence):
    add(log, "a")
    log.close()
    for path in (f"/log/iris?{query}", f"/api/log/iris/records.csv?{query}"):
        answer = get(registry, path)
        assert answer.status_code == 400
    assert sentence in text_of(get(registry, f"/log/iris?{query}"))


HOSTILE = "<script>alert(1)</script>\u202eevil\x1b[31m\u2066" + "x" * 100_000


def test_hostile_values_are_text_and_cut_with_their_length(registry, log):
    outputs = {"label": np.array([HOSTILE], object)}
    add(log, "<i>\u202e", outputs=outputs, errors=["<img src=x>"], warnings=[(HOSTILE[:300],)])
    log.label("<i>\u202e", HOSTILE, at=time.time())
    log.close()
    page = get(registry)
    assert len(page.content) < 30_000
    for part in ("<script>", "<i>", "<img", "\u202e", "\u2066", "\x1b"):
        assert part not in page.text
    assert text_of(page).count(f"… ({len(HOSTILE):,})") == 2  # The output and the label.
    assert get(registry, "/log/iris?id=%3Cscript%3E&value=%E2%80%AE").status_code == 200


def test_a_file_has_what_the_page_is_about_and_no_formula(registry, log):
    add(log, "a", "b", outputs={"label": np.array(["=1+1", "b"], object)})
    log.close()
    answer = get(registry, "/api/log/iris/records.csv?id=a")
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["id"], row["outputs.label"], row["inputs.width"]) == ("a", "'=1+1", "1.0")
    assert answer.headers["x-lading-complete"] == "yes"
    assert answer.headers["content-disposition"] == 'attachment; filename="log-iris.csv"'
    records = json.loads(get(registry, "/api/log/iris/records.json").text)["records"]
    assert [each["id"] for each in records] == ["b", "a"]


def test_a_file_that_is_not_all_says_so(registry, log, monkeypatch):
    monkeypatch.setattr(prediction_log, "MOST_DOWNLOADED", 2)
    add(log, "a", "b", "c")
    log.close()
    answer = get(registry, "/api/log/iris/records.csv")
    assert len(answer.text.splitlines()) == 3
    assert answer.headers["x-lading-complete"] == "no"
    assert get(registry, "/api/log/iris/records.json").json()["older"]


def test_what_was_left_out_or_hashed_stays_so(registry, tmp_path):
    privacy = Privacy(excluded=frozenset({"length"}), hashed=frozenset({"width"}), key=b"k" * 32)
    log = LogMaker(tmp_path / "registry" / "log", privacy=privacy)
    add(log, "a")
    log.close()
    (record,) = data(registry)["result"]["records"]
    assert set(record["inputs"]) == {"width"}
    assert record["inputs"]["width"] not in ("1.0", None)


def test_without_a_log_the_page_says_how_to_have_one(registry, log):
    for path in ("/log", "/log/iris"):
        assert "--log-predictions 1" in text_of(get(registry, path))
    assert "lading hub --log s3://models/log" in text_of(get(registry, "/log"))
    add(log, "a")
    log.close()
    text = text_of(get(registry, "/log/churn"))
    assert "no record of this model" in text
    assert "It has records of: iris" in text
    assert get(registry, "/api/log/churn/records.csv").status_code == 404


def test_without_the_extra_the_page_says_what_to_install(registry, monkeypatch):
    def missing(_self):
        raise missing_extra("the page of the log", "monitor", ModuleNotFoundError(name="duckdb"))

    monkeypatch.setattr(prediction_log.PredictionLog, "_open", missing)
    for path in ("/log", "/log/iris"):
        assert "pip install 'lading-ml[monitor,hub]'" in text_of(get(registry, path))


def test_a_search_whose_time_is_up_says_so_and_goes_on(registry, log, monkeypatch):
    add(log, "a")
    log.close()
    limits = prediction_log.limits_of(as_file=False)
    with monkeypatch.context() as hurried:
        late = msgspec.structs.replace(limits, seconds=0.0)
        hurried.setattr(prediction_log, "limits_of", lambda **_: late)
        page = get(registry)
    assert "Time was up before a whole hour was searched." in text_of(page)
    assert "No record" not in text_of(page)
    (link,) = [link for link, rel in parsed(page).links if rel == "next"]
    assert "a" in [each["id"] for each in data(registry, f"/log/iris{link}")["result"]["records"]]


def test_a_search_beside_another_waits_and_then_says_so(registry, log, monkeypatch):
    add(log, "a")
    log.close()
    monkeypatch.setattr(prediction_log, "_PATIENCE_S", 0.01)
    pages = prediction_log.PredictionLog(str(log.root))
    with pages.searching, pytest.raises(Exception, match="one search at a time"):
        pages.page("iris", LogState())
    assert pages.page("iris", LogState()).result.records


def test_other_pages_link_into_the_log_with_the_filter_that_belongs_there(registry, log, tmp_path):
    began = NOW - 7200
    registry.monitoring.save("monitor", {}, [], [alarm(began_at=began)])
    links = [link for link, _ in parsed(get(registry, "/alarms")).links if link.startswith("/log/iris")]
    assert len(links) == 1
    assert "version=1" in links[0]
    add(log, "a")
    log.close()
    assert [each["id"] for each in data(registry, links[0])["result"]["records"]] == ["a"]


@pytest.mark.slow
def test_the_hub_starts_without_loading_what_reads_a_log():
    code = "import sys, lading.hub.app; sys.exit('duckdb' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_search_is_made_when_somebody_asks_and_goes_with_no_page(registry, log, tmp_path):
    add(log, "a")
    log.close()
    assert 'data-live=""' in get(registry).text
    assert get(registry, "/live?page=/log/iris").status_code == 404
