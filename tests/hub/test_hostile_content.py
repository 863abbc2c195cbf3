"""Whatever models, servers and people write into a registry is text on every page, and pages stay pages.

The pages are those of the application's routes, so that a new one is asked as well; what elements they may
have is what the same pages have over a registry of plain words.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from lading.hub.app import make_app
from lading.hub.follower import Follower
from lading.registry import Registry
from support.browsing import NARROW
from support.hostile_registry import REPLICA, fill
from support.hub_server import hub_over

pytestmark = pytest.mark.slow

ACTIVE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>`</style></textarea>"
    "<!--{{1337*1337}}{%raw%}${1337*1337}"
)
INVISIBLE = "\u202eevil\u2066\u200f\u200b\ufeff\x1b[31m\x1b]0;title\x07\r\nset-cookie: a=b\x85\u2028"
TEXTS = {
    "active": ACTIVE,
    "invisible": INVISIBLE,
    "null": f"before\0after{ACTIVE}",
    "formula": f'=HYPERLINK("http://evil.example"){ACTIVE}',
    "address": "javascript:alert(1)//../../language/ko?a=b#c%2f..%2f",
    "elsewhere": "//evil.example/\\evil.example",
    "long": ACTIVE + "x" * 100_000,
    "wide": "ﷺ" * 50_000,
}
PLAIN = ("plain words", "w" * 100, "w" * 100_000)

MOST_BYTES = 400_000
HARMLESS = "\n\u200d\u00a0"
"""The end of a line, and what `escaped` leaves as it is."""

VALUES = {"name": "iris", "version": "1", "id": REPLICA, "language": "ko", "form": "json", "file": "icon.svg"}
QUERIES = (
    *("q", "sort", "page", "since", "model", "kind", "actor", "state", "standing", "pattern", "models"),
    *("below", "before", "table"),
)
ADDRESSES = ("href", "src", "action", "formaction")


class Shape(NamedTuple):
    """Which elements with which attributes a page has, which classes, and where it leads."""

    elements: frozenset[tuple[str, tuple[str, ...]]]
    classes: frozenset[str]
    addresses: frozenset[str]
    text: str


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: set[tuple[str, tuple[str, ...]]] = set()
        self.classes: set[str] = set()
        self.addresses: set[str] = set()
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add((tag, tuple(sorted(name for name, _ in attrs))))
        for name, value in attrs:
            if name == "class":
                self.classes |= set((value or "").split())
            if name in ADDRESSES:
                self.addresses.add(value or "")

    def handle_comment(self, data: str) -> None:
        self.elements.add(("a comment", (data[:20],)))

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def shape_of(html: str) -> Shape:
    parser = _Parser()
    parser.feed(html)
    text = " ".join("".join(parser.parts).split())
    return Shape(frozenset(parser.elements), frozenset(parser.classes), frozenset(parser.addresses), text)


def paths(app: Starlette) -> list[str]:
    """Return the path of every route that can be looked at, its parameters filled in."""
    routes = [route for route in app.routes if isinstance(route, Route) and "GET" in (route.methods or ())]
    # A parameter without a value above is one that this test has to learn.
    return [re.sub(r"\{(\w+)(?::\w+)?\}", lambda match: VALUES[match[1]], route.path) for route in routes]


class Visitor:
    """Asks a hub over a registry full of one text."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=60)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Return an answer, checked for what every answer has; a stream is left after its first part."""
        # The language that an address chooses is for its own answer.
        self._client.cookies.clear()
        with self._client.stream("GET", path, headers=headers) as answer:
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'"), path
            assert "unsafe" not in policy, path
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert "set-cookie" not in answer.headers or "language" in answer.headers["set-cookie"], path
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                for _ in answer.iter_raw():
                    break
            else:
                answer.read()
        assert answer.status_code < 500, f"{path}: {answer.text[:500]}"
        return answer

    def close(self) -> None:
        self._client.close()


@contextlib.contextmanager
def visiting(folder: Path, text: str, catalog: str = "") -> Iterator[Visitor]:
    """Yield a visitor of a hub over a registry full of `text`; `catalog` is the URL of a database."""
    store = str(folder / "blobs") if catalog else None
    with Registry.open(catalog or str(folder / "registry"), store=store) as registry:
        fill(registry, folder, text)
        with hub_over(registry) as hub:
            visitor = Visitor(hub.url)
            try:
                yield visitor
            finally:
                visitor.close()


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory) -> list[str]:
    """Return every path that can be looked at."""
    with Registry.open(str(tmp_path_factory.mktemp("routes"))) as registry:
        every = paths(make_app(registry, Follower(registry)))
    assert len(every) > 25
    return every


def most_of(names: Iterable[str], *always: str) -> list[Any]:
    """Return the texts of a test: those that are `always` tried, and the rest where there is time for it."""
    # A registry is filled with each, and every page of it read.
    return [name if name in always else pytest.param(name, marks=pytest.mark.wide) for name in names]


def asked(everywhere: list[str], text: str) -> list[str]:
    """Return every path, plain and with each parameter being `text`, and paths that `text` is a part of."""
    # A server refuses lines of more than 64 kB before anything of ours reads them.
    part = quote(text[:300], safe="")
    pages = [path for path in everywhere if not path.startswith("/api") and len(text) < 1000]
    queries = [f"{path}?{name}={part}" for path in pages for name in QUERIES]
    within = [path.replace("iris", part).replace(REPLICA, part) for path in everywhere]
    return [*everywhere, *queries, *within, f"/api/home?q={part}", f"/{part}"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory, everywhere) -> Shape:
    """Return what all pages over registries of plain words have, short ones and long ones."""
    shapes = []
    for text in PLAIN:
        with visiting(tmp_path_factory.mktemp("plain"), text) as visitor:
            for path in asked(everywhere, text):
                shapes += shapes_at(visitor, path)
            for link in links_of(visitor, everywhere):
                shapes += shapes_at(visitor, link)
    return Shape(
        frozenset().union(*(shape.elements for shape in shapes)),
        frozenset().union(*(shape.classes for shape in shapes)),
        frozenset(),
        "",
    )


def shapes_at(visitor: Visitor, path: str) -> list[Shape]:
    # In Korean as well, where a sentence that is English says so.
    answers = [visitor.get(path, **{"accept-language": language}) for language in ("en", "ko")]
    return [shape_of(answer.text) for answer in answers if is_page(answer)]


def links_of(visitor: Visitor, everywhere: list[str]) -> list[str]:
    """Return where the pages lead on the hub itself."""
    shapes = [shape for path in everywhere for shape in shapes_at(visitor, path)]
    links = {link for shape in shapes for link in shape.addresses}
    return sorted(link for link in links if link.startswith("/") and len(link) < 10_000)


def is_page(answer: httpx.Response) -> bool:
    return answer.headers.get("content-type", "").startswith("text/html")


def check_page(path: str, answer: httpx.Response, plain: Shape) -> Shape:
    """Check that a page has nothing that pages of plain words do not have, and shows what is invisible."""
    page = answer.text
    shape = shape_of(page)
    assert shape.elements <= plain.elements, (path, shape.elements - plain.elements)
    assert shape.classes <= plain.classes, (path, shape.classes - plain.classes)
    assert [each for each in shape.addresses if not re.match(r"/(?![/\\])|\?|#", each)] == [], path
    assert {char for char in page if not char.isprintable() and char not in HARMLESS} == set(), path
    assert len(answer.content) < MOST_BYTES, (path, len(answer.content))
    return shape


@pytest.mark.parametrize("name", most_of(TEXTS, "active", "invisible", "long"))
def test_hostile_text_is_text_on_every_page(tmp_path, everywhere, plain, name):
    text = TEXTS[name]
    visible = shape_of(f"<p>{visible_of(text[:40])}</p>").text
    with_it = 0
    with visiting(tmp_path, text) as visitor:
        for path in asked(everywhere, text):
            for language in ("en", "ko") if path in everywhere else ("en",):
                answer = visitor.get(path, **{"accept-language": language})
                if is_page(answer):
                    shape = check_page(path, answer, plain)
                    assert "1787569" not in shape.text, path  # The product, if a template has computed it.
                    with_it += path in everywhere and visible in shape.text
                elif answer.headers.get("content-type", "").startswith("application/json"):
                    msgspec.json.decode(answer.content)
        for link in links_of(visitor, everywhere):
            answer = visitor.get(link)
            if is_page(answer):
                check_page(link, answer, plain)
    # On all pages that have free texts, in both languages: none was left out instead.
    assert with_it >= 2 * 11


def visible_of(text: str) -> str:
    from lading.monitor.report.markup import escaped

    return escaped(text)


@pytest.mark.parametrize("name", most_of(["null", "active", "invisible"], "null"))
def test_no_address_is_too_much_for_a_database(tmp_path, everywhere, postgres, name):
    # PostgreSQL stores no null bytes: what an address asks for may be none of its texts.
    stored = TEXTS[name].replace("\0", "")
    with visiting(tmp_path, stored, postgres.database()) as visitor:
        for path in asked(everywhere, TEXTS[name]):
            visitor.get(path)


@pytest.mark.parametrize("name", most_of(["active", "invisible", "wide", "long"], "active", "wide"))
def test_nothing_of_it_runs_loads_or_widens_a_page_in_a_browser(tmp_path, everywhere, people, name):
    with visiting(tmp_path, TEXTS[name]) as visitor:
        pages = [path for path in everywhere if is_page(answer := visitor.get(path)) and answer.is_success]
        assert len(pages) >= 11
        window = people.visit(visitor.url, width=NARROW)
        dialogs: list[str] = []
        window.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        for path in pages:
            window.goto(f"{visitor.url}{path}")
            # Wide tables scroll in their own place; the page itself never does.
            assert window.evaluate("document.documentElement.scrollWidth") <= NARROW, path
            assert window.evaluate("document.querySelectorAll('img, iframe, object, embed').length") == 0, (
                path
            )
        assert dialogs == []


@pytest.mark.parametrize("name", most_of(["formula", "invisible", "null"], "formula"))
def test_no_cell_of_a_csv_file_is_a_formula(tmp_path, everywhere, name):
    files = [path for path in everywhere if path.endswith(".csv")]
    files += [f"/api/models/iris/monitoring.csv?table={table}" for table in ("cells", "drift", "checks")]
    files.append("/api/history/iris.csv")
    with visiting(tmp_path, TEXTS[name]) as visitor:
        for path in files:
            answer = visitor.get(path)
            assert answer.headers["content-disposition"].startswith("attachment; filename="), path
            for row in csv.reader(io.StringIO(answer.text)):
                for cell in row:
                    assert is_number(cell) or not cell.lstrip().startswith(tuple("=+-@\t\r\n")), (path, cell)


def is_number(cell: str) -> bool:
    return re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", cell) is not None
