"""The page as a whole, read by a strict parser and shown by a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from lading.monitor.report import MOST_CARDS, report_html
from lading.monitor.status import CheckCount
from support.chromium import measured, needs_chromium, printed
from support.model_statuses import UNTIL, alarm, column, credit_status, small_status

NASTY = (
    "<script>alert(1)</script>",
    "\"quo'tes&amp;",
    "العمر",
    "👩\u200d🔬",
    "\u202eevil",
    "x" * 10_000,
    "`",
    "\x00",
)


def page_of(status, *, now=UNTIL):
    return report_html(status, now=now, generated_by="lading 0.1.0")


def parsed(status, **options):
    """Return the page as a tree; a page that is not well-formed is refused."""
    return ElementTree.fromstring(page_of(status, **options).removeprefix("<!DOCTYPE html>\n"))


def text_of(tree):
    return re.sub(r"\s+", " ", "".join(tree.itertext()))


def cards(tree, prefix):
    return [
        element for element in tree.iter("article") if str(element.get("id", "")).startswith(f"{prefix}-")
    ]


def card_names(tree, prefix):
    return ["".join(card.find("h3").find("bdi").itertext()) for card in cards(tree, prefix)]


def nasty_status():
    columns = [column(name, is_alarming=True, began_at=UNTIL - 9000, change=name) for name in NASTY]
    categories = column(
        "category",
        kind="category",
        bounds=(),
        cells=("missing", "unseen", *NASTY),
        reference=(1,) * 10,
        live=(2,) * 10,
    )
    alarms = tuple(alarm("drift", name, name, acknowledged_by=name) for name in NASTY)
    checks = tuple(CheckCount(column=name, rule=name, failures=1) for name in NASTY)
    return small_status(
        *columns, categories, alarms=alarms, checks=checks, unknown=NASTY, owner=NASTY[0], name=NASTY[1]
    )


STATUSES = {
    "drifted": credit_status,
    "calm": lambda: credit_status(drifted=False),
    "small": small_status,
    "nasty": nasty_status,
}


@pytest.mark.parametrize("name", ["drifted", "calm", "small", "nasty"])
def test_the_page_is_well_formed_and_its_ids_are_unique_and_its_links_lead_somewhere(name):
    tree = parsed(STATUSES[name]())
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    targets = [element.get("href") for element in tree.iter("a")]
    assert targets
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    for element in tree.iter():
        assert set(str(element.get("aria-labelledby", "")).split()) <= set(ids)


def test_the_page_loads_nothing_and_runs_nothing():
    page = page_of(nasty_status())
    tree = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    assert not {"script", "img", "link", "iframe", "object", "base"} & {
        element.tag for element in tree.iter()
    }
    attributes = {name for element in tree.iter() for name in element.attrib}
    assert not [name for name in attributes if name.startswith("on") or name in ("src", "style")]
    assert all(element.get("href").startswith("#") for element in tree.iter("a"))
    assert "url(" not in page
    assert "default-src 'none'" in page.replace("&#x27;", "'")


def test_a_hostile_name_is_shown_and_is_not_markup():
    tree = parsed(nasty_status())
    names = card_names(tree, "inputs")
    assert {
        "<script>alert(1)</script>",
        "\"quo'tes&amp;",
        "العمر",
        "👩\u200d🔬",
        "\\u202eevil",
        "\\x00",
    } <= set(names)
    longest = next(name for name in names if name.startswith("xxx"))
    assert len(longest) == 80
    assert len(page_of(nasty_status())) < 150_000


def test_the_page_is_utf_8_whatever_a_name_holds():
    page_of(small_status(column("\ud800"))).encode("utf-8")


def test_the_verdict_comes_before_everything_else():
    tree = parsed(credit_status())
    header = text_of(tree.find("body").find("main").find("header"))
    assert (
        "7 of 16 columns have drifted since 2026-11-29 15:10 UTC (release 7). age changed first:"
        in re.sub(r"\)\.", "). ", header).replace("  ", " ")
    )
    assert tree.find("head").find("title").text == (
        "credit:4 · 7 of 16 columns have drifted since 2026-11-29 15:10 UTC (release 7)."
    )


def test_a_name_in_the_verdict_leads_to_its_card():
    tree = parsed(credit_status())
    header = tree.find("body").find("main").find("header")
    link = next(element for element in header.iter("a") if "".join(element.itertext()) == "age")
    card = next(
        card for card in cards(tree, "inputs") if card.get("id") == link.get("href").removeprefix("#")
    )
    assert "".join(card.find("h3").find("bdi").itertext()) == "age"


def test_a_category_that_is_called_like_a_column_does_not_lead_to_it():
    status = small_status(
        column("a", is_alarming=True, began_at=UNTIL - 60, change="category `b`: 1 % -> 9 %"),
        column("b", is_alarming=True, began_at=UNTIL),
    )
    links = [
        "".join(link.itertext()) for link in parsed(status).find("body").find("main").find("header").iter("a")
    ]
    assert links == ["a"]


def test_the_head_says_what_is_compared_with_what_and_how_rarely_it_alarms_falsely():
    text = text_of(parsed(credit_status()))
    assert "reference data of 12,000 rows" in text
    assert "21,600 of 64,800 rows, 2 replicas" in text
    assert "sha256:7d5f3c1a9be2" in text
    assert "at most 1 %, however often somebody looks" in text
    assert "golden samples of the bundle, 8 rows: a weak reference" in text_of(
        parsed(small_status(reference="golden samples", reference_rows=8))
    )


def test_a_column_with_no_rows_says_nothing_known_and_has_no_chart():
    tree = parsed(credit_status())
    assert "branch" not in card_names(tree, "inputs")
    row = next(element for element in tree.iter("tr") if text_of(element).startswith("branch"))
    assert "nothing known" in text_of(row)
    assert "no alarm" not in text_of(row)
    assert "nothing is known, of branch" in text_of(tree)


def test_what_alarms_comes_first_and_outputs_are_apart_from_inputs():
    tree = parsed(credit_status())
    assert card_names(tree, "inputs")[:2] == ["purpose", "external_score"]
    assert set(card_names(tree, "outputs")) == {
        "probabilities[repaid]",
        "probabilities[defaulted]",
        "label",
        "confidence of probabilities",
    }
    assert not set(card_names(tree, "outputs")) & set(card_names(tree, "inputs"))


def test_of_a_thousand_columns_sixty_are_shown_in_full_and_the_page_stays_small():
    outputs = [column(f"y{at}", is_output=True) for at in range(100)]
    status = small_status(*(column(f"x{at}", psi=at / 1000) for at in range(1000)), *outputs)
    page = page_of(status)
    tree = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    assert len(cards(tree, "inputs")) + len(cards(tree, "outputs")) == MOST_CARDS
    assert len(cards(tree, "outputs")) == 20
    assert card_names(tree, "inputs")[0] == "x999"
    assert "960 more, in short" in text_of(tree)
    assert "80 more, in short" in text_of(tree)
    assert len(page) < 1_500_000


def test_every_chart_has_a_title_a_description_and_its_numbers_as_a_table():
    tree = parsed(credit_status())
    for card in tree.iter("article"):
        for image in card.findall("svg"):
            assert image.get("role") == "img"
            assert image.find("title").text
            assert image.find("desc").text
        assert card.find("details").find("table") is not None


def test_a_page_without_metrics_checks_and_alarms_has_no_empty_section():
    tree = parsed(small_status())
    assert [element.get("id") for element in tree.iter("section")] == ["inputs", "reading"]
    assert "Nothing alarms." in text_of(tree)


def test_a_model_of_which_nothing_was_counted_says_so():
    unknown = ("no server answered for the model",)
    none = {"columns": (), "reference": "", "reference_rows": 0, "rows": 0, "seen": 0, "replicas": ()}
    text = text_of(parsed(small_status(**none, version=0, digest="", unknown=unknown)))
    assert "Nothing is known of this period: no live rows were counted." in text
    assert "No server answered for the model." in text
    assert "profile" not in text
    assert "iris:0" not in text
    assert "Nothing alarms" not in text


def test_a_period_that_ended_long_before_the_page_was_made_is_pointed_out():
    assert "The period ended 3 h before." in text_of(parsed(small_status(), now=UNTIL + 3 * 3600))
    assert "The period ended" not in text_of(parsed(small_status(), now=UNTIL + 60))


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("name", ["drifted", "nasty"])
def test_no_window_scrolls_sideways(name, width, tmp_path):
    result = measured(page_of(STATUSES[name]()), width, tmp_path)
    assert result["wide"] == []
    assert result["scrollWidth"] <= width
    assert result["scripts"] == 0


@needs_chromium
@pytest.mark.slow
def test_paper_has_every_card_and_no_controls(tmp_path):
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext: `apt-get install poppler-utils`")
    page = tmp_path / "page.html"
    page.write_text(page_of(credit_status()), "utf-8")
    command = ["pdftotext", "-layout", str(printed(page, tmp_path)), "-"]
    text = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    names = [name for prefix in ("inputs", "outputs") for name in card_names(parsed(credit_status()), prefix)]
    assert not [name for name in names if name not in text]
    assert "Counts" not in text
