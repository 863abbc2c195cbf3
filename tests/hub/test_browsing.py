"""The pages in a real browser: each as somebody sees it who has opened it."""

from __future__ import annotations

import pytest

from lading.hub.access import Access
from lading.release import Plan
from support.hub_person import KEY
from support.hub_server import hub_over

pytestmark = pytest.mark.slow


def test_a_person_gets_from_the_first_page_to_a_version(people, registry, push):
    push()
    registry.release("iris:1", actor="ann")
    with hub_over(registry) as hub:
        page = people.visit(hub.url)
        page.get_by_role("link", name="Models", exact=True).click()
        page.get_by_role("link", name="iris:1").or_(page.get_by_role("link", name="iris")).first.click()
        assert page.get_by_role("heading", level=1).inner_text() == "iris"


def test_problems_in_a_window_fail_a_test(people, registry):
    with hub_over(registry) as hub:
        page = people.visit(f"{hub.url}/nothing")
        page.goto(hub.url)
        page.evaluate("console.error('no good')")
        with page.expect_event("pageerror"):
            page.evaluate("setTimeout(() => { throw new Error('thrown') })")
        # Without what keeps pages from it, which is an error of its own.
        page = people.visit(hub.url, bypass_csp=True)
        page.evaluate("fetch('http://127.0.0.1:1/').catch(() => 0)")
    with pytest.raises(AssertionError) as failure:
        people.leave()
    for problem in ("answered 404", "no good", "asked elsewhere", "thrown"):
        assert problem in str(failure.value)
    people.expect_problem(".")


@pytest.mark.parametrize("javascript", [True, False])
def test_a_person_signs_in_and_steers_a_release(people, registry, push, javascript):
    for _ in range(2):
        push()
    registry.release("iris:1", actor="ann")
    registry.release("iris:2", Plan(mode="canary", steps=(5, 25)), actor="ann")
    with hub_over(registry, Access(KEY)) as hub:
        page = people.visit(f"{hub.url}/models/iris/release", javascript=javascript)
        page.get_by_role("link", name="Sign in to do something here").click()
        page.get_by_label("Your name").fill("ben")
        page.get_by_label("The key of this hub").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Pause").click()
        # The browser itself asks for the reason.
        page.get_by_role("button", name="Pause").click()
        assert registry.releases.current("iris").state == "running"
        page.get_by_label("Reason").fill("lunch")
        page.get_by_role("button", name="Pause").click()
        page.wait_for_url(f"{hub.url}/models/iris/release")
        assert page.locator(".events li").first.inner_text().split("\n")[-1] == "lunch"
        page.get_by_role("link", name="Take out of traffic").click()
        registry.releases.abort("iris", actor="driver", reason="harm")
        page.get_by_label("Reason").fill("me too")
        people.expect_problem("409")
        page.get_by_role("button", name="Take out of traffic").click()
        page.get_by_role("alert").get_by_text("somebody was quicker").wait_for()
        assert "harm" in page.locator(".events li").first.inner_text()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("link", name="Sign in").wait_for()
    events = registry.releases.events("iris")
    assert [(event.kind, event.actor) for event in events[2:]] == [
        ("paused", "ben"),
        ("rolled_back", "driver"),
    ]
