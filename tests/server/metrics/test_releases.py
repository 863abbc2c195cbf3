"""Releases, verdict, driver, catalog and replays on the page of a server that follows a registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lading.errors import RegistryUnavailable
from lading.release import Plan
from lading.server.metrics import Metrics
from lading.server.metrics.shared_memory import SharedCounters, SharedMemory
from lading.server.process.compose import make_plane, metrics_page
from lading.settings import ServeSettings
from support.following_server import FollowingServer, three_versions
from support.metrics_page import samples
from support.rollout_processes import driver_of


@pytest.fixture
def server(tmp_path) -> Iterator[FollowingServer]:
    server = FollowingServer(three_versions(tmp_path))
    server.registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    server.until(lambda: server.ready() == [1])
    yield server
    server.close()


def page_of(metrics: Metrics) -> dict[str, float]:
    return samples(metrics_page(metrics, "lading").decode())


def test_the_release_and_the_replay_of_its_versions_are_shown(server):
    metrics = Metrics(server.plane)
    values = page_of(metrics)
    assert values["lading_release_state{model=iris,state=live}"] == 1
    assert values["lading_release_version{model=iris,role=live}"] == 1
    assert "lading_release_version{model=iris,role=candidate}" not in values
    assert values["lading_replay_rows{model=iris,version=1}"] == 16
    assert values["lading_replay_seconds{model=iris,version=1}"] > 0
    server.registry.releases.begin("iris", 2, Plan(mode="canary", steps=(5, 100)), actor="t")
    server.until(lambda: server.ready() == [1, 2])
    values = page_of(metrics)
    assert values["lading_release_number{model=iris}"] == 2
    assert values["lading_release_state{model=iris,state=running}"] == 1
    assert values["lading_release_state{model=iris,state=live}"] == 0
    assert values["lading_release_version{model=iris,role=candidate}"] == 2
    assert values["lading_release_candidate_share{model=iris}"] == 0.05


def test_an_outage_of_the_catalog_is_shown_while_it_lasts(server, monkeypatch):
    metrics = Metrics(server.plane)
    values = page_of(metrics)
    assert values["lading_catalog_reachable{}"] == 1
    assert values["lading_catalog_answer_timestamp_seconds{}"] > 1.7e9

    def unreachable() -> None:
        raise RegistryUnavailable("the catalog", expected="an answer", found="none")

    with monkeypatch.context() as patch:
        patch.setattr(server.registry.releases, "wanted", unreachable)
        server.until(lambda: page_of(metrics)["lading_catalog_reachable{}"] == 0)
    server.until(lambda: page_of(metrics)["lading_catalog_reachable{}"] == 1)


def test_a_server_that_follows_nothing_shows_no_releases():
    values = page_of(Metrics(make_plane(ServeSettings())))
    assert not [name for name in values if "release" in name or "catalog" in name or "rollout" in name]


def test_every_worker_shows_the_verdicts_of_the_one_that_drives_until_the_release_ends(server):
    memory = SharedMemory(2)
    workers = []
    for number in (1, 2):
        memory.began(number, 1000 + number)
        workers.append(Metrics(server.plane, SharedCounters(memory, number)))
    assert page_of(workers[0])["lading_rollout_driving{}"] == 0
    server.registry.releases.begin("iris", 2, Plan(mode="canary", steps=(5, 100)), actor="t")
    server.until(lambda: server.ready() == [1, 2])
    driver = driver_of(server.registry, "driver", report=workers[1].publish_driver)
    driver.turn()
    values = page_of(workers[0])
    assert values["lading_rollout_driving{}"] == 1
    assert values["lading_rollout_turn_timestamp_seconds{}"] > 1.7e9
    assert values["lading_release_verdict{model=iris,verdict=hold}"] == 1
    assert values["lading_release_verdict{model=iris,verdict=promote}"] == 0
    server.registry.releases.abort("iris", actor="t")
    driver.turn()
    assert not [name for name in page_of(workers[0]) if name.startswith("lading_release_verdict")]
    memory.ended(2)
    assert page_of(workers[0])["lading_rollout_driving{}"] == 0, "its worker has ended"
