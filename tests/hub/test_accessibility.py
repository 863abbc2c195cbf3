"""Every page before axe-core, in light and dark, at a desk and on a phone, in English and Korean."""

from __future__ import annotations

import functools

import pytest

from lading.hub.access import Access
from support.accessibility import needs_axe, violations
from support.browsing import NARROW, WIDE
from support.hub_person import KEY
from support.hub_routes import empty, examples
from support.hub_scene import scene
from support.hub_server import hub_over, signed_in

pytestmark = [pytest.mark.slow, needs_axe]

# Each pair of a window, a colour scheme and a language is among them; all eight take twice as long.
WAYS = [(WIDE, True, "ko"), (NARROW, False, "en"), (WIDE, False, "en"), (NARROW, True, "ko")]
# Each takes a minute.
EACH = [WAYS[0], *(pytest.param(*way, marks=pytest.mark.wide) for way in WAYS[1:])]


def judged(visit, url: str, addresses: list[str], width: int, dark: bool, language: str) -> list[str]:
    page = visit(url, width=width, dark=dark, language=language, bypass_csp=True)
    problems = []
    for address in addresses:
        page.goto(url + address)
        assert page.locator("html").get_attribute("lang") == language
        problems += [f"{address}: {problem}" for problem in violations(page)]
    return problems


@pytest.mark.parametrize(("width", "dark", "language"), EACH)
def test_axe_finds_nothing_on_any_page(people, tmp_path, width, dark, language):
    with scene(tmp_path) as (registry, clock), hub_over(registry, Access(KEY), clock=clock) as hub:
        visit = functools.partial(signed_in, people) if language == "en" else people.visit
        problems = judged(visit, hub.url, examples(hub.app), width, dark, language)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(("width", "dark", "language"), EACH)
def test_axe_finds_nothing_on_what_is_displayed_to_a_person_who_is_signed_in(
    people, tmp_path, width, dark, language
):
    people.expect_problem("4(00|01|09)")
    with scene(tmp_path) as (registry, clock), hub_over(registry, Access(KEY), clock=clock) as hub:
        page = people.visit(f"{hub.url}/sign-in", width=width, dark=dark, language=language, bypass_csp=True)
        page.fill("#name", "ann")
        page.fill("#key", "wrong")
        page.click("main button")
        problems = violations(page)
        page.fill("#key", KEY)
        page.click("main button")
        page.wait_for_url(f"{hub.url}/")
        forms = [address for address in examples(hub.app) if "/release" in address]
        for address in ("/models/churn", "/models/churn/4", "/sign-in", *forms):
            page.goto(hub.url + address)
            problems += [f"{address}: {problem}" for problem in violations(page)]
        # Somebody is quicker: the page of the form, once more.
        page.goto(f"{hub.url}/models/churn/release/pause")
        registry.releases.abort("churn", actor="driver", reason="harm")
        page.fill("#reason", "lunch")
        page.click("main button")
        problems += violations(page)
    assert not problems, "\n".join(problems)


def test_axe_finds_nothing_on_pages_without_data(people, registry):
    people.expect_problem("404")
    with hub_over(registry) as hub:
        problems = [
            problem
            for width, dark, language in WAYS
            for problem in judged(people.visit, hub.url, empty(hub.app), width, dark, language)
        ]
    assert not problems, "\n".join(problems)


def test_axe_finds_what_is_wrong(people, registry):
    with hub_over(registry) as hub:
        page = people.visit(hub.url, bypass_csp=True)
        page.evaluate(
            "document.querySelector('h1').append(Object.assign(new Image(), "
            "{src: document.querySelector('link[rel=icon]').href}))"
        )
        assert any("image-alt" in problem for problem in violations(page))
