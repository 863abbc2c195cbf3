"""Windows of live traffic and feedback on its way, over every catalog."""

from __future__ import annotations

import time

import pytest

from lading.registry import Registry
from lading.registry.records import Removed
from lading.traffic import Feedback, FeedbackCounts, Window
from support.registries import registry_over
from support.release_processes import window

DAY_S = 86400.0


@pytest.fixture
def registry(three_versions) -> Registry:
    return three_versions


def test_old_windows_of_ended_releases_are_pruned_after_thirty_days(registry):
    registry.releases.begin("iris", 1, actor="ann")
    young, old = (window(at=time.time() - days * DAY_S) for days in (29, 31))
    registry.traffic.add_windows([young, old])
    assert registry.traffic.prune(dry_run=False) == [Removed("old windows", "1 windows", 0)]
    assert registry.traffic.windows("iris", 1) == [young]


def test_feedback_is_read_once_from_a_mark_on_by_every_reader(registry, open_catalog):
    elsewhere = registry_over(open_catalog())
    feedback = [Feedback("iris", f"r-{number}", ("setosa",)) for number in range(3)]
    mark, before = registry.traffic.feedback(None)
    assert before == []
    elsewhere.traffic.add_feedback(feedback[:2])
    elsewhere.traffic.add_feedback([])
    for reader in (registry, elsewhere):
        assert reader.traffic.feedback(mark)[1] == feedback[:2]
    mark, _ = registry.traffic.feedback(mark)
    assert registry.traffic.feedback(mark) == (mark, [])
    elsewhere.traffic.add_feedback(feedback[2:])
    assert registry.traffic.feedback(mark)[1] == feedback[2:]


def test_labels_are_read_of_several_releases_and_spans_and_only_where_some_came(registry):
    def counted(identity: str, release: int, at: float, right: int = 0, name: str = "iris") -> Window:
        return Window(
            name=name,
            release=release,
            version=1,
            digest="sha256:1",
            replica="r",
            at=at,
            seconds=30.0,
            requests=9,
            feedback=FeedbackCounts(right=right),
            id=identity,
        )

    registry.traffic.add_windows(
        [
            counted("later", 2, 40.0, 3),
            counted("first", 1, 10.0, 1),
            counted("no label", 1, 11.0),
            counted("between", 1, 20.0, 5),
            counted("another release", 3, 10.0, 7),
            counted("another model", 1, 10.0, 9, "wine"),
        ]
    )
    labels = registry.traffic.labels("iris", [1, 2], [(30.0, 41.0), (10.0, 20.0)])
    assert [(each.at, each.feedback.right, each.digest) for each in labels] == [
        (10.0, 1, "sha256:1"),
        (40.0, 3, "sha256:1"),
    ]
    assert registry.traffic.labels("iris", [], [(0.0, 50.0)]) == []
