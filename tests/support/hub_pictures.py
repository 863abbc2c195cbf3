"""Pictures of all pages of the hub over the scene, small enough for a repository."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from lading.hub.access import Access
from support.browsing import NARROW, WIDE, People
from support.hub_jobs import DONE
from support.hub_person import KEY
from support.hub_runs import FINISHED
from support.hub_scene import scene
from support.hub_server import hub_over, signed_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "hub"
STAMP = FOLDER / "taken-of.txt"
MOST_BYTES, MOST_BYTES_ALL = 60_000, 1_200_000
PAGES: Mapping[str, tuple[str, str]] = {
    "home": ("/", "What needs somebody, the most urgent first"),
    "models": ("/models", "Every model, with its live version and its release"),
    "model": ("/models/churn", "One model: its versions, its release and its last events"),
    "version": ("/models/credit-default/3", "One version: signature, proof and where it runs"),
    "release": ("/models/churn/release", "A canary under way, both sides in numbers"),
    "act": ("/models/churn/release/promote", "What somebody is about to do, with the reason asked"),
    "begin": ("/models/credit-default/4/release", "How a version is to go live"),
    "sign-in": ("/sign-in", "Who signs in"),
    "monitoring": (
        "/models/credit-default/monitoring?since=7d",
        "Live traffic beside the training data: applicants have grown older",
    ),
    "logs": ("/log", "The models of the prediction log"),
    "log": ("/log/credit-default", "What a model was asked, what it answered, and what was true"),
    "alarms": ("/alarms", "Alarms, and the alerts that people were sent"),
    "runs": ("/runs", "Runs over data sets, and how they ended"),
    "run": (f"/runs/{FINISHED}", "One run: what was set aside and why, and which columns have drifted"),
    "jobs": ("/jobs", "Inference jobs, and which of them wait"),
    "job": (f"/jobs/{DONE}", "One job: how long it waited, who answered, and its webhook"),
    "inventory": ("/inventory", "Every server and what it runs"),
    "vulnerabilities": ("/vulnerabilities", "What is known against what runs, by which feeds of which day"),
    "replica": ("/inventory/models-3", "One server, which could not load a version"),
    "history": ("/history", "What happened to the releases of all models"),
    "model-history": ("/history/churn", "The history of one model, checked as a whole"),
}
"""The name of each picture, the address of its page, and what it displays."""

_WAYS = {"1440": (WIDE, False), "1440-dark": (WIDE, True), "390": (NARROW, False), "390-dark": (NARROW, True)}
_TALLEST = {WIDE: 1050, NARROW: 900}
# A picture is as wide as it is read: half a desk's window, and a phone's.
_QUALITY = 34
_WIDTHS = {WIDE: 760, NARROW: 330}


# Where the registry and its log are differs each time.
_SAME_PLACE = """
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const place = document.querySelector('.where .name').textContent;
while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(place, '/srv/models');
"""


def taken(people: People, folder: Path, ways: Sequence[str] = tuple(_WAYS)) -> Iterator[tuple[str, bytes]]:
    """Take pictures; yield the name of each file and its bytes, the first page in Korean last."""
    with scene(folder) as (registry, clock), hub_over(registry, Access(KEY), clock=clock) as hub:
        for width, dark, way in ((*_WAYS[way], way) for way in ways):
            page = signed_in(people, hub.url, width=width, dark=dark)
            for name, (address, _) in PAGES.items():
                page.goto(hub.url + address)
                yield f"{name}-{way}.webp", _picture(page, width)
            page.close()  # Before the hub ends: an open page would miss its live updates.
        page = signed_in(people, hub.url, language="ko")
        yield "home-1440-ko.webp", _picture(page, WIDE)
        page.close()


def _picture(page: Page, width: int) -> bytes:
    page.evaluate(_SAME_PLACE)
    height = min(page.evaluate("document.documentElement.scrollHeight"), _TALLEST[width])
    clip = {"x": 0, "y": 0, "width": width, "height": height}
    image = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip, animations="disabled")))
    image = image.convert("RGB")
    image = image.resize((_WIDTHS[width], round(height * _WIDTHS[width] / width)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "webp", quality=_QUALITY, method=6)
    return out.getvalue()


def taken_of() -> str:
    """Return the digest of what decides how pages look: templates, styles and translations."""
    hub = ROOT / "src" / "lading" / "hub"
    files = [*hub.glob("templates/*"), *hub.glob("static/*.*"), *hub.glob("languages/*")]
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(f"{file.relative_to(hub).as_posix()} {_digest(file)}\n".encode())
    return whole.hexdigest()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def page_text() -> str:
    """Return docs/hub-pages.md."""
    parts = [
        "# The hub in pictures",
        "Every page of [the hub](guides/hub.md) over an example registry, wide and narrow, light and dark.",
        "`python scripts/hub_pictures.py` takes them.",
    ]
    for name, (address, text) in PAGES.items():
        parts += [
            f"## {text}",
            f"`{address}`",
            f"![{text}, light](hub/{name}-1440.webp)",
            f"![{text}, dark](hub/{name}-1440-dark.webp)",
            f"![{text}, phone](hub/{name}-390.webp) ![{text}, phone, dark](hub/{name}-390-dark.webp)",
        ]
    return "\n\n".join(parts) + "\n"
