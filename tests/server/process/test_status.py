"""What a server says about itself: states and requests over all workers, and its address."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lading.server.inference.loaded import LoadedModel
from lading.server.inference.version import ServedVersion, State
from lading.server.metrics import Metrics
from lading.server.metrics.shared_memory import SharedCounters, SharedMemory
from lading.server.process.compose import make_plane
from lading.server.process.status import ServerInfo, Status, pattern_of, url
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.python_bundles import python_bundle


def status_of(served: ServedVersion, memory: SharedMemory, number: int) -> tuple[Status, Metrics]:
    """Return the status of one worker that serves `served`, and its metrics."""
    settings = ServeSettings(port=0, workers=2)
    plane = make_plane(settings)
    plane.publish([served])
    info = ServerInfo("web-1", 1_800_000_000.0, "http://web:8000", "grpc://web:8001", "load", settings)
    memory.began(number, os.getpid())
    metrics = Metrics(plane, SharedCounters(memory, number))
    metrics.publish()
    return Status(info, plane, metrics), metrics


def test_requests_and_states_are_those_of_all_workers(tmp_path):
    memory, bundle = SharedMemory(2), linear_bundle(tmp_path / "iris")
    first, first_metrics = status_of(served_from(bundle), memory, 1)
    loading = ServedVersion("iris", 1, bundle.digest)
    second, second_metrics = status_of(loading, memory, 2)
    first_metrics.counters("iris", 1, "native").count_answer(200, 0.001, None, 1, 1)
    second_metrics.counters("iris", 1, "oip").count_answer(400, 0.001, None, 1, 1)
    for status in (first, second):
        (model,) = status.models()
        assert (model.requests, model.state) == (2, "loading")
        assert model.reason == "1 of 2 workers"
    loading.advance(State.FAILED, "no memory")
    second_metrics.publish()
    assert second.models()[0].reason == "1 of 2 workers: no memory"


def test_a_model_reports_what_it_executes_and_its_environment_once_it_is_opened(tmp_path):
    iris = served_from(linear_bundle(tmp_path / "iris"))
    bundle = python_bundle(tmp_path / "doubled")
    doubled = ServedVersion("doubled", 1, bundle.digest)
    status, _ = status_of(doubled, SharedMemory(1), 1)
    assert status.models()[0].executes == "unknown"
    # No code is run: a status asks the bundle alone, and never the model.
    doubled.adopt(LoadedModel.of(bundle, iris.model.runtime, "doubled:1"))
    (model,) = status.models()
    assert (model.executes, model.environment, model.python) == ("code", bundle.lock().digest, "3.11")
    (plain,) = status_of(iris, SharedMemory(1), 1)[0].models()
    assert (plain.executes, plain.environment, plain.python) == ("no", "", "")


def test_the_next_worker_speaks_for_the_server_when_the_one_before_it_is_killed(tmp_path):
    memory, served = SharedMemory(2), served_from(linear_bundle(tmp_path / "iris"))
    (first, _), (second, _) = (status_of(served, memory, number) for number in (1, 2))
    assert (first.is_leader, second.is_leader) == (True, False)
    memory.ended(1)
    assert second.is_leader


@pytest.mark.parametrize(
    ("refs", "pattern"),
    [((), "load"), (("iris",), "in-image"), (("iris", "other"), "in-image"), (("iris", "../x"), "load")],
)
def test_models_that_are_all_in_the_folder_of_the_image_came_with_the_image(tmp_path, refs, pattern):
    assert pattern_of([tmp_path / ref for ref in refs], tmp_path) == pattern


def test_models_in_a_volume_that_is_mounted_at_that_folder_were_pulled():
    # As an init container's volume is; /proc is a mount on every Linux.
    assert pattern_of([Path("/proc/iris")], Path("/proc")) == "load"


def test_an_address_on_every_interface_is_shown_with_the_name_of_the_host():
    assert url("0.0.0.0", 80, "web") == "http://web:80"
    assert url("::1", 80, "web", "grpc") == "grpc://[::1]:80"
