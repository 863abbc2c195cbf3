"""The first page: what it says needs somebody, and in which order; pure functions, without a catalog."""

from __future__ import annotations

from lading.hub.views.home import home
from lading.hub.views.models import models
from lading.hub.views.tables import TableState
from support.hub_rows import alarm, knowledge, loaded, replica, version
from support.releases import canary


def test_what_is_wrong_comes_before_what_goes_on_by_itself():
    silent = replica(2, last_seen_at="2026-11-30T11:00:00Z", silent_s=900)
    failed = replica(1, loaded("churn", 3, state="failed", reason="golden samples differ"))
    page = home(knowledge(releases=[canary()], replicas=[silent, failed], alarms=[alarm()]))
    assert [(each.kind, each.model, each.subject) for each in page.concerns] == [
        ("alarm", "iris", "petal_width"),
        ("failed", "churn", "host-1"),
        ("silent", "", "host-2"),
        ("release", "iris", "canary"),
    ]
    assert (page.replicas, page.gone, page.live) == (1, 1, 1)


def test_a_version_that_fails_everywhere_is_one_concern():
    broken = loaded("churn", 3, state="failed", reason="out of memory")
    page = home(knowledge(replicas=[replica(number, broken) for number in (1, 2, 3)]))
    (concern,) = page.concerns
    assert (concern.version, concern.detail, concern.count) == (3, "out of memory", 3)


def test_a_replica_that_has_drained_is_no_concern_and_runs_nothing():
    drained = replica(1, loaded(), stopped_at="2026-11-30T11:00:00Z", last_seen_at="2026-11-30T11:00:00Z")
    page = home(knowledge(newest=[version("iris")], replicas=[drained]))
    assert (page.concerns, page.replicas, page.gone) == ([], 0, 0)
    (row,) = models(knowledge(newest=[version("iris")], replicas=[drained]), TableState()).rows
    assert row.replicas == 0
