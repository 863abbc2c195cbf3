"""Windows and feedback in SQL: sent twice, pruned by age, read in order."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text

from lading.registry import Registry
from lading.registry.records import Removed
from lading.release import EventDraft, Plan
from lading.traffic import Feedback
from support.release_processes import window

CANARY = Plan(mode="canary", steps=(5, 25, 100))
DAY_S = 86400.0


@pytest.fixture
def registry(three_versions) -> Registry:
    return three_versions


def test_windows_are_read_oldest_first_and_count_once_if_sent_twice(registry):
    windows = [window(at=3.0), window(at=1.0), window(at=2.0, version=1), window(release=2)]
    registry.traffic.add_windows(windows)
    registry.traffic.add_windows([*windows[:2], window(at=4.0)])
    registry.traffic.add_windows([])
    stored = registry.traffic.windows("iris", 1)
    assert [window.at for window in stored] == [1.0, 2.0, 3.0, 4.0]
    assert stored[0] == windows[1]
    assert [window.at for window in registry.traffic.windows("iris", 1, since=3.0)] == [3.0, 4.0]
    assert registry.traffic.windows("wine", 1) == []


def test_windows_are_pruned_by_age_but_not_those_of_an_open_release(registry, catalog):
    now = time.time()
    registry.releases.begin("iris", 1, actor="ann")
    release = registry.releases.begin("iris", 2, CANARY, actor="ann")
    old = [window(release=number, at=now - 2 * DAY_S) for number in (1, 2)]
    registry.traffic.add_windows([*old, window(release=1, at=now)])
    assert [removed.name for removed in catalog.traffic.prune(DAY_S, dry_run=True, feedback_kept_s=300)] == [
        "1 windows"
    ]
    assert [removed.name for removed in catalog.traffic.prune(DAY_S, dry_run=False, feedback_kept_s=300)] == [
        "1 windows"
    ]
    assert catalog.traffic.prune(DAY_S, dry_run=False, feedback_kept_s=300) == []
    assert registry.traffic.windows("iris", 2) == [old[1]]
    registry.releases.change(release, state="live", event=EventDraft(kind="promoted", actor="ann"))
    assert catalog.traffic.prune(-1.0, dry_run=False, feedback_kept_s=300) == [
        Removed("old windows", "2 windows", 0)
    ]


@pytest.fixture
def aged(catalog):
    """Make all feedback older by some seconds."""

    def age(seconds: float) -> None:
        with catalog.database.transaction("write") as connection:
            connection.execute(text(f"UPDATE feedback SET at = at - {seconds}"))

    return age


def of(request: str, labels: int = 1) -> Feedback:
    return Feedback("iris", request, ("setosa",) * labels)


def test_feedback_that_nobody_has_read_for_five_minutes_is_dropped(registry, aged):
    mark, _ = registry.traffic.feedback(None)
    registry.traffic.add_feedback([of("old")])
    aged(301)
    assert registry.traffic.add_feedback([of("young")]) == 1
    assert registry.traffic.feedback(mark)[1] == [of("young")]


def test_how_long_feedback_is_kept_is_a_setting(registry, aged, monkeypatch):
    monkeypatch.setenv("LADING_FEEDBACK_KEPT_S", "30")
    mark, _ = registry.traffic.feedback(None)
    registry.traffic.add_feedback([of("old")])
    aged(31)
    registry.traffic.add_feedback([of("young")])
    assert registry.traffic.feedback(mark)[1] == [of("young")]


def test_feedback_that_nobody_took_is_pruned_without_new_feedback(registry, aged):
    registry.traffic.add_feedback([of("a"), of("b")])
    assert registry.traffic.prune(dry_run=False) == []
    aged(301)
    assert registry.traffic.prune(dry_run=True) == [Removed("old feedback", "2 rows", 0)]
    assert registry.traffic.prune(dry_run=False) == [Removed("old feedback", "2 rows", 0)]
    assert registry.traffic.prune(dry_run=False) == []


@pytest.mark.slow
def test_a_catalog_holds_so_much_feedback_and_no_more(registry, aged):
    mark, _ = registry.traffic.feedback(None)
    large = [of(f"r-{number}", labels=6000) for number in range(400)]  # 54 kB each
    taken = registry.traffic.add_feedback(large)
    assert 250 < taken < 350
    assert registry.traffic.add_feedback(large) == 0
    read = registry.traffic.feedback(mark)[1]
    assert read == large[:taken], "what had room came first"
    aged(301)
    assert registry.traffic.add_feedback(large[:10]) == 10, "room is made by what nobody took"
