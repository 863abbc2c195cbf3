"""What a job needs of a server, and what a server has."""

from __future__ import annotations

import pytest

from lading.server.inference.version import State
from lading.server.jobs.targets import target_of, targets_of
from lading.server.process.compose import make_plane
from lading.settings import ServeSettings


@pytest.fixture
def plane(iris):
    plane = make_plane(ServeSettings())
    plane.publish([iris])
    return plane


@pytest.mark.parametrize(
    ("params", "target"),
    [
        ({}, "/iris"),
        ({"name": "iris"}, "iris"),
        ({"name": "iris", "version": "1"}, "iris/versions/1"),
        ({"name": "iris", "version": "01"}, "iris/versions/1"),
        ({"name": "iris", "version": "stable"}, "iris/tags/stable"),
        ({"name": "iris", "tag": "stable"}, "iris/tags/stable"),
        ({"name": "iris", "label": "stable"}, "iris/tags/stable"),
    ],
)
def test_what_a_server_has_is_what_the_routes_ask_for(plane, params, target):
    assert target_of(params, plane) == ("iris", target)
    assert target in targets_of(plane)


def test_a_version_that_is_not_ready_is_nothing_to_run_jobs_with(plane, iris):
    iris.advance(State.DRAINING)
    assert targets_of(plane) == []
