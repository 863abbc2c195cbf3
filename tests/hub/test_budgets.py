"""What a page costs the person who opens it: bytes, time to the first paint, shifts, and keys."""

from __future__ import annotations

import gzip
import re
from urllib.parse import urlsplit

import httpx
import pytest

from lading.hub.access import Access
from lading.hub.assets import Assets
from support.browsing import NARROW, WIDE
from support.hub_person import KEY
from support.hub_routes import examples
from support.hub_scene import scene
from support.hub_server import hub_over, signed_in

pytestmark = pytest.mark.slow

MOST_BYTES, MOST_PAINT_MS = 200_000, 1000
# From before a page's first element on; shifts that follow a key or a click are not counted, by the standard.
_OBSERVE = """
window.shifts = [];
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts.push(entry.value);
}).observe({type: "layout-shift", buffered: true});
"""
# A page that keeps a stream of events open is never idle: what was loaded is on the screen after two frames.
_DRAWN_TWICE = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
_PAINTED = """new Promise(done => new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (entry.name == "first-contentful-paint") done(entry.startTime);
}).observe({type: "paint", buffered: true}))"""


@pytest.fixture
def hub(tmp_path):
    with scene(tmp_path) as (registry, clock), hub_over(registry, Access(KEY), clock=clock) as server:
        yield server


def test_no_page_is_heavier_than_200_kb_compressed(people, hub):
    page = people.visit(hub.url)
    heavy, sizes = {}, {}
    page.on("response", lambda response: asked.append(response.url))
    with httpx.Client(headers={"accept-encoding": "gzip"}) as client:
        for address in examples(hub.app):
            asked: list[str] = [hub.url + address]
            page.goto(hub.url + address)
            page.wait_for_load_state("load")
            # The stream of live updates has no end, and weighs nothing.
            asked = [url for url in asked if urlsplit(url).path != "/live"]
            for url in set(asked) - set(sizes):
                with client.stream("GET", url) as answer:
                    sizes[url] = sum(len(part) for part in answer.iter_raw())
            total = sum(sizes[url] for url in set(asked))
            if total > MOST_BYTES:
                heavy[address] = total
    assert not heavy


def test_pages_and_styles_are_compressed_and_what_is_small_or_a_file_is_not(hub):
    styles = Assets().addresses["hub.css"]
    with httpx.Client(base_url=hub.url) as client:
        for path in (
            "/models/credit-default/monitoring?since=7d",
            styles,
            "/api/history/churn.json",
        ):
            answer = client.get(path, headers={"accept-encoding": "gzip"})
            assert answer.headers.get("content-encoding") == "gzip", path
            assert "accept-encoding" in answer.headers["vary"].lower()
        assert "content-encoding" not in client.get("/health").headers
        plain = client.get(styles, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert len(gzip.compress(plain.content)) < len(plain.content)


def test_pages_of_people_who_are_signed_in_are_as_light_and_no_two_have_one_token(people, hub):
    page = signed_in(people, hub.url)
    cookie = "; ".join(f"{each['name']}={each['value']}" for each in page.context.cookies())
    asking = {"accept-encoding": "gzip", "cookie": cookie}
    tokens, heavy = set(), {}
    with httpx.Client(base_url=hub.url, headers=asking) as client:
        # Every file that a page may load, though no page loads all.
        assets = sum(len(gzip.compress(client.get(url).content)) for url in Assets().addresses.values())
        for address in examples(hub.app):
            with client.stream("GET", address) as answer:
                size = sum(len(part) for part in answer.iter_raw())
                assert answer.headers["content-encoding"] == "gzip", address
            if size + assets > MOST_BYTES:
                heavy[address] = size
        for _ in range(3):
            tokens.add(re.search(r'name="token" value="([^"]+)"', client.get("/models").text)[1])
    assert not heavy
    assert len(tokens) == 3


@pytest.mark.alone
def test_every_page_is_painted_within_a_second(people, hub):
    page = people.visit(hub.url)
    late = {}
    for address in examples(hub.app):
        page.goto(hub.url + address)
        paint = page.evaluate(_PAINTED)
        if paint > MOST_PAINT_MS:
            late[address] = paint
    assert not late


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_moves_while_a_page_loads_and_no_page_scrolls_sideways(people, hub, width):
    page = signed_in(people, hub.url, width=width)
    page.context.add_init_script(_OBSERVE)
    shifted, wide = {}, {}
    for address in examples(hub.app):
        page.goto(hub.url + address)
        page.evaluate(_DRAWN_TWICE)
        if shifts := page.evaluate("window.shifts"):
            shifted[address] = shifts
        if (width_now := page.evaluate("document.documentElement.scrollWidth")) > width:
            wide[address] = width_now
    assert not shifted
    assert not wide


def test_what_moves_is_seen(people, hub):
    page = people.visit(hub.url)
    page.context.add_init_script(_OBSERVE)
    page.goto(f"{hub.url}/models")
    page.evaluate(_DRAWN_TWICE)
    page.evaluate("document.querySelector('main').style.paddingTop = '200px'")
    page.evaluate(_DRAWN_TWICE)
    assert page.evaluate("window.shifts")


def test_a_keyboard_alone_reaches_everything_and_shows_where_it_is(people, hub):
    page = signed_in(people, hub.url)
    for address in examples(hub.app):
        page.goto(hub.url + address)
        expected = page.evaluate(_REACHABLE)
        reached = []
        for _ in range(len(expected)):
            page.keyboard.press("Tab")
            at, ring, top = page.evaluate(_FOCUSED)
            reached.append(at)
            assert ring != "none", f"{address}: nothing shows that {at} has the focus"
            assert top >= 0, f"{address}: {at} has the focus out of sight"
        assert reached == expected, address


# In the order of the document, which is that of reading. An element's name begins with its number among all.
_NAMED = """
const all = [...document.querySelectorAll('*')];
const name = e => `${all.indexOf(e)} ${e.tagName} ${(e.textContent || '').trim().slice(0, 30)}`;
const shown = e => e.checkVisibility();
"""
_REACHABLE = f"""() => {{ {_NAMED}
  return all.filter(e => shown(e) && e.tabIndex >= 0 && !e.disabled && e.type !== 'hidden').map(name); }}"""
_FOCUSED = f"""() => {{ {_NAMED}
  const e = document.activeElement;
  return [name(e), getComputedStyle(e).outlineStyle, e.getBoundingClientRect().bottom]; }}"""


def test_the_first_key_leads_past_the_navigation(people, hub):
    page = people.visit(f"{hub.url}/models")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_pages_are_whole_without_javascript(people, hub):
    page = people.visit(f"{hub.url}/models", javascript=False)
    page.get_by_role("searchbox").fill("churn")
    page.keyboard.press("Enter")
    page.wait_for_url("**/models?*q=churn*")
    page.get_by_role("link", name="churn", exact=True).click()
    page.get_by_role("link", name="Monitoring").first.click()
    assert page.url.endswith("/models/churn/monitoring")
    page.goto(f"{hub.url}/models/credit-default/monitoring?since=7d")
    page.locator("summary").first.click()
    assert page.locator("details[open]").count() == 1
    page.get_by_role("link", name="한국어").click()
    assert page.locator("html").get_attribute("lang") == "ko"
