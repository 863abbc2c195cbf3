"""Every page before axe-core, in light and dark, at a desk and on a phone, in English and Korean."""

from __future__ import annotations

import pytest

from support.accessibility import needs_axe, violations
from support.browsing import NARROW, WIDE
from support.hub_routes import empty, examples
from support.hub_scene import scene
from support.hub_server import hub_over

pytestmark = [pytest.mark.slow, needs_axe]

# Each pair of a window, a colour scheme and a language is among them; all eight take twice as long.
WAYS = [(WIDE, False, "en"), (WIDE, True, "ko"), (NARROW, False, "ko"), (NARROW, True, "en")]


def judged(people, url: str, addresses: list[str], width: int, dark: bool, language: str) -> list[str]:
    page = people.visit(url, width=width, dark=dark, language=language, bypass_csp=True)
    problems = []
    for address in addresses:
        page.goto(url + address)
        assert page.locator("html").get_attribute("lang") == language
        problems += [f"{address}: {problem}" for problem in violations(page)]
    return problems


@pytest.mark.parametrize(("width", "dark", "language"), WAYS)
def test_axe_finds_nothing_on_any_page(people, tmp_path, width, dark, language):
    with scene(tmp_path) as (registry, clock), hub_over(registry, clock=clock) as hub:
        problems = judged(people, hub.url, examples(hub.app), width, dark, language)
    assert not problems, "\n".join(problems)


def test_axe_finds_nothing_on_pages_without_data(people, registry):
    people.expect_problem("404")
    with hub_over(registry) as hub:
        problems = [
            problem
            for width, dark, language in WAYS
            for problem in judged(people, hub.url, empty(hub.app), width, dark, language)
        ]
    assert not problems, "\n".join(problems)


def test_axe_finds_what_is_wrong(people, registry):
    with hub_over(registry) as hub:
        page = people.visit(hub.url, bypass_csp=True)
        page.evaluate("document.querySelector('h1').innerHTML = '<img src=/static/icon.svg>'")
        assert any("image-alt" in problem for problem in violations(page))
