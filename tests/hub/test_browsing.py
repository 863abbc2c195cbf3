"""The pages in a real browser: each as somebody sees it who has opened it."""

from __future__ import annotations

import pytest

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
