"""Times of feeds, and what several feeds cover together."""

from __future__ import annotations

import datetime

import pytest

from lading.errors import FeedInvalid
from lading.trust.feeds import Feeds, FeedState, iso_moment, newest


def test_a_time_without_a_zone_is_utc():
    assert iso_moment("2026-11-30T01:02:03.123", "feed").tzinfo is datetime.UTC
    assert iso_moment("2026-11-30T17:00:13+09:00", "feed").utcoffset() == datetime.timedelta(hours=9)
    with pytest.raises(FeedInvalid, match=r"feed: expected a time \(ISO 8601\), found `yesterday`"):
        iso_moment("yesterday", "feed")


def test_the_newest_time_is_that_of_the_moment_and_not_of_the_text():
    # As texts, the first one is the greater one.
    assert newest(["2026-12-01T01:00:00+09:00", "2026-11-30T20:00:00Z"], "feed") == "2026-11-30T20:00:00Z"
    assert newest([], "feed") == ""


def test_ends_of_life_cover_no_ecosystem_of_vulnerabilities():
    ends = FeedState(kind="end-of-life", name="a", date="", covers=("numpy",))
    osv = FeedState(kind="osv", name="b", date="", covers=("PyPI", "Debian:12"))
    assert Feeds(states=(ends, osv)).ecosystems == {"PyPI", "Debian:12"}
