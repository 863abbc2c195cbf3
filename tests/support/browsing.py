"""A real Chromium that people's clicks are played in, by Playwright.

One browser for all tests of a worker process, and for each test profiles of its own. A test fails if a page
writes an error to the console, throws one, asks for something that is not answered, or asks another host.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from support.chromium import CHROMIUM
from support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response

WIDE, NARROW = 1440, 390
"""The windows in which pages are looked at: a desk's and a phone's."""

_HEIGHTS = {WIDE: 900, NARROW: 844}
_LOCALES = {"en": "en-GB", "ko": "ko-KR"}
# The browser gave up by itself: the page was left while it was asking (a live stream), or it is a download.
_LEFT = "net::ERR_ABORTED"
# A window that outlives its hub asks again and again whether it is back, as it should.
_HUB_ENDED = re.compile(r"/live\?.*ERR_CONNECTION_REFUSED|ERR_CONNECTION_REFUSED.*/live\?")


class People:
    """Opens pages of a hub as people do, and keeps account of what goes wrong in them."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._expected: list[re.Pattern[str]] = []
        self.problems: list[str] = []

    def visit(
        self,
        url: str,
        *,
        width: int = WIDE,
        dark: bool = False,
        language: str = "en",
        javascript: bool = True,
        bypass_csp: bool = False,
        **options: Any,
    ) -> Page:
        """Open a window, with no cookies, at a page; `language` is what the browser asks for.

        `bypass_csp` is for scripts of a test; further options are those of Playwright's ``new_context``.
        """
        options.setdefault("viewport", {"width": width, "height": _HEIGHTS.get(width, 900)})
        context = self._browser.new_context(
            color_scheme="dark" if dark else "light",
            locale=_LOCALES[language],
            java_script_enabled=javascript,
            bypass_csp=bypass_csp,
            reduced_motion="reduce",
            **options,
        )
        self._contexts.append(context)
        own = urlsplit(url).netloc
        context.on("console", self._console)
        context.on("weberror", lambda error: self._problem(f"page error: {error.error}"))
        context.on("request", lambda request: self._asked(request, own))
        context.on("requestfailed", self._failed)
        context.on("response", self._answered)
        page = context.new_page()
        page.goto(url)
        return page

    def expect_problem(self, pattern: str) -> None:
        """Leave problems like this out: the test provokes them."""
        self._expected.append(re.compile(pattern))

    def leave(self) -> None:
        """Close all windows; fail if anything went wrong in them."""
        for context in self._contexts:
            context.close()
        expected = [*self._expected, _HUB_ENDED]
        unexpected = [text for text in self.problems if not any(each.search(text) for each in expected)]
        assert not unexpected, "\n".join(unexpected)

    def _problem(self, text: str) -> None:
        self.problems.append(text)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._problem(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Request, own: str) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != own:
            self._problem(f"asked elsewhere: {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != _LEFT:
            self._problem(f"failed: {request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._problem(f"answered {response.status}: {response.request.method} {response.url}")


@contextlib.contextmanager
def running_chromium(folder: Path) -> Iterator[str]:
    """Run a Chromium with its profile in a folder; yield its address."""
    assert CHROMIUM is not None, "no Chromium: `apt-get install chromium`"
    profile = folder / "chromium"
    profile.mkdir()
    port_file = profile / "DevToolsActivePort"
    # A container's root has no user namespace for the sandbox; the pages are our own, and load nothing.
    # Little shared memory, as containers have, would end a tab: files then.
    options = (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--force-color-profile=srgb", "--font-render-hinting=none", "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
    )  # fmt: skip
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [CHROMIUM, *options, "about:blank"], stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(
            lambda: _port(port_file), 60, lambda: (folder / "chromium.log").read_text("utf-8", "replace")
        )
        yield f"http://127.0.0.1:{_port(port_file)}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


@contextlib.contextmanager
def visiting(address: str) -> Iterator[People]:
    """Yield what opens windows of a running browser; fail at the end if anything went wrong in them."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.connect_over_cdp(address)
        visitors = People(browser)
        yield visitors
        visitors.leave()
        browser.close()


@pytest.fixture(scope="session")
def chromium_address(tmp_path_factory) -> Iterator[str]:
    """Yield the address of a Chromium that runs while this worker process does."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: `apt-get install chromium`")
    with running_chromium(tmp_path_factory.mktemp("chromium")) as address:
        yield address


def _port(file: Path) -> str:
    # The second line comes after the port, which is whole then.
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return lines[0] if len(lines) > 1 else ""


@pytest.fixture
def people(chromium_address: str) -> Iterator[People]:
    """Yield what opens windows of a real browser; a problem in one of them fails the test.

    A running loop stays set in this thread until the end of the test: it cannot call ``asyncio.run``.
    """
    # Not for all tests at once: its loop would keep every other test in this process from having one.
    with visiting(chromium_address) as visitors:
        yield visitors
