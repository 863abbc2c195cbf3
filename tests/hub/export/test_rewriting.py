"""Pages that open from a disk: links, forms, scripts and ages."""

from __future__ import annotations

import pytest

from lading.hub.export.rewriting import links_of, rewritten


def page(body: str) -> str:
    return rewritten(body, {"/models": "models.html", "/language/ko": ""}.get, "<p>kept</p>")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<a href="/models" rel="next">x</a>', '<a href="models.html">x</a>'),
        ('<a class="state" href="/gone?a=1&amp;b=2">x</a>', '<span class="state">x</span>'),
        ('<a href="javascript:alert(1)">x</a>', "<span>x</span>"),
        ('a <a href="/language/ko">x <b>y</b></a> b', "a  b"),
        ('<a href="#content">x</a>', '<a href="#content">x</a>'),
        ("<form><form></form><input>x</form>y", "y"),
        ('<script src="/static/a.js">x</script>y', "y"),
        ("&lt;b&gt; &#39; &amp;amp;", "&lt;b&gt; &#39; &amp;amp;"),
        ('<time datetime="2026-11-30T10:00:00Z" title="t">5 min ago</time>.',
         '<time datetime="2026-11-30T10:00:00Z" title="t">2026-11-30T10:00:00Z</time>.'),
        ('<svg viewBox="0 0 1 1"><rect x="0"/></svg>', '<svg viewBox="0 0 1 1"><rect x="0"/></svg>'),
        ("<!doctype html><!-- x --><p>", "<!doctype html><p>"),
        ("<footer></footer>", "<footer>\n<p>kept</p></footer>"),
    ],
)  # fmt: skip
def test_what_works_from_a_disk_stays_and_the_rest_is_text_or_left_out(before, after):
    assert page(before) == after


def test_a_kept_page_forbids_scripts_and_connections():
    assert "script-src 'none'" in page("<head></head>").replace("&#x27;", "'")


def test_links_of_forms_are_none():
    assert links_of('<link href="/a"><form><a href="/b">x</a></form><a href="/c?d=1&amp;e=2">x</a>') == [
        "/a",
        "/c?d=1&e=2",
    ]
