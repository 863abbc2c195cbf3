"""No page in Korean has a word of English that is not code, a name, or what somebody else has said.

What counts as a word is strict: each in Latin letters, one alone too, also in titles of charts, labels for
screen readers and hints of fields. What may stay is listed here: names of the field (`KEPT`), names that the
scene gives its models and columns, and, where a page marks them, words of people and of other libraries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from lading.errors import RegistryUnavailable
from lading.hub.access import Access
from lading.hub.drawing import Drawing
from lading.hub.export import export
from lading.hub.views.monitoring import MonitoringState, monitoring_page
from lading.hub.words import LANGUAGES, phrases
from lading.registry import Registry
from support.browsing import NARROW
from support.hostile_registry import fill
from support.hub_person import KEY
from support.hub_routes import SCENE, empty, examples
from support.hub_scene import _DESCRIPTIONS, COLUMNS, LABELS, scene
from support.hub_server import hub_over, signed_in
from support.hub_troubles import FOREIGN, OF_PEOPLE, add_troubles
from support.model_statuses import UNTIL, credit_status
from support.page_words import PageText, texts_of, words_of

pytestmark = pytest.mark.slow

KEPT = frozenset(
    {
        *(
            "lading",
            "ONNX",
            "Runtime",
            "Python",
            "DuckDB",
            "Open",
            "Inference",
            "Protocol",
            "gRPC",
            "API",
            "ID",
        ),
        *("JSON", "CSV", "SQL", "SHA", "UTF", "UTC", "PSI", "IR", "dtype", "tar", "zip", "pickle"),
        *("uv", "pip", "wheel", "rtol", "atol", "ms", "kB", "MB", "GB", "SIGSEGV"),
    }
)
"""Names and units that engineers in Korea write in Latin letters."""

IDENTIFIERS = frozenset({"confidence of probabilities", "live", "candidate", "accuracy", "missing"})
"""What is ours and no text: a derived column, tags (`churn:live`), a metric of bundles, a kind of rules."""

TROUBLED = (
    *(
        "/models/parcel-delay/1",
        "/models/fraud-screen/release",
        "/models/fraud-screen",
        "/history/fraud-screen",
    ),
    *("/history/credit-default", "/models/credit-default/release", "/log/churn?since=all&side=shadow"),
    *("/inventory/busy-1", "/inventory/left-1", "/inventory/http%3A%2F%2F10.0.0.7%3A8501"),
    *(f"/inventory/troubled-{number}" for number in range(9)),
    *(f"/runs/failed-{number}" for number in range(6)),
    *("/runs/set-aside", "/history", "/alarms?state=ended", "/runs?state=failed"),
)
REFUSED = (
    *("/nowhere", "/models/nobody", "/models/UPPER", "/models/churn/9", "/models/churn?below=x"),
    *("/models?page=0", "/models?sort=colour", "/models/churn/3?row=x", "/models/churn/3?row=99"),
    *(
        "/models/churn/3?x0=warm",
        "/models/churn/monitoring?since=2y",
        "/history?kind=party",
        "/history?below=x",
    ),
    *("/alarms?before=x", "/runs?before=x", "/runs?state=odd", "/runs/nothing", "/inventory/nobody"),
    *("/log/churn?since=x", "/log/churn?column=x", "/log/churn?before=x", "/log/churn?version=x"),
    *("/log/churn?outcome=odd", "/log/nosuch", "/models/parcel-delay/release"),
)


def names() -> frozenset[str]:
    """Return the words that the scene has made names of: models, columns, classes, machines."""
    texts = [*COLUMNS, *(each for columns in COLUMNS.values() for each in columns)]
    texts += [label for labels in LABELS.values() for label in labels]
    return frozenset(word for text in texts for word in re.findall("[A-Za-z]+", text)) | {
        *("probabilities", "confidence", "of"),  # An output, and its derived column.
        *("models", "srv", "region", "north", "range"),
    }


def problems(texts: Iterable[PageText], allowed: frozenset[str], foreign: Sequence[str]) -> Iterator[str]:
    """Iterate over what a page has in English without right."""
    advisories = [f"What a fault of {name} lets a caller do" for name in ("uvicorn", "numpy")]
    of_people = (*OF_PEOPLE, *_DESCRIPTIONS.values(), *IDENTIFIERS, *advisories)
    ours = {key for language in LANGUAGES if language != "en" for key in _keys(language)}
    for element, mark, text in texts:
        words = [word for word in words_of(text) if word not in KEPT and word not in allowed]
        if mark == "" and words:
            yield f"<{element}> {text}"
        elif mark == "en" and text not in ("English", *foreign):
            yield f"<{element} lang=en> {text}"
        # A text of ours does not become data by a mark, and neither does any other sentence.
        elif mark == "data" and words and text not in of_people and (text in ours or len(words) > 2):
            yield f"<{element} translate=no> {text}"


def _keys(language: str) -> Iterator[str]:
    from lading.hub import words

    text = (Path(words.__file__).parent / "languages" / f"{language}.json").read_text("utf-8")
    yield from (key for key in json.loads(text) if "{" not in key)
    yield from (key for key in phrases(language) if "{" not in key)


def walked(
    page, url: str, addresses: Iterable[str], allowed: frozenset[str], foreign: Sequence[str] = FOREIGN
) -> dict[str, str]:
    """Return the problems of some pages, each with the first page that has it."""
    english: dict[str, str] = {}
    for address in addresses:
        page.goto(url + address)
        assert page.locator("html").get_attribute("lang") == "ko"
        for problem in problems(texts_of(page), allowed, foreign):
            english.setdefault(problem, address)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > page.viewport_size["width"]:
            english.setdefault(f"{width} pixels wide", address)
    return english


def test_no_page_over_the_scene_has_a_word_of_english(people, tmp_path):
    people.expect_problem("4(00|03|04|09)")
    with scene(tmp_path) as (registry, clock):
        add_troubles(registry, clock, tmp_path)
        with hub_over(registry, Access(KEY), clock=clock) as hub:
            page = people.visit(hub.url, language="ko", width=NARROW)
            english = walked(page, hub.url, [*examples(hub.app), *TROUBLED, *REFUSED], names())
            page = signed_in(people, hub.url, language="ko", width=NARROW)
            forms = [address for address in examples(hub.app) if "/release" in address or "/sign" in address]
            english |= walked(page, hub.url, forms, names())
            # What a form is answered with if somebody was quicker.
            page.goto(f"{hub.url}/models/churn/release/pause")
            registry.releases.abort("churn", actor="driver", reason=OF_PEOPLE[0])
            page.fill("#reason", OF_PEOPLE[0])
            page.click("main button")
            english |= dict.fromkeys(problems(texts_of(page), names(), ()), "a form that was too late")
    assert english == {}, "\n".join(f"{where}: {text}" for text, where in english.items())


def test_no_page_of_an_export_has_a_word_of_english(people, tmp_path):
    out = tmp_path / "out"
    with scene(tmp_path) as (registry, clock):
        add_troubles(registry, clock, tmp_path)
        # In a thread of its own: the browser's loop runs in this one.
        with ThreadPoolExecutor(1) as threads:
            threads.submit(export, registry, out, ("churn",), language="ko").result()
    files = [f"/{path.relative_to(out).as_posix()}" for path in sorted(out.rglob("*.html"))]
    assert len(files) > 10
    page = people.visit(f"file://{out}/index.html", language="ko", width=NARROW)
    english = walked(page, f"file://{out}", [quote(file) for file in files], names())
    assert english == {}, "\n".join(f"{where}: {text}" for text, where in english.items())


def test_no_page_of_a_registry_with_korean_data_has_a_word_of_english(people, tmp_path):
    # Where all free texts are Korean, every word in Latin letters is ours.
    people.expect_problem("40[04]")
    registry = Registry.open(str(tmp_path / "registry"))
    with registry:
        fill(registry, tmp_path, "가나다 라마")
        with hub_over(registry) as hub:
            page = people.visit(hub.url, language="ko")
            routes = [address for group in SCENE.values() for address in group]
            addresses = [re.sub("churn|credit-default", "iris", address) for address in routes]
            addresses = list(dict.fromkeys(re.sub("models-[134]", "host-1", each) for each in addresses))
            # What fills the registry says so itself, as no monitor does.
            alarm = "`가나다 라마` has drifted: 가나다 라마"
            english = walked(page, hub.url, [*addresses, "/runs/host-1"], frozenset({"iris"}), [alarm])
    assert english == {}, "\n".join(f"{where}: {text}" for text, where in english.items())


def test_no_page_of_an_empty_registry_has_a_word_of_english(people, tmp_path, monkeypatch):
    people.expect_problem("404|503")

    def away(_kind):
        raise RegistryUnavailable(
            "catalog of registry `models`", expected="an answer", found="connection refused"
        )

    with Registry.open(str(tmp_path / "models")) as registry, hub_over(registry) as hub:
        page = people.visit(hub.url, language="ko")
        english = walked(page, hub.url, empty(hub.app), names())
        # The catalog does not answer any more: pages say so, and some cannot be made.
        monkeypatch.setattr(registry.catalog.database, "transaction", away)
        hub.read()
        english |= walked(page, hub.url, empty(hub.app), names())
        monkeypatch.undo()
    assert english == {}, "\n".join(f"{where}: {text}" for text, where in english.items())


@pytest.mark.parametrize("drifted", [False, True])
def test_charts_of_all_kinds_have_no_word_of_english(people, tmp_path, drifted):
    status = credit_status(drifted=drifted)
    view = monitoring_page(status, MonitoringState.of_query({"since": "1d"}))
    assets = dict.fromkeys(("hub.css", "icon.svg"), "data:,")
    html = Drawing("models", lambda: UNTIL, assets).draw(
        "monitoring.html", "ko", view=view, path="/models/credit/monitoring", read_at=UNTIL, failure=""
    )
    with Registry.open(str(tmp_path / "models")) as registry, hub_over(registry) as hub:
        page = people.visit(hub.url, language="ko")
        page.goto("about:blank")
        page.set_content(html)
        texts = list(texts_of(page))
    own = {
        word
        for column in status.columns
        for text in (column.name, *column.cells[2:])
        for word in words_of(text)
    }
    slices = {word for metric in status.metrics for word in words_of(metric.slice)}
    english = list(problems(texts, frozenset(own | slices | {"credit"}), ()))
    assert english == [], "\n".join(english)
