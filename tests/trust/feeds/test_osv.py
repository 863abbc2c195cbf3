"""Entries of OSV: their names, their rating, and which versions they are about."""

from __future__ import annotations

import json

import pytest

from lading.errors import FeedInvalid
from lading.trust.feeds.osv import read_entry
from support.feeds import osv

EVERYTHING = {"introduced": "0"}


def entry(*arguments, **more):
    advisory, _ = read_entry(json.dumps(osv(*arguments, **more)).encode(), "feed")
    return advisory


def test_the_highest_vector_rates_and_a_word_only_where_no_vector_does():
    vectors = [
        {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
        {"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"},
    ]
    word = {"severity": "LOW"}
    rated = entry("A", "tables", EVERYTHING, severity=vectors, database_specific=word)
    assert (rated.severity, rated.score) == ("critical", 9.8)
    by_word = entry("A", "tables", EVERYTHING, database_specific=word)
    assert (by_word.severity, by_word.score) == ("low", None)


def test_one_upstream_is_another_name_and_several_are_none():
    assert entry("DEBIAN-1", "x", EVERYTHING, upstream=["CVE-1"], aliases=["A"]).aliases == {"CVE-1", "A"}
    assert entry("DSA-1", "x", EVERYTHING, upstream=["CVE-1", "CVE-2"]).aliases == frozenset()


def test_names_of_python_are_normal_ones_and_those_of_others_as_they_are():
    assert entry("A", "Big.Tables_x", EVERYTHING).affected[0].name == "big-tables-x"
    assert entry("A", "Big.Tables", EVERYTHING, ecosystem="Debian:12").affected[0].name == "Big.Tables"


def test_ranges_of_commits_and_what_names_no_package_say_nothing_of_versions():
    commits = {"type": "GIT", "repo": "https://example.com/x", "events": [EVERYTHING]}
    values = osv("A", "tables", versions=("1.0",))
    values["affected"][0]["ranges"] = [commits]
    values["affected"].append({"ranges": [commits]})
    advisory, is_withdrawn = read_entry(json.dumps(values).encode(), "feed")
    (affected,) = advisory.affected
    assert (affected.ranges, affected.versions, is_withdrawn) == ((), {"1.0"}, False)


def test_the_summary_is_the_first_line_and_not_longer_than_a_line():
    assert entry("A", "x", EVERYTHING, details="first\nsecond").summary == "first"
    assert len(entry("A", "x", EVERYTHING, summary="x" * 10_000).summary) == 200


def test_a_withdrawn_entry_is_read_as_one():
    values = osv("A", "x", EVERYTHING, withdrawn="2026-01-01T00:00:00Z")
    assert read_entry(json.dumps(values).encode(), "feed")[1] is True


def test_an_id_of_any_length_is_refused():
    with pytest.raises(FeedInvalid, match="expected an entry of OSV with an `id`"):
        entry("A" * 201, "x", EVERYTHING)
