"""Which version is taken out of traffic after crashes of workers that ran several."""

from __future__ import annotations

from lading.server.metrics.run_marks import Suspect
from lading.server.process.crash_count import CrashCount

LIVE, CANDIDATE = Suspect("iris", 1, "sha256:1"), Suspect("iris", 2, "sha256:2", is_candidate=True)
OTHER = Suspect("wine", 1, "sha256:3")


def test_a_version_goes_with_its_second_crash_within_a_minute():
    count = CrashCount()
    assert count.add([LIVE], 0.0) == []
    assert count.add([LIVE], 61.0) == [], "the first is too long ago"
    assert count.add([LIVE], 120.0) == [(LIVE, 2)]


def test_crashes_in_which_no_version_ran_take_nothing_out():
    count = CrashCount()
    for at in range(5):
        assert count.add([], float(at)) == []
    assert count.add([LIVE], 6.0) == []


def test_a_candidate_goes_before_live_which_ran_as_often():
    count = CrashCount()
    assert count.add([LIVE, CANDIDATE], 0.0) == []
    assert count.add([CANDIDATE, LIVE], 1.0) == [(CANDIDATE, 2)]
    # The crashes are explained: live has to crash twice by itself.
    assert count.add([LIVE], 2.0) == []
    assert count.add([LIVE], 3.0) == [(LIVE, 2)]


def test_live_does_not_go_in_a_crash_in_which_its_candidate_ran_too():
    count = CrashCount()
    count.add([LIVE], 0.0)
    assert count.add([LIVE, CANDIDATE], 1.0) == []
    assert count.add([LIVE, CANDIDATE], 2.0) == [(CANDIDATE, 2)]


def test_a_candidate_does_not_protect_the_live_version_of_another_model():
    count = CrashCount()
    count.add([OTHER], 0.0)
    assert count.add([OTHER, CANDIDATE], 1.0) == [(OTHER, 2)]


def test_the_version_that_ran_in_more_crashes_goes():
    count = CrashCount()
    count.add([LIVE, OTHER], 0.0)
    assert count.add([OTHER], 1.0) == [(OTHER, 2)]


def test_versions_that_cannot_be_distinguished_go_together_with_the_third_crash():
    count = CrashCount()
    assert count.add([LIVE, OTHER], 0.0) == []
    assert count.add([LIVE, OTHER], 1.0) == []
    assert count.add([LIVE, OTHER], 2.0) == [(LIVE, 3), (OTHER, 3)]
