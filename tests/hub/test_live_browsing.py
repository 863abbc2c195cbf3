"""Pages that keep themselves up to date, in a real browser: nothing that a person does is lost by it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lading.registry import Registry
from support.bundles import linear_bundle
from support.hub_rows import alarm
from support.hub_server import hub_over
from support.recorded_evidence import push_proved
from support.waiting import wait_until

pytestmark = pytest.mark.slow

# A hub that stops is a refused connection to the page that has it open.
STOPPED = r"ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE"


def test_a_page_follows_and_leaves_what_a_person_does_alone(people, registry, push):
    for name in ("churn", "iris", "prices"):
        push(name)
    registry.release("iris:1", actor="ann")
    with hub_over(registry) as hub:
        page = people.visit(f"{hub.url}/models")
        page.locator("input[name=q]").fill("half a wo")
        page.get_by_role("link", name="iris", exact=True).focus()
        before = page.locator("tbody tr").count()
        push("aaa")  # A row above the one that has the focus.
        hub.read()
        page.wait_for_selector("tbody tr:nth-child(4)")
        assert page.locator("tbody tr").count() == before + 1
        assert page.locator("input[name=q]").input_value() == "half a wo"
        assert page.evaluate("document.activeElement.textContent") == "iris"


def test_an_open_event_of_a_history_stays_open_and_where_it_is(people, registry, push):
    push()
    push()
    registry.release("iris:1", actor="ann", reason="the first")
    with hub_over(registry) as hub:
        page = people.visit(f"{hub.url}/history/iris")
        page.locator("summary").first.click()
        registry.release("iris:2", actor="ben", reason="the second")
        hub.read()
        page.wait_for_selector("tbody tr:nth-child(2)")
        opened = page.locator("tr:has(details[open])")
        assert opened.count() == 1
        assert "the first" in opened.inner_text()


def test_what_sums_a_page_up_is_announced_and_nothing_else(people, registry, push):
    push()
    with hub_over(registry) as hub:
        page = people.visit(hub.url)
        assert page.locator("#news").text_content() == ""
        registry.monitoring.save("monitor", {}, [], [alarm()])
        hub.read()
        page.wait_for_selector("h1:has-text('One thing needs somebody')")
        assert page.locator("#news").text_content() == "One thing needs somebody"


def test_a_page_says_that_the_hub_is_silent_and_comes_back_by_itself(people, registry, push):
    push()
    people.expect_problem(STOPPED)
    with hub_over(registry) as hub:
        page = people.visit(f"{hub.url}/models")
        port = int(hub.url.rpartition(":")[2])
        wait_until(lambda: hub.live.open_streams == 1)
    page.wait_for_selector("#notice:not([hidden])", timeout=30_000)
    assert "The hub has not answered since" in page.locator("#notice").inner_text()
    push("prices")
    with hub_over(registry, port=port):
        page.wait_for_selector("a:has-text('prices')", timeout=30_000)
        page.wait_for_selector("#notice[hidden]", state="attached")
        assert page.locator("tbody tr").count() == 2  # Nothing is displayed twice.


def test_a_hidden_tab_has_no_stream(people, registry, push):
    push()
    with hub_over(registry) as hub:
        page = people.visit(hub.url)
        streams = hub.live
        wait_until(lambda: streams.open_streams == 1)
        # What a browser does when another tab is in front; a headless one has no other in front.
        hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
        hide += "document.dispatchEvent(new Event('visibilitychange'))"
        page.evaluate(hide % "true")
        wait_until(lambda: streams.open_streams == 0)
        push("prices")
        page.evaluate(hide % "false")
        hub.read()
        wait_until(lambda: streams.open_streams == 1)
        page.wait_for_selector("dd:has-text('2')")


LOCKS = """
import fcntl, pathlib, sys
with open(sys.argv[1] + "-shm", "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX, 8, 120)
    pathlib.Path(sys.argv[2]).touch()
    sys.stdin.readline()
"""
"""Locks that keep even readers out, as in a process that recovers the file (sqlite.org/walformat.html)."""


def test_pages_are_read_while_another_process_has_the_catalog_locked(people, registry, push, tmp_path):
    push()
    file, locked = str(tmp_path / "registry" / "catalog.db"), tmp_path / "locked"
    with hub_over(registry, follows=True) as hub:
        page = people.visit(f"{hub.url}/models/iris")
        command = [sys.executable, "-c", LOCKS, file, str(locked)]
        other = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        try:
            wait_until(locked.exists)
            page.wait_for_selector("#state:has-text('The registry does not answer')", timeout=60_000)
            assert page.get_by_role("heading", level=1).inner_text() == "iris"
            page.reload()
            page.wait_for_selector("#state:has-text('The registry does not answer')")
            assert page.get_by_role("heading", level=1).inner_text() == "iris"
        finally:
            other.communicate("\n", timeout=30)
        page.wait_for_selector("#state:not(:has(p))", state="attached", timeout=90_000)


def test_pages_are_read_while_postgresql_is_stopped_and_come_back(people, postgres, tmp_path):
    url, store = postgres.database(), str(tmp_path / "store")
    with Registry.open(url, store=store) as registry:
        push_proved(registry, linear_bundle(tmp_path / "1", seed=1))
        registry.release("iris:1", actor="ann")
        with hub_over(registry, follows=True) as hub:
            pages = [people.visit(f"{hub.url}{path}") for path in ("/", "/models/iris/release")]
            postgres.stop()
            try:
                for page in pages:
                    page.wait_for_selector("#state:has-text('The registry does not answer')", timeout=60_000)
                    assert page.get_by_role("heading", level=1).is_visible()
            finally:
                postgres.start()
            push_proved(registry, linear_bundle(tmp_path / "2", "prices", seed=2))
            for page in pages:
                page.wait_for_selector("#state:not(:has(p))", state="attached", timeout=60_000)
            pages[0].wait_for_selector("dd:has-text('2')")
