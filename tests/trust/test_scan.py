"""Components against feeds: what is named is named, once, and what was not checked is said."""

from __future__ import annotations

import datetime

import pytest

from lading.errors import FeedStale
from lading.trust.components import Component, Subject
from lading.trust.feeds import Feeds
from lading.trust.scan import above, check_ages, scan
from support.feeds import JVN, NOW, NVD, osv, published, pypi, read, write

SUBJECT = Subject(kind="bundle", name="iris", version="3", digest="sha256:" + "a" * 64)


def scanned(folder, *components):
    return scan(SUBJECT, components, read(folder, *components), NOW)


def by_component(result):
    return {(each.component, each.id): each for each in result.findings}


def test_published_vulnerabilities_are_named_and_no_others(tmp_path):
    result = scanned(
        published(tmp_path),
        pypi("jinja2", "2.10"),
        pypi("pyyaml", "5.1"),
        pypi("numpy", "1.16.0"),
        pypi("msgspec", "0.19.0"),
    )
    assert set(by_component(result)) == {
        ("jinja2", "CVE-2019-10906"),
        ("pyyaml", "CVE-2020-1747"),
        ("pyyaml", "CVE-2020-14343"),
        ("numpy", "CVE-2021-41496"),
    }
    assert result.checked == result.components == 4
    assert scanned(tmp_path, pypi("jinja2", "3.1.6"), pypi("numpy", "2.4.0")).findings == ()


def test_one_vulnerability_in_two_databases_is_one_finding_with_all_its_names(tmp_path):
    (finding,) = scanned(published(tmp_path), pypi("jinja2", "2.10")).findings
    assert finding.names == ("CVE-2019-10906", "GHSA-462w-v97r-4m45", "PYSEC-2019-217")
    assert (finding.severity, finding.score) == ("high", 8.6)
    assert finding.fixed_in == ("2.10.1",)


def test_aliases_are_followed_from_one_entry_to_the_next(tmp_path):
    everything = {"introduced": "0"}
    write(tmp_path, "a.json", osv("PYSEC-1", "tables", everything, aliases=["GHSA-1"]))
    write(tmp_path, "b.json", osv("GHSA-2", "tables", everything, aliases=["CVE-9"]))
    write(tmp_path, "c.json", osv("OSV-3", "tables", everything, aliases=["GHSA-1", "CVE-9"]))
    (finding,) = scanned(tmp_path, pypi("tables", "1")).findings
    assert finding.names == ("CVE-9", "GHSA-1", "GHSA-2", "PYSEC-1", "OSV-3")


def test_names_are_compared_as_package_indexes_do(tmp_path):
    write(tmp_path, "a.json", osv("PYSEC-1", "Big.Tables_x", {"introduced": "0"}))
    assert len(scanned(tmp_path, pypi("big-tables-x", "1")).findings) == 1


def test_nvd_and_jvn_rate_what_pypi_does_not_and_add_their_names(tmp_path):
    published(tmp_path)
    write(tmp_path, "nvd/recent.json", NVD)
    (tmp_path / "jvndb.rdf").write_text(JVN)
    findings = by_component(scanned(tmp_path, pypi("pyyaml", "5.1")))
    assert findings["pyyaml", "CVE-2020-1747"].severity == "critical"
    assert "JVNDB-2021-003622" in findings["pyyaml", "CVE-2020-14343"].names
    assert findings["pyyaml", "CVE-2020-14343"].score == 9.8


def test_nvd_knows_the_interpreter_by_its_full_version_only(tmp_path):
    write(tmp_path, "nvd.json", NVD)
    python = Component(ecosystem="generic", name="python", version="3.11.7")
    (finding,) = scanned(tmp_path, python).findings
    assert (finding.id, finding.severity) == ("CVE-2024-0450", "medium")
    minor = Component(ecosystem="generic", name="python", version="3.11")
    result = scanned(tmp_path, minor, pypi("tables", "2.0"))
    assert [each.component for each in result.findings] == []
    assert "only its minor version is stated" in [each.reason for each in result.not_checked]


def test_debian_is_asked_about_by_its_source_package_and_release(tmp_path):
    fixed = ({"introduced": "0"}, {"fixed": "3.0.11-1~deb12u2"})
    entry = osv("DEBIAN-CVE-2023-5363", "openssl", *fixed, ecosystem="Debian:12", upstream=["CVE-2023-5363"])
    write(tmp_path, "a.json", entry)
    library = Component(
        ecosystem="Debian:12",
        name="libssl3",
        version="3.0.11-1~deb12u1",
        source="openssl",
        source_version="3.0.11-1~deb12u1",
    )
    (finding,) = scanned(tmp_path, library).findings
    assert (finding.id, finding.component) == ("CVE-2023-5363", "openssl")
    newer = Component(ecosystem="Debian:13", name="libssl3", version="3.0.1", source="openssl")
    result = scanned(tmp_path, newer)
    assert result.findings == ()
    assert result.not_checked[0].reason == "no feed covers Debian:13"


def test_an_update_of_debian_for_many_vulnerabilities_is_no_alias_of_each(tmp_path):
    fixed = ({"introduced": "0"}, {"fixed": "2"})
    debian = {"ecosystem": "Debian:12"}
    write(tmp_path, "a.json", osv("DSA-5-1", "tables", *fixed, upstream=["CVE-1", "CVE-2"], **debian))
    write(tmp_path, "b.json", osv("DEBIAN-CVE-1", "tables", *fixed, upstream=["CVE-1"], **debian))
    component = Component(ecosystem="Debian:12", name="tables", version="1", source="tables")
    assert [each.names for each in scanned(tmp_path, component).findings] == [
        ("CVE-1", "DEBIAN-CVE-1"),
        ("DSA-5-1",),
    ]


def test_the_word_of_a_database_rates_where_no_vector_does(tmp_path):
    everything = {"introduced": "0"}
    write(tmp_path, "a.json", osv("A-1", "tables", everything, database_specific={"severity": "MODERATE"}))
    bad = [{"type": "CVSS_V3", "score": "no vector"}]
    write(tmp_path, "b.json", osv("B-1", "tables", everything, severity=bad))
    assert [each.severity for each in scanned(tmp_path, pypi("tables", "1")).findings] == [
        "unknown",
        "medium",
    ]


def test_a_withdrawn_entry_says_nothing(tmp_path):
    entry = osv("PYSEC-1", "tables", {"introduced": "0"}, withdrawn="2026-01-01T00:00:00Z")
    write(tmp_path, "a.json", entry)
    result = scanned(tmp_path, pypi("tables", "1"))
    assert (result.findings, result.checked) == ((), 1)


def test_of_an_entry_in_two_feeds_the_newer_one_counts(tmp_path):
    write(
        tmp_path, "old/a.json", osv("PYSEC-1", "tables", {"introduced": "0"}, modified="2026-01-01T00:00:00Z")
    )
    fixed = ({"introduced": "0"}, {"fixed": "1.0"})
    write(tmp_path, "zz/a.json", osv("PYSEC-1", "tables", *fixed, modified="2026-02-01T00:00:00Z"))
    assert scanned(tmp_path, pypi("tables", "1.0")).findings == ()
    assert len(scanned(tmp_path, pypi("tables", "0.9")).findings) == 1


def test_without_a_feed_nothing_is_said_to_be_free_of_vulnerabilities(tmp_path):
    result = scan(SUBJECT, (pypi("jinja2", "2.10"),), Feeds(), NOW)
    assert not result.was_checked
    assert [(each.reason, each.components) for each in result.not_checked] == [("no feed", ("jinja2 2.10",))]


def test_what_no_feed_can_be_asked_about_is_listed(tmp_path):
    everything = ({"introduced": "0"}, {"fixed": "2004d"})
    write(tmp_path, "a.json", osv("PYSEC-1", "zones", *everything))
    result = scanned(
        tmp_path,
        pypi("a", ""),
        pypi("b", "not a version"),
        pypi("zones", "1"),
        Component(ecosystem="npm", name="c", version="1"),
    )
    assert {each.reason: each.components for each in result.not_checked} == {
        "no version is stated": ("a",),
        "its version is none of PyPI": ("b not a version",),
        "`PYSEC-1` has a range that cannot be compared with its version": ("zones 1",),
        "no feed covers npm": ("c 1",),
    }


def test_a_stale_feed_is_an_error_that_names_its_day(tmp_path):
    feeds = read(published(tmp_path, fresh=""))
    with pytest.raises(FeedStale, match=r"feed `pypi`: .*newest entry of 2023-08-30, 1189 days ago"):
        check_ages(feeds.states, NOW, 14)
    check_ages(feeds.states, NOW, 1200)


def test_a_fresh_feed_does_not_hide_a_stale_one(tmp_path):
    published(tmp_path)
    write(tmp_path, "old/a.json", osv("X-1", "x", {"introduced": "0"}, modified="2026-01-01T00:00:00Z"))
    with pytest.raises(FeedStale, match="feed `old`"):
        check_ages(read(tmp_path).states, NOW, 14)


def test_a_finding_without_a_rating_is_above_a_limit(tmp_path):
    write(tmp_path, "a.json", osv("PYSEC-1", "tables", {"introduced": "0"}))
    result = scanned(tmp_path, pypi("tables", "1"))
    assert result.severity == "unknown"
    assert [each.id for each in above(result.findings, "high")] == ["PYSEC-1"]
    assert above(result.findings, "critical") == []


def test_the_time_of_a_scan_is_utc(tmp_path):
    tokyo = NOW.astimezone(datetime.timezone(datetime.timedelta(hours=9)))
    assert scan(SUBJECT, (), Feeds(), tokyo).scanned_at == "2026-12-01T12:00:00Z"
