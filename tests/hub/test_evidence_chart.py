"""The evidence of a release as a curve: picture, table and file say the same."""

from __future__ import annotations

import csv
import io
import re

import pytest

from lading.hub.access import Access
from lading.hub.evidence_chart import GATES, share
from lading.verdict.limits import GATES as JUDGED
from support.hub_pages import HubPages
from support.hub_person import KEY
from support.hub_scene import scene
from support.hub_server import hub_over


def test_every_gate_has_a_name():
    assert set(GATES) == set(JUDGED)


def test_a_share_says_no_more_than_decides():
    assert [share(value) for value in (None, -0.2, 0.426, 1, 66.0)] == [
        "–",
        "0 %",
        "43 %",
        "100 %",
        "> 200 %",
    ]


@pytest.fixture
def pages(tmp_path):
    with scene(tmp_path) as (registry, _):
        yield HubPages(registry)


@pytest.mark.slow
def test_a_canary_has_a_curve_for_each_check_with_its_numbers(pages):
    data = pages.data("/models/churn/release")
    gates = [path["gate"] for path in data["paths"]]
    assert {"max_error_increase", "max_latency_p99_ratio", "max_accuracy_drop"} <= set(gates)
    assert not set(gates) & set(data["unseen"])
    page = pages.get("/models/churn/release").text
    for path in data["paths"]:
        assert f'id="evidence-{path["gate"]}-title"' in page
        details = page[page.index(f'data-chart="evidence-{path["gate"]}"') :]
        rows = re.findall(r"<tr><th scope=\"row\">", details[: details.index("</details>")])
        assert len(rows) == len(path["points"]) <= 80
    table = list(csv.DictReader(io.StringIO(pages.get("/api/models/churn/release.csv").text)))
    assert list(dict.fromkeys(row["gate"] for row in table)) == gates
    last = [row for row in table if row["gate"] == gates[0]][-1]
    assert float(last["e_value"]) == pytest.approx(data["paths"][0]["points"][-1]["e_value"])
    assert len(table) > sum(len(path["points"]) for path in data["paths"])


@pytest.mark.slow
def test_a_release_that_has_ended_has_no_curve(pages):
    assert pages.data("/models/credit-default/release")["paths"] == []
    assert "evidence-max" not in pages.get("/models/credit-default/release").text
    assert pages.get("/api/models/credit-default/release.csv").text.count("\n") == 1


@pytest.mark.slow
def test_the_curve_is_drawn_by_script_and_there_without_it(people, tmp_path):
    with scene(tmp_path) as (registry, clock), hub_over(registry, Access(KEY), clock=clock) as hub:
        page = people.visit(f"{hub.url}/models/churn/release", javascript=False)
        assert page.locator(".card > svg").first.is_visible()
        assert page.locator("canvas").count() == 0
        if not page.locator("script[src*=uplot]").count():
            pytest.skip("no uPlot here: `make services` fetches it")
        page = people.visit(f"{hub.url}/models/churn/release")
        charts = page.locator(".plot canvas")
        charts.first.wait_for()
        assert charts.count() == page.locator("details[data-kind=evidence]").count() > 3
        assert not page.locator(".card > svg").first.is_visible()
