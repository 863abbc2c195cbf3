"""NVD's lists: a rating for every CVE, and versions only of Python and of packages for it."""

from __future__ import annotations

import copy
import json

import pytest

from lading.errors import FeedInvalid
from lading.trust.feeds import Event
from lading.trust.feeds.nvd import read_list
from support.feeds import NVD


def read(content):
    return read_list(json.dumps(content).encode(), "feed")


def test_every_cve_is_rated_and_only_what_is_of_python_is_an_advisory():
    content = read(NVD)
    assert content.date == "2026-11-30T01:02:03.123"
    assert {cve: rating.score for cve, rating in content.ratings.items()} == {
        "CVE-2020-1747": 9.8,
        "CVE-2024-0450": 6.2,
    }
    (advisory,) = content.advisories
    assert advisory.id == "CVE-2024-0450"
    assert [(each.ecosystem, each.name) for each in advisory.affected] == [
        ("generic", "python"),
        ("PyPI", "tables"),
    ]
    python, tables = (each.ranges for each in advisory.affected)
    assert python == ((Event(introduced="3.11.0"), Event(fixed="3.11.8")),)
    assert tables == ((Event(introduced="0"), Event(last_affected="2.0")),)


def test_a_rejected_cve_is_left_out():
    content = copy.deepcopy(NVD)
    content["vulnerabilities"][0]["cve"]["vulnStatus"] = "Rejected"
    assert set(read(content).ratings) == {"CVE-2024-0450"}


def test_the_newest_cvss_that_somebody_has_scored_counts():
    content = copy.deepcopy(NVD)
    newer = [{"cvssData": {"baseScore": 3.1}}, {"cvssData": {"baseScore": 5.0}}]
    content["vulnerabilities"][0]["cve"]["metrics"]["cvssMetricV40"] = newer
    rating = read(content).ratings["CVE-2020-1747"]
    assert (rating.severity, rating.score) == ("medium", 5.0)


def test_a_cve_twice_in_a_list_is_refused():
    with pytest.raises(FeedInvalid, match="expected each CVE once, found `CVE-2020-1747` twice"):
        read({**NVD, "vulnerabilities": NVD["vulnerabilities"][:1] * 2})
