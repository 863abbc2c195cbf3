"""JVN's RSS: Japanese numbers and ratings of CVEs, and no entities of XML."""

from __future__ import annotations

import pytest

from lading.errors import FeedInvalid
from lading.trust.feeds.jvn import read_rss
from support.feeds import JVN

REFERENCE = '<sec:references source="CVE" id="CVE-2020-14343">'


def test_an_entry_gives_its_cve_another_name_and_the_score_of_version_3():
    content = read_rss(JVN.encode(), "feed")
    assert (content.date, content.entries) == ("2026-11-30T17:00:13+09:00", 1)
    (rating,) = content.ratings.values()
    assert set(content.ratings) == {"CVE-2020-14343"}
    # CVSS 2 has 10.0 for it, which is on another scale.
    assert (rating.severity, rating.score, rating.names) == ("critical", 9.8, {"JVNDB-2021-003622"})


def test_an_entry_about_several_cves_names_and_rates_none_of_them():
    several = JVN.replace(REFERENCE, f'<sec:references source="CVE" id="CVE-2"/>{REFERENCE}')
    ratings = read_rss(several.encode(), "feed").ratings
    assert set(ratings) == {"CVE-2", "CVE-2020-14343"}
    assert {(each.severity, each.score, each.names) for each in ratings.values()} == {
        ("unknown", None, frozenset())
    }


def test_the_namespace_of_another_version_is_read_as_well():
    newer = JVN.replace("http://jvn.jp/rss/mod_sec/", "http://jvn.jp/rss/mod_sec/3.0/")
    assert read_rss(newer.encode(), "feed") == read_rss(JVN.encode(), "feed")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (JVN.replace("<sec:identifier>JVNDB-", "<sec:identifier>"), "expected entries with their `JVNDB-…`"),
        (JVN.replace('score="9.8"', 'score="high"'), "expected a number as a score, found `high`"),
        ("<feed/>", "expected the RSS of MyJVN, found `feed`"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "expected XML without a DTD"),
    ],
)
def test_what_is_no_list_of_jvn_is_refused(text, words):
    with pytest.raises(FeedInvalid, match=words):
        read_rss(text.encode(), "feed")
