"""Which versions are affected, against an oracle that walks over all versions of a package in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.trust.feeds import Affected, Event
from lading.trust.ranges import fixed_versions, judge_version

RELEASES = ["0.1", "0.9rc1", "0.9", "1.0", "1.0.post1", "1.1a1", "1.1", "1.10", "2.0", "2.0.1", "1!0.5"]
"""In their order: the oracle compares places in this list, and no versions."""


def about(*events: Event, versions=(), ecosystem="PyPI"):
    ranges = (tuple(events),) if events else ()
    return Affected(ecosystem=ecosystem, name="tables", ranges=ranges, versions=frozenset(versions))


@pytest.mark.slow
@given(
    st.sets(st.integers(0, len(RELEASES) - 1), min_size=1), st.integers(0, len(RELEASES) - 1), st.booleans()
)
def test_ranges_cover_what_a_walk_over_all_releases_covers(places, at, ends_inclusive):
    """Ends in turn: introduced, then fixed or last affected, and so on, each at another release."""
    events, inside, affected = [], False, False
    for place in sorted(places):
        if not inside:
            events.append(Event(introduced=RELEASES[place]))
            affected = affected or at >= place
        elif ends_inclusive:
            events.append(Event(last_affected=RELEASES[place]))
            affected = affected and at <= place
        else:
            events.append(Event(fixed=RELEASES[place]))
            affected = affected and at < place
        inside = not inside
        if not inside and affected:
            break  # Inside of a range that has ended: later ones cannot take it back.
    answer = judge_version(about(*events), RELEASES[at])
    assert answer == ("affected" if affected else "unaffected")


@pytest.mark.parametrize(
    ("events", "version", "answer"),
    [
        ((Event(introduced="0"),), "0.0.1", "affected"),
        ((Event(introduced="0"), Event(fixed="1.0")), "1.0rc1", "affected"),
        ((Event(introduced="0"), Event(fixed="1.0")), "1.0", "unaffected"),
        ((Event(introduced="0"), Event(fixed="1.0")), "1.0+cpu", "unaffected"),
        ((Event(introduced="0"), Event(last_affected="1.0")), "1.0+cpu", "affected"),
        ((Event(introduced="0"), Event(last_affected="1.0")), "1.0.post1", "unaffected"),
        ((Event(fixed="1.0"), Event(introduced="0")), "0.5", "affected"),  # in any order
        ((Event(introduced="0"), Event(limit="2.0")), "1.9", "affected"),
        ((Event(introduced="0"), Event(limit="2.0")), "2.0", "unaffected"),
        ((Event(introduced="0"), Event(limit="*")), "99", "affected"),
        ((Event(introduced="2.0"), Event(fixed="2.0")), "2.0", "unaffected"),  # empty
        ((Event(introduced="0"), Event(fixed="1!1.0")), "3.0", "affected"),  # an epoch
        ((Event(introduced="0"), Event(fixed="2004d")), "1.0", "unclear"),
        ((Event(introduced="0"),), "unknown", "unclear"),
    ],
)
def test_events_mean_what_the_schema_says(events, version, answer):
    assert judge_version(about(*events), version) == answer


def test_a_listed_version_is_affected_by_any_of_its_spellings():
    assert judge_version(about(versions=["1.0.0-rc1"]), "1.0.0rc1") == "affected"
    assert judge_version(about(versions=["2004d"]), "2004d") == "affected"
    assert judge_version(about(versions=["1.0"]), "1.1") == "unaffected"


def test_debian_is_compared_by_dpkg():
    affected = about(Event(introduced="0"), Event(fixed="3.0.11-1~deb12u2"), ecosystem="Debian:12")
    assert judge_version(affected, "3.0.11-1~deb12u1") == "affected"
    assert judge_version(affected, "3.0.11-1") == "unaffected"


def test_the_nearest_later_fix_comes_first():
    affected = about(Event(introduced="0"), Event(fixed="1.5"), Event(introduced="2.0"), Event(fixed="2.10"))
    assert fixed_versions(affected, "1.0") == ("1.5", "2.10")
    assert fixed_versions(affected, "2.2") == ("2.10",)
