"""The page of a release: both sides in numbers, and what may be done."""

from __future__ import annotations

import pytest

from lading.release import Plan
from support.hub_pages import text_of
from support.release_processes import window

CANARY = Plan(mode="canary", steps=(5, 25, 100))


@pytest.mark.slow
def test_a_release_has_both_sides_in_numbers_and_a_verdict_with_reasons(browser, registry, push):
    push()
    push()
    registry.release("iris:1", actor="ann")
    registry.release("iris:2", CANARY, actor="ann", reason="better on weekends")
    began = registry.fleet.now()
    registry.traffic.add_windows(
        [
            window(id="a", version=1, release=2, at=began, requests=95, errors={}, latency=()),
            window(id="b", version=2, release=2, at=began, requests=5, errors={"RunFailed": 2}, latency=()),
        ]
    )
    page = text_of(browser.get("/models/iris/release"))
    assert "iris · Release 2 under way canary · by ann" in page
    assert "live · iris:1 candidate · iris:2" in page
    assert "Requests 95 5" in page
    assert "Failed 0.00 % 40.00 %" in page
    assert "not enough yet ·" in page
    assert "No process drives it" in page
    assert "lading rollout abort iris --release 2" in page
    registry.releases.abort("iris", actor="ann", reason="enough")
    page = text_of(browser.get("/models/iris/release"))
    assert "rolled back" in page
    assert "Verdict so far" not in page


def test_a_model_without_a_release_says_how_to_make_one(browser, push):
    push()
    page = browser.get("/models/iris/release")
    assert page.status_code == 404
    assert "`lading release iris:1` releases version 1" in text_of(page)
    assert browser.get("/models/none/release").status_code == 404
