"""Reading the windows of a release, and judging them."""

from __future__ import annotations

from lading.rollout import WindowReader, assess
from support.simulated_rollout import FAST
from support.simulated_traffic import BAD, EQUAL


def test_reading_continues_where_it_was_and_misses_no_late_window(rollout):
    release = rollout.begin(FAST)
    reader = WindowReader(rollout.registry)
    for _ in range(5):
        rollout.second(EQUAL)
    first = reader.windows(release)
    # A replica that was cut off a minute ago.
    rollout.crowd.second(release, rollout.clock.now - 60, EQUAL, EQUAL)
    rollout.crowd.second(release, rollout.clock.now, EQUAL, EQUAL)
    assert len(reader.windows(release)) == len(first) + 4
    assert reader.windows(release) == rollout.registry.traffic.windows("iris", release.number)


def test_windows_of_releases_that_are_not_kept_are_read_again(rollout):
    release = rollout.begin(FAST)
    reader = WindowReader(rollout.registry)
    rollout.second(EQUAL)
    windows = reader.windows(release)
    reader.keep([])
    assert reader.windows(release) == windows


def test_each_version_is_judged_by_its_own_windows(rollout):
    release = rollout.begin(FAST)
    reader = WindowReader(rollout.registry)
    for second in range(5):
        rollout.crowd.second(release, rollout.clock.now + second, EQUAL, BAD["failing"])
    verdict = assess(release, reader.windows(release), rollout.clock.now + 5)
    assert verdict.action == "roll_back"
    assert "errors" in verdict.reasons[0]
