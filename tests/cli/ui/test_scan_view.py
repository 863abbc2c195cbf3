"""A scan in words: what was not checked is never called free of vulnerabilities."""

from __future__ import annotations

import msgspec

from lading.cli.ui.scan_view import finding_row, report_scan, sentence
from lading.trust.components import Subject
from lading.trust.scan import Finding, Scan, Unchecked

NUMPY = Finding(id="a", names=("CVE-1", "GHSA-1"), ecosystem="PyPI", component="numpy", version="2.0.0")
NO_FEED = Scan(
    subject=Subject(kind="bundle", name="iris", version="3"),
    scanned_at="2026-11-30T12:00:00Z",
    feeds=(),
    components=2,
    checked=0,
    findings=(),
    ends=(),
    not_checked=(),
)


def test_without_a_feed_a_scan_has_checked_nothing():
    assert sentence(NO_FEED) == "`iris:3`: not checked: no feed"


def test_a_finding_that_no_feed_rates_has_no_score_and_names_its_part():
    row = finding_row(msgspec.structs.replace(NUMPY, part="training"))
    assert row == ("unknown", "numpy 2.0.0 (training)", "CVE-1, GHSA-1", "", "")
    assert finding_row(msgspec.structs.replace(NUMPY, severity="high", score=8.6))[0] == "high 8.6"


def test_a_long_list_of_what_was_not_checked_says_how_many_more(capsys):
    many = Unchecked(reason="no version", components=tuple(f"c{number}" for number in range(15)))
    report_scan(msgspec.structs.replace(NO_FEED, not_checked=(many,)))
    output = capsys.readouterr()
    assert output.out.startswith("not checked: no version: c0, c1,")
    assert output.out.endswith("c11 and 3 more\n")
    assert output.err == "`iris:3`: not checked: no feed\n"
