from __future__ import annotations

from xml.etree import ElementTree

import pytest

from lading.monitor.report.markup import Markup, escaped, fitted, name_element, picture, tag


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "\" onload='x'", "&amp;", "]]>", "-->", "\x00\x07\ud800\ufffe"]
)
def test_any_text_is_shown_and_never_markup(text):
    element = ElementTree.fromstring(tag("p", text, title=text))
    assert len(element) == 0
    assert element.text is not None
    assert element.text == element.get("title")
    if text.isprintable():
        assert element.text == text


def test_invisible_characters_that_reorder_a_line_are_shown_as_what_they_are():
    assert escaped("abc\u202ecba") == "abc\\u202ecba"
    assert escaped("\u200b\x1b[31m") == "\\u200b\\x1b[31m"


def test_emoji_and_arabic_are_shown_as_they_are():
    assert escaped("👩\u200d🔬 العمر") == "👩\u200d🔬 العمر"


def test_only_markup_is_not_escaped_again():
    assert tag("p", tag("b", "<")) == "<p><b>&lt;</b></p>"
    assert tag("p", Markup("<hr/>"), "<hr/>") == "<p><hr/>&lt;hr/&gt;</p>"


def test_an_attribute_of_no_value_is_left_out():
    assert tag("rect", class_="live", x=1.04, y=None, aria_hidden="true") == (
        '<rect class="live" x="1" aria-hidden="true"/>'
    )


def test_a_long_name_is_cut_off_and_says_how_long_it_is():
    assert name_element("x" * 10_000, 20) == (
        f'<bdi class="name" translate="no">{"x" * 19}…</bdi><span class="muted"> (10,000 characters)</span>'
    )


def test_what_is_fitted_keeps_both_ends_because_names_differ_at_their_ends():
    assert fitted("category number 12", 13) == "catego…ber 12"
    assert fitted("short", 13) == "short"
    assert fitted("東京都千代田区", 9) == "東京…田区"


def test_a_picture_has_a_title_and_a_description_for_those_who_do_not_see_it():
    image = ElementTree.fromstring(picture(10, 20, "Title", "What it shows.", id="a", body=Markup("")))
    assert image.get("role") == "img"
    texts = {child.get("id"): child.text for child in image}
    labels = str(image.get("aria-labelledby")).split()
    assert [texts[label] for label in labels] == ["Title", "What it shows."]
