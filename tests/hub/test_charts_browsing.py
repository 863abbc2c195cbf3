"""The charts of the monitoring page in a real browser: those of the server, and those of uPlot."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from lading.hub import assets
from lading.registry.open import open_catalog
from support.hub_server import hub_over
from support.live_columns import DIGEST, HOUR_S, reference, report, window
from support.registries import registry_over

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def watched(tmp_path):
    """A registry with a model whose columns were counted over hours."""
    from lading.registry.records import NewVersion

    catalog = open_catalog(str(tmp_path / "registry"))
    version = NewVersion(
        name="iris",
        digest=DIGEST,
        blob=DIGEST,
        size_bytes=1,
        purpose="",
        description="",
        owner="ml@example.com",
        pushed_at="2026-11-30T12:00:00Z",
        metrics={},
    )
    catalog.versions.add(version, (), lambda: None)
    registry = registry_over(catalog)
    profile = reference()
    now = time.time()
    report(registry, profile, [window(profile, now - HOUR_S * each, each) for each in range(8, 0, -1)])
    yield registry
    catalog.close()


@pytest.fixture(scope="module")
def packed():
    if shutil.which("npm") is None:
        pytest.skip("no npm: `make services` installs it")
    subprocess.run([str(ROOT / "scripts" / "assets")], check=True)


def test_a_chart_along_time_is_drawn_from_the_table_below_it(people, watched, packed):
    with hub_over(watched) as hub:
        page = people.visit(f"{hub.url}/models/iris/monitoring")
        charts = page.locator(".plot canvas")
        tables = page.locator("details[data-kind=drift]")
        assert charts.count() == tables.count() > 1
        assert page.locator("svg[data-own-hidden]").count() == charts.count()
        assert not page.locator("svg[data-own-hidden]").first.is_visible()
        # The pointer is at one time in all charts, with the values of that time.
        page.locator(".plot .u-over").first.hover()
        legends = page.locator(".plot .u-legend")
        times = {legends.nth(at).locator(".u-series").first.inner_text() for at in range(charts.count())}
        assert len(times) == 1
        first = tables.first.locator("tbody tr").first
        assert first.locator("td").first.text_content()


def test_without_scripts_or_without_what_npm_brings_the_pictures_of_the_server_stay(
    people, watched, monkeypatch, tmp_path
):
    with hub_over(watched) as hub:
        page = people.visit(f"{hub.url}/models/iris/monitoring", javascript=False)
        assert page.locator(".card > svg").first.is_visible()
        assert page.locator("canvas").count() == 0
    monkeypatch.setattr(assets, "PACKED", "nowhere")
    with hub_over(watched) as hub:
        page = people.visit(f"{hub.url}/models/iris/monitoring")
        assert page.locator(".card > svg").first.is_visible()
        assert page.locator("canvas").count() == 0
