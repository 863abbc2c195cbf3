"""The pages, asked as a browser without JavaScript asks, over a real registry."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from lading.errors import RegistryUnavailable
from lading.release import Plan
from support.hub_rows import alarm, loaded, replica

CANARY = Plan(mode="canary", steps=(5, 25, 100))
PAGES = ("/", "/models", "/models/iris", "/models/iris/1")
OWN_SCRIPT = r'<script src="/static/[a-z]+\.[0-9a-f]{12}\.js" defer></script>'


class Text(HTMLParser):
    """The text of a page, without what no reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0
        self.feed(page)

    def handle_starttag(self, tag, _attributes):
        self._hidden += tag in ("script", "style", "title")

    def handle_endtag(self, tag):
        self._hidden -= tag in ("script", "style", "title")

    def handle_data(self, data):
        if not self._hidden:
            self.parts.append(data)

    def __str__(self) -> str:
        return " ".join(" ".join(self.parts).split())


def text(response) -> str:
    return str(Text(response.text))


def test_an_empty_registry_says_what_to_do_next(browser):
    page = browser.get("/")
    assert page.status_code == 200
    assert "Nothing is here yet" in text(page)
    assert "lading push iris.bundle" in text(page)
    assert "lading push iris.bundle" in text(browser.get("/models"))


def test_models_without_a_server_are_not_said_to_be_well(browser, push):
    push()
    page = text(browser.get("/"))
    assert "Nothing is known to run" in page
    assert "Nothing needs anybody" not in page


@pytest.mark.slow
def test_the_first_page_says_what_needs_somebody(browser, registry, push):
    push()
    push()
    registry.release("iris:1", actor="ann")
    registry.fleet.beat(replica(1, loaded()))
    assert "Nothing needs anybody" in text(browser.get("/"))
    registry.release("iris:2", CANARY, actor="ann")
    assert "iris:2 goes live step by step: 5 % now" in text(browser.get("/"))
    assert "Nothing needs anybody" in text(browser.get("/"))
    registry.monitoring.save("monitor", {}, [], [alarm()])
    page = text(browser.get("/"))
    assert "One thing needs somebody" in page
    assert "Alarm: iris:1 · petal_width petal_width has drifted" in page


def test_the_table_of_models_links_to_what_it_names(browser, registry, push):
    push("iris")
    push("churn")
    registry.release("iris:1", actor="ann")
    page = browser.get("/models?sort=-name").text
    assert re.findall(r'href="(/models/[a-z]+)"', page) == ["/models/iris", "/models/churn"]
    assert 'href="/models/iris/1"' in page
    assert 'aria-sort="descending"' in page
    assert "1 of 2 models" in text(browser.get("/models?q=chu"))
    assert "No model has that in its name" in text(browser.get("/models?q=none"))


@pytest.mark.slow
def test_a_model_has_its_versions_its_release_and_its_history(browser, registry, push):
    for _ in range(3):
        push()
    registry.release("iris:1", actor="ann", reason="first")
    registry.tag("iris:3", "best")
    page = text(browser.get("/models/iris"))
    assert "live is iris:1" in page
    assert "by ann" in page
    assert "best" in page
    assert "released – → 1 · ann first" in page


@pytest.mark.slow
def test_a_model_of_many_versions_has_pages_of_them(browser, registry, push, monkeypatch):
    for _ in range(3):
        push(proved=False)
    monkeypatch.setattr("lading.hub.views.models.VERSIONS_A_PAGE", 2)
    monkeypatch.setattr("lading.hub.reading.VERSIONS_A_PAGE", 2)
    first = browser.get("/models/iris")
    assert re.findall(r'href="/models/iris/(\d)"', first.text) == ["3", "2"]
    assert 'href="?below=2"' in first.text
    second = browser.get("/models/iris?below=2").text
    assert re.findall(r'href="/models/iris/(\d)"', second) == ["1"]
    assert "below=" not in second


@pytest.mark.slow
def test_a_version_has_its_signature_its_proof_and_where_it_runs(browser, registry, push):
    push()
    registry.fleet.beat(replica(1, loaded(requests=12)))
    page = text(browser.get("/models/iris/1"))
    assert "X float32 batch × 4 sepal_length, sepal_width, petal_length, petal_width" in page
    assert "holds" in page
    assert "host-1 host-1.example ready 12" in page
    assert "not in traffic" in page


@pytest.mark.slow
def test_a_version_that_was_verified_nowhere_is_not_said_to_hold(browser, push):
    push(proved=False)
    page = text(browser.get("/models/iris/1"))
    assert "nothing is known of how it behaves" in page
    assert "lading verify iris:1" in page
    assert "holds" not in page


@pytest.mark.slow
def test_a_bundle_that_is_gone_from_the_store_leaves_the_rest_of_the_page(browser, registry, push):
    push()
    registry.store.delete(registry.resolve("iris:1").blob)
    page = browser.get("/models/iris/1")
    assert page.status_code == 200
    assert "The bundle cannot be read now." in text(page)
    assert "check passed" in text(page)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_a_page_and_its_json_come_from_the_same_view(browser, push, path):
    push()
    page = browser.get(path)
    link, description = re.findall(r'href="(/api/[^"]+)"', page.text)
    assert description == "/api/openapi.json"
    data = msgspec.json.decode(browser.get(link).content)
    assert set(data) == {"read_at", "stale", "data"}
    assert data["stale"] == ""
    names = {"/": "models", "/models": "rows", "/models/iris": "versions", "/models/iris/1": "proofs"}
    assert data["data"][names[path]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/models/none", 404, "model `none`: expected a model of registry"),
        ("/models/iris/7", 404, "model `iris`: expected version `7`, found version `1`"),
        ("/models/IRIS", 400, "model name: expected"),
        ("/models?sort=size", 400, "`sort`: expected one of"),
        ("/models/iris?below=x", 400, "`below`: expected a number, found `x`"),
        ("/nothing", 404, "Not Found"),
        ("/models/iris/%3Cscript%3E", 404, "Not Found"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(browser, push, path, status, sentence):
    push()
    page = browser.get(path)
    assert page.status_code == status
    assert sentence in text(page)
    data = browser.get(f"/api{path}")
    assert data.status_code == status
    assert sentence in data.json()["message"]


def test_a_defect_of_ours_is_a_page_and_a_line_of_the_log(browser, push, monkeypatch, caplog):
    push()

    def broken(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("lading.hub.pages.model_page", broken)
    page = browser.get("/models/iris")
    assert (page.status_code, "secret" in page.text) == (500, False)
    assert "internal error" in text(page)
    assert browser.get("/api/models/iris").json()["error"] == "RunFailed"
    assert caplog.text.count("ZeroDivisionError: secret") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "[::2]:80", ""]
)
def test_a_page_for_another_host_is_refused(browser, push, host):
    push()
    for path in ("/", "/api/models", "/live?page=/", "/static/hub.css"):
        answer = browser.get(path, headers={"host": host})
        assert (answer.status_code, "iris" in answer.text) == (421, False)
    assert browser.get("/", headers={"host": "[::1]:8080"}).status_code == 200


def test_every_answer_forbids_what_a_page_does_not_need(browser, push):
    push()
    for path in (*PAGES, "/nothing", "/api/home", "/static/hub.css", "/static/../app.py"):
        headers = browser.get(path).headers
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
    for path in PAGES:
        page = browser.get(path).text
        assert re.sub(OWN_SCRIPT, "", page).count("<script") == 0
        assert "style=" not in page
        assert re.findall(r'(?:src|href)="(?!/|\?|#)', page) == []  # Nothing from elsewhere.


PRINTABLE = "<script>alert(1)</script>\"'& <b>owner</b>"
HOSTILE = "<script>alert(1)</script>\"'&\u202eevil\x1b[31m\u2066" + "x" * 1000


@pytest.mark.slow
def test_hostile_text_is_text(browser, registry, push):
    push(owner=PRINTABLE, description=PRINTABLE)
    registry.release("iris:1", actor="<b>ann</b>", reason=HOSTILE)
    broken = loaded(state="failed", reason=HOSTILE)
    registry.fleet.beat(replica(1, broken, host=HOSTILE, address=HOSTILE))
    registry.monitoring.save("monitor", {}, [], [alarm(text=HOSTILE, subject=HOSTILE)])
    for path in (*PAGES, "/models?q=%3Cscript%3E%22%E2%80%AE"):
        page = browser.get(path)
        assert page.status_code == 200
        assert "<script" not in re.sub(OWN_SCRIPT, "", page.text)
        assert "<b>ann" not in page.text
        assert not {"\u202e", "\u2066", "\x1b"} & set(page.text)
    assert "<script>alert(1)</script>" in text(browser.get("/"))


def test_pages_come_in_the_language_that_was_chosen_else_in_that_of_the_browser(browser, push):
    push()
    korean = {"accept-language": "ko-KR,ko;q=0.9,en;q=0.8"}
    page = browser.get("/models", headers=korean)
    assert '<html lang="ko">' in page.text
    assert "모델 1개 중 1개" in text(page)
    assert '<html lang="en">' in browser.get("/models", headers={"accept-language": "fr, de"}).text
    chosen = browser.get("/language/ko")
    assert (chosen.status_code, chosen.headers["location"]) == (303, "/")
    assert '<html lang="ko">' in browser.get("/models").text
    assert "set-cookie" not in browser.get("/language/xx").headers


@pytest.mark.slow
def test_pages_can_be_read_while_the_catalog_is_unreachable(browser, registry, push, monkeypatch):
    push()
    before = [text(browser.get(path)) for path in PAGES]

    def away(_kind):
        raise RegistryUnavailable("catalog", expected="an answer", found="connection refused")

    with monkeypatch.context() as outage:
        outage.setattr(registry.catalog.database, "transaction", away)
        for path, earlier in zip(PAGES, before, strict=True):
            page = browser.get(path)
            assert page.status_code == 200
            assert "The registry does not answer. This is what it said" in text(page)
            assert "connection refused" in text(page)
            heading = re.compile(r"<h1>.*?</h1>", re.DOTALL)
            assert str(Text(heading.search(page.text)[0])) in earlier
        assert browser.get("/api/home").json()["stale"].endswith("found connection refused")
        # What nobody has read before is not known.
        assert browser.get("/models/iris/9").status_code == 503
    assert "does not answer" not in text(browser.get("/"))


def test_a_hub_that_never_reached_its_catalog_says_so(browser, registry, monkeypatch):
    def away(_kind):
        raise RegistryUnavailable("catalog", expected="an answer", found="connection refused")

    monkeypatch.setattr(registry.catalog.database, "transaction", away)
    page = browser.get("/")
    assert page.status_code == 503
    assert "connection refused" in text(page)
    assert browser.get("/health").status_code == 503
    assert browser.get("/api/models").status_code == 503
