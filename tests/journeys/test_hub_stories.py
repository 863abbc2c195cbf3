"""Two people at the hub, in a real Chromium, over PostgreSQL and two servers under load, without a manual.

They click what pages display, and type the commands that pages give them; nothing else.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lading.monitor.alert_rules import AlertRules
from lading.monitor.alerting import Alerting
from lading.monitor.driver import MonitorDriver
from lading.registry import Registry
from lading.release import verify_chain
from support.hub_process import running_hub
from support.prometheus_servers import Webhook, webhook
from support.server_process import ServerProcess, serving
from support.shell import Shell
from support.steady_load import SteadyLoad
from support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEY = "the-key-of-a-team-that-lends-money"
WAIT_MS = 90_000
COLUMNS = ("age", "income", "debt_ratio", "months_at_address")
ALERTS = """
hub = "{hub}"

[[alert]]
name = "credit is asked something else"
when = ["drift", "input-checks"]
model = "credit"
severity = "page"
route = "risk"

[route.risk]
webhook = "{hook}"
"""
# The curve of uPlot, or that of the server where npm was not asked for it.
_EVIDENCE = "#evidence-max_error_increase-card :is(.plot, svg:not([data-own-hidden]))"
_CHANGED = """before => [...document.querySelectorAll('tr')]
  .some(row => row.cells[0].textContent === 'Requests' && [...row.cells].at(-1).textContent !== before)"""
TRAIN = """
import sys
import lading
import numpy as np
import pandas
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

draw = np.random.default_rng(1)
rows = draw.normal((41, 3.2, 0.3, 60), (13, 0.9, 0.1, 30), (4000, 4)).astype(np.float32)
data = pandas.DataFrame(rows, columns=["age", "income", "debt_ratio", "months_at_address"])
repaid = np.where(rows[:, 1] - 4 * rows[:, 2] + draw.normal(0, 1, 4000) > 1.5, "repaid", "defaulted")
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, repaid)
lading.pack(
    model,
    samples=data[:200],
    reference=data,
    name="credit",
    owner="risk@bank.example",
    purpose="classification",
    description=sys.argv[2],
    metrics={"accuracy": float(model.score(data, repaid))},
    to=sys.argv[1],
)
"""


@dataclass
class Applicants:
    """Rows as callers send them; `older` makes them older, as a mistake in a form might."""

    older: float = 0.0

    def __post_init__(self) -> None:
        self._draw = np.random.default_rng(5)

    def __call__(self) -> Any:
        rows = self._draw.normal((41 + self.older, 3.2, 0.3, 60), (13, 0.9, 0.1, 30), (5, 4))
        return rows.astype(np.float32).tolist()


@dataclass
class Bank:
    """What the two people have before them; ``hook`` takes the alerts that are sent to them."""

    hub: str
    shell: Shell
    servers: list[ServerProcess]
    registry: Registry
    callers: Applicants
    hook: Webhook

    def loaded(self) -> SteadyLoad:
        """Return callers of both servers."""
        return SteadyLoad([server.url for server in self.servers], "/models/credit/predict", self.callers)


@dataclass(frozen=True)
class Desk(Shell):
    """A shell whose registry is a database, and its store a folder."""

    url: str

    @property
    def environ(self) -> dict[str, str]:
        folder = self.folder
        paths = {"LADING_STORE": str(folder / "store"), "LADING_LOG": str(folder / "log")}
        return {**super().environ, **paths, "LADING_REGISTRY": self.url, "LADING_HUB_KEY": KEY}


@pytest.fixture
def bank(postgres, tmp_path) -> Iterator[Bank]:
    desk = Desk(tmp_path, postgres.database())
    desk.write("train.py", TRAIN)
    flags = ("--grpc-port", "0", "--log-predictions", "1")
    with contextlib.ExitStack() as stack:
        hook = stack.enter_context(webhook())
        registry = stack.enter_context(Registry.open(desk.url, store=str(tmp_path / "store")))
        registry.models()
        hub = stack.enter_context(running_hub(desk.environ, tmp_path / "hub.log"))
        # Before the servers, each of which would test columns as well: by the minute, as is usual.
        stack.enter_context(monitored(registry, ALERTS.format(hub=hub, hook=hook.url)))
        servers = [
            stack.enter_context(serving(flags=flags, environ=desk.environ, ready=False)) for _ in range(2)
        ]
        yield Bank(hub, desk, servers, registry, Applicants(), hook)
        for server in servers:
            assert server.stop() == 0, server.log


@contextlib.contextmanager
def monitored(registry: Registry, rules: str) -> Iterator[None]:
    """Have the monitor test what servers have counted, every few seconds and not by the minute."""
    alerting = Alerting(registry, AlertRules.parse(rules))
    driver = MonitorDriver(
        registry, "monitor of the bank", slot_s=5.0, grace_s=2.0, interval_s=1.0, alerting=alerting
    )
    # The lease is its own before a server asks for it.
    driver.turn()
    stop = threading.Event()
    thread = threading.Thread(target=driver.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def see(page: Page, what: Locator) -> Locator:
    """Wait until a page displays something, by itself."""
    try:
        what.first.wait_for(timeout=WAIT_MS)
    except Exception as error:
        raise AssertionError(f"{page.url}:\n{page.inner_text('body')}") from error
    return what.first


def command_on(page: Page) -> str:
    """Return the first command that a page gives to copy."""
    return page.locator("main pre code").first.inner_text()


def sign_in(page: Page, name: str) -> None:
    page.get_by_role("link", name=re.compile("^Sign in")).last.click()
    page.get_by_label("Your name").fill(name)
    page.get_by_label("The key of this hub").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    see(page, page.get_by_role("button", name="Sign out"))


def release_first(page: Page, bank: Bank) -> None:
    """Do what the page of a version says: verify it where it runs, then release it."""
    see(page, page.get_by_text("It was verified nowhere"))
    bank.shell.must(page.locator("main pre code", has_text="lading verify").first.inner_text())
    refresh_until(page, page.get_by_text("holds", exact=True))
    page.get_by_role("link", name=re.compile("^Release")).first.click()
    sign_in(page, "mina")
    assert page.get_by_label("How it goes live").input_value() == "live"
    page.get_by_label("Reason").fill("the first release")
    page.get_by_role("button", name="Release credit:1").click()
    see(page, page.locator(".lead .state.live"))
    for server in bank.servers:
        server.wait_ready()


def refresh_until(page: Page, what: Locator) -> Locator:
    """Load a page again until it displays something, as one does who has typed a command beside it."""

    def loaded() -> bool:
        page.reload()
        return what.count() > 0

    wait_until(loaded, WAIT_MS / 1000, lambda: page.inner_text("main"))
    return what.first


def test_an_engineer_takes_a_model_from_a_notebook_to_live(people, bank):
    page = people.visit(bank.hub)
    # The registry is empty, and the page says what to do about it.
    assert page.get_by_role("heading", level=1).inner_text() == "Nothing is here yet"
    assert command_on(page) == "lading push iris.bundle"
    bank.shell.must("python train.py credit.bundle 'The first of its kind.'")
    bank.shell.must(command_on(page).replace("iris", "credit"))
    refresh_until(page, page.locator("dl.counts"))
    page.get_by_role("link", name="Models", exact=True).click()
    page.get_by_role("link", name="credit", exact=True).click()
    page.get_by_role("link", name="1", exact=True).click()
    assert page.get_by_role("heading", level=1).inner_text() == "credit:1"
    assert "The first of its kind." in page.inner_text("main")
    assert "months_at_address" in page.inner_text("main")
    release_first(page, bank)

    with bank.loaded() as load:
        bank.shell.must("python train.py again.bundle 'The same, trained again.'")
        bank.shell.must("lading push again.bundle && lading verify credit:2")
        page.goto(bank.hub)
        page.get_by_role("link", name="Models", exact=True).click()
        page.get_by_role("link", name="credit", exact=True).click()
        see(page, page.get_by_role("link", name="2", exact=True)).click()
        page.get_by_role("link", name=re.compile("^Release")).first.click()
        page.get_by_label("How it goes live").select_option("canary")
        page.get_by_label("Steps of a canary").fill("25, 100")
        page.get_by_label("Each step lasts").fill("3s")
        page.get_by_label("Reason").fill("trained again")
        page.get_by_role("button", name="Release credit:2").click()
        see(page, page.get_by_text("under way"))
        # The engineer watches, and touches nothing until the numbers are good enough for them: the page is
        # not loaded again, and its numbers grow by themselves.
        page.evaluate("window.isTheSamePage = true")
        requests = page.locator("tr", has_text="Requests").first.locator("td").last
        see(page, requests)
        before = requests.inner_text()
        page.wait_for_function(_CHANGED, arg=before, timeout=WAIT_MS)
        assert int(requests.inner_text().replace(",", "")) > int(before.replace(",", ""))
        see(page, page.locator(_EVIDENCE))
        see(page, page.locator(".reasons .fine", has_text="errors"))
        see(page, page.locator(".reasons .fine", has_text="agreement"))
        assert page.evaluate("window.isTheSamePage")
        for _ in ("100 %", "live"):
            page.get_by_role("link", name="Promote").click()
            page.get_by_label("Reason").fill("it answers as the one before")
            page.get_by_role("button", name="Promote").click()
        see(page, page.locator(".lead .state.live"))
        load.wait_for("credit:2", WAIT_MS / 1000)
    assert load.broken == []
    assert bank.registry.releases.current("credit").live == 2
    assert verify_chain(bank.registry.releases.events()) is None


def test_an_operator_finds_out_what_an_alarm_is_about_and_rolls_back(people, bank):
    shell, registry = bank.shell, bank.registry
    for version in (1, 2):
        shell.must(f"python train.py {version}.bundle 'Number {version}.'")
        shell.must(f"lading push {version}.bundle && lading verify credit:{version}")
        shell.must(f"lading release credit:{version}")
    for server in bank.servers:
        server.wait_ready()
    with bank.loaded() as load:
        bank.callers.older = 100.0
        load.wait_for("credit:2", WAIT_MS / 1000)
        # Somebody is called, by what the monitor has found in what servers have counted.
        wait_until(lambda: bank.hook.bodies, WAIT_MS / 1000, lambda: f"{registry.monitoring.alarms()}")
        alert = bank.hook.bodies[0]
        assert (alert["status"], alert["model"], alert["version"]) == ("firing", "credit", 2)
        page = people.visit(alert["text"].split()[-1])
        assert page.url == f"{bank.hub.rstrip('/')}/models/credit/monitoring"
        see(page, page.locator(".verdict.bad-news", has_text="age"))
        assert "of the rows fail this input check" in alert["finding"]
        assert "of the rows fail this input check" in page.inner_text("main")

        # The log has the requests themselves.
        page.get_by_role("link", name="Logged predictions").click()
        see(page, page.locator("main table"))
        assert "credit:2" in page.inner_text("main")
        # The first page says it as well, to those who were not called.
        page.get_by_role("link", name="lading", exact=True).click()
        see(page, page.locator(".concerns .alarm", has_text="age")).get_by_role(
            "link", name="credit:2"
        ).click()
        # Nobody is as old as that: until it is known why, the version before is to answer.
        page.get_by_role("link", name="Models", exact=True).click()
        page.get_by_role("link", name="credit", exact=True).click()
        page.get_by_role("link", name=re.compile("^Release")).first.click()
        sign_in(page, "jonas")
        page.get_by_role("link", name="Roll back").click()
        page.get_by_label("Reason").fill("ages are a hundred years too high since it went live")
        page.get_by_role("button", name="Roll back").click()
        see(page, page.get_by_text("live is credit:1").or_(page.locator(".lead .state.live")))
        load.wait_for("credit:1", WAIT_MS / 1000)

        page.get_by_role("link", name="History", exact=True).click()
        # Servers that have loaded the version before have written since.
        last = see(page, page.locator("main tbody tr", has_text="jonas")).inner_text()
        assert "rolled back" in last
        assert "ages are a hundred years too high since it went live" in last
    assert load.broken == []
    assert registry.releases.current("credit").live == 1
    assert verify_chain(registry.releases.events()) is None
