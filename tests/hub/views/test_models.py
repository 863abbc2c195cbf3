"""The table of models: a row for each, from what is known of them."""

from __future__ import annotations

from lading.hub.views.models import models
from lading.hub.views.tables import TableState
from support.hub_rows import knowledge, loaded, replica, version
from support.releases import canary, released


def test_a_model_that_only_a_foreign_server_runs_has_a_row():
    foreign = replica(1, loaded("legacy", 0, owner="team@example.com"), pattern="foreign")
    (row,) = models(knowledge(replicas=[foreign]), TableState()).rows
    assert (row.name, row.owner, row.newest, row.replicas) == ("legacy", "team@example.com", 0, 1)


def test_a_row_has_both_sides_of_a_release():
    (row,) = models(knowledge(newest=[version("iris", 2)], releases=[canary()]), TableState()).rows
    assert (row.newest, row.live, row.candidate, row.mode, row.percent) == (2, 1, 2, "canary", 5.0)
    (row,) = models(knowledge(newest=[version("iris", 2)], releases=[released(1)]), TableState()).rows
    assert (row.live, row.candidate, row.state) == (1, 0, "live")
