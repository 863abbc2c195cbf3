"""The pure decision, and the driver with a real model."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lading.bundle import Bundle
from lading.errors import DigestMismatch, ModelNotReady
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.server.loading import manager as manager_module
from lading.server.loading.manager import Load, Manager, Unload, Wanted, decide
from support.bundles import linear_bundle
from support.waiting import wait_until


def never() -> Bundle:
    raise AssertionError("a decision opens nothing")


def wanted(version: int, name: str = "iris") -> Wanted:
    return Wanted(name, version, f"sha256:{version}", never)


def present(version: int, state: State, name: str = "iris") -> ServedVersion:
    return ServedVersion(name, version, f"sha256:{version}", state)


def test_nothing_wanted_and_nothing_there_is_nothing_to_do():
    assert decide([], []) is None


def test_a_wanted_version_that_is_not_there_is_loaded():
    assert decide([wanted(1)], []) == Load(wanted(1))


def test_the_new_version_is_loaded_before_the_old_one_goes():
    assert decide([wanted(2)], [present(1, State.READY)]) == Load(wanted(2))


@pytest.mark.parametrize("state", [State.LOADING, State.WARMING, State.FAILED])
def test_the_old_version_stays_until_the_new_one_is_ready(state):
    assert decide([wanted(2)], [present(1, State.READY), present(2, state)]) is None


def test_the_old_version_goes_once_the_new_one_is_ready():
    old = present(1, State.READY)
    assert decide([wanted(2)], [old, present(2, State.READY)]) == Unload(old)


def test_a_model_that_is_not_wanted_any_more_goes_at_once():
    old = present(1, State.READY, "wine")
    assert decide([wanted(1)], [present(1, State.READY), old]) == Unload(old)


def test_a_failed_version_is_not_tried_again():
    assert decide([wanted(1)], [present(1, State.FAILED)]) is None


def test_a_failed_version_that_is_not_wanted_any_more_is_forgotten():
    failed = present(1, State.FAILED)
    assert decide([wanted(2)], [failed, present(2, State.LOADING)]) == Unload(failed)


def test_an_unloaded_version_can_be_wanted_again():
    assert decide([wanted(1)], [present(1, State.UNLOADED)]) == Load(wanted(1))


def test_a_version_that_drains_and_is_wanted_again_is_loaded_anew():
    present_ones = [present(1, State.DRAINING), present(2, State.READY)]
    assert decide([wanted(1)], present_ones) == Load(wanted(1))
    assert decide([wanted(1)], present_ones, replace=True) == Unload(present_ones[0])


def test_what_drains_is_unloaded_once_nothing_else_is_to_do_the_least_busy_first():
    stuck, idle = present(1, State.DRAINING), present(2, State.DRAINING)
    stuck.in_flight = 1
    assert decide([wanted(3)], [stuck, idle, present(3, State.FAILED)]) == Unload(idle)
    assert decide([wanted(1)], [stuck, present(1, State.READY)]) == Unload(stuck)


def test_a_version_goes_forward_only():
    served = present(1, State.READY)
    with pytest.raises(AssertionError, match="cannot go from ready to warming"):
        served.advance(State.WARMING)


@pytest.fixture
def bundles(tmp_path: Path) -> list[Bundle]:
    return [linear_bundle(tmp_path / str(seed), seed=seed) for seed in (1, 2)]


def want_bundle(bundle: Bundle, version: int) -> Wanted:
    return Wanted("iris", version, bundle.digest, lambda: Bundle.open(bundle.path, digest=bundle.digest))


def test_a_version_is_swapped_and_the_old_one_unloaded(bundles):
    plane = DataPlane()
    manager = Manager(plane, threads=1)
    manager.want([want_bundle(bundles[0], 1)])
    manager.start()
    wait_until(lambda: plane.models and plane.find("iris").state is State.READY)
    first = plane.resolve("iris")
    manager.want([want_bundle(bundles[1], 2)])
    wait_until(lambda: [one.version for one in plane.versions("iris")] == [2])
    assert first.state is State.UNLOADED
    assert plane.resolve().digest == bundles[1].digest
    manager.drain("done")
    manager.close()
    with pytest.raises(ModelNotReady, match="unloaded"):
        plane.find().acquire()


def test_a_version_is_opened_and_proved_within_what_the_manager_was_given(bundles):
    events: list[str] = []

    @contextmanager
    def opening() -> Iterator[None]:
        events.append("begins")
        yield
        events.append("ends")

    def opened() -> Bundle:
        events.append("opens")
        return Bundle.open(bundles[0].path, digest=bundles[0].digest)

    plane = DataPlane()
    manager = Manager(plane, threads=1, opening=opening)
    manager.want([Wanted("iris", 1, bundles[0].digest, opened)])
    manager.start()
    wait_until(lambda: plane.models and plane.find("iris").state is State.READY)
    manager.drain("done")
    manager.close()
    assert events == ["begins", "opens", "ends"]


def test_what_is_wanted_is_there_from_the_beginning_and_keeps_the_server_from_being_ready(bundles):
    plane = DataPlane()
    driver = Manager(plane)
    found: list[list[State]] = []

    def opened(one: Bundle) -> Bundle:
        found.append([served.state for served in plane.readiness.deciding()])
        return one

    everything = [
        Wanted(one.manifest.name + str(at), 1, one.digest, lambda one=one: opened(one))
        for at, one in enumerate(bundles)
    ]
    driver.want(everything)
    assert [served.state for served in plane.readiness.deciding()] == [State.LOADING] * len(bundles)
    for one in everything:
        with pytest.raises(ModelNotReady):
            plane.resolve(one.name)
    driver.start()
    assert driver.settled.wait(20)
    assert found[-1] == [*[State.READY] * (len(bundles) - 1), State.LOADING], "one after the other"
    assert [served.state for served in plane.readiness.deciding()] == [State.READY] * len(bundles)
    driver.drain("done")
    driver.close()


def test_a_version_in_hand_is_not_unloaded(bundles):
    plane = DataPlane()
    manager = Manager(plane, threads=1)
    manager.want([want_bundle(bundles[0], 1)])
    manager.start()
    wait_until(lambda: plane.models and plane.find("iris").state is State.READY)
    first = plane.resolve("iris")
    first.acquire()
    manager.want([want_bundle(bundles[1], 2)])
    wait_until(lambda: first.state is State.DRAINING)
    time.sleep(0.05)
    assert first.state is State.DRAINING
    assert first.run(first.samples.inputs)["label"].shape == (16,)
    first.release()
    wait_until(lambda: first.state is State.UNLOADED)
    manager.drain("done")
    manager.close()


def test_a_bundle_that_changed_on_disk_fails_and_the_old_one_stays(bundles):
    plane = DataPlane()
    manager = Manager(plane, threads=1)
    manager.want([want_bundle(bundles[0], 1)])
    manager.start()
    wait_until(lambda: plane.models and plane.find("iris").state is State.READY)
    model = bundles[1].path / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    manager.want([want_bundle(bundles[1], 2)])
    wait_until(
        lambda: (
            plane.find("iris", version=2).state is State.FAILED if len(plane.versions("iris")) > 1 else False
        )
    )
    failed = plane.find("iris", version=2)
    assert isinstance(failed.failure, DigestMismatch)
    assert "model.onnx" in failed.reason
    assert plane.resolve("iris").version == 1
    manager.drain("done")
    manager.close()


@pytest.fixture
def running(bundles):
    """Give a plane and its manager, which has version 1 ready."""
    plane = DataPlane()
    manager = Manager(plane, threads=1)
    manager.want([want_bundle(bundles[0], 1)])
    manager.start()
    wait_until(lambda: plane.models and plane.find("iris").state is State.READY)
    yield plane, manager
    manager.drain("done")
    manager.close()


def test_a_version_that_is_wanted_back_while_it_drains_is_ready_at_once(running, bundles):
    plane, manager = running
    first = plane.resolve("iris")
    first.acquire()
    manager.want([want_bundle(bundles[1], 2)])
    wait_until(lambda: first.state is State.DRAINING)
    manager.want([want_bundle(bundles[0], 1)])
    wait_until(lambda: [one.state for one in plane.versions("iris")] == [State.READY], 5)
    again = plane.resolve("iris", version=1)
    assert again is not first
    assert first.state is State.DRAINING
    first.release()
    wait_until(lambda: first.state is State.UNLOADED)
    assert plane.resolve("iris") is again


def test_a_server_that_is_stopping_does_not_become_ready_by_what_it_was_loading(bundles):
    opening, go = threading.Event(), threading.Event()

    def open_slowly() -> Bundle:
        opening.set()
        assert go.wait(10)
        return bundles[0]

    plane = DataPlane()
    manager = Manager(plane, threads=1)
    manager.want([Wanted("iris", 1, bundles[0].digest, open_slowly)])
    manager.start()
    assert opening.wait(10)
    manager.drain("the server is stopping")
    go.set()
    manager._thread.join(10)
    served = plane.find("iris")
    assert (served.state, served.reason) == (State.DRAINING, "the server is stopping")
    assert plane.resolve("iris") is served, "it answers what comes all the same"
    manager.close()
    assert served.state is State.UNLOADED


class SlowPlane(DataPlane):
    """A data plane into which what has become ready is published slowly."""

    # The moment in which a publish could be overtaken is too short to be hit by will.
    def __init__(self) -> None:
        super().__init__()
        self.publishing = threading.Event()

    def publish(self, versions, traffic=None) -> None:
        if threading.current_thread().name == "manager" and versions[0].state is State.READY:
            self.publishing.set()
            time.sleep(0.1)
        super().publish(versions, traffic)


def test_what_is_wanted_of_traffic_while_a_version_is_published_is_not_lost(bundles):
    plane = SlowPlane()
    manager = Manager(plane, threads=1)
    manager.want([want_bundle(bundles[0], 1)])
    manager.start()
    assert plane.publishing.wait(10)
    traffic = Traffic("iris", 1, "canary", 1, 2, 25.0)
    manager.want([want_bundle(bundles[0], 1)], {"iris": traffic})
    time.sleep(0.25)
    assert plane.traffic == {"iris": traffic}
    manager.drain("done")
    manager.close()


def test_a_version_that_ends_while_the_server_begins_to_stop_is_no_defect(running):
    plane, manager = running
    first = plane.resolve("iris")
    manager.drain("the server is stopping")
    manager._thread.join(10)
    manager._unload(first)
    assert first.state is State.DRAINING, "it answers to the end"


def test_a_failed_version_that_was_forgotten_already_can_be_unloaded(running):
    plane, manager = running
    failed = present(7, State.FAILED)
    manager._unload(failed)
    assert plane.resolve("iris").version == 1


def test_a_failed_version_that_nobody_wants_any_more_is_not_shown(running):
    plane, manager = running
    failed = present(7, State.FAILED)
    manager._present.append(failed)
    manager._publish()
    manager._forget(failed)
    assert [one.version for one in plane.versions("iris")] == [1]


def test_a_step_that_fails_in_an_unforeseen_way_does_not_end_the_manager(
    running, bundles, caplog, monkeypatch
):
    plane, manager = running
    first = plane.resolve("iris")
    unload, failures = first.unload, iter(range(3))

    def fail_at_first(timeout_s: float) -> bool:
        if next(failures, None) is not None:
            raise RuntimeError("nobody foresaw this")
        return unload(timeout_s)

    # There is no step of which it is known that it fails.
    monkeypatch.setattr(first, "unload", fail_at_first)
    monkeypatch.setattr(manager_module, "_REST_S", 0.05)
    manager.want([want_bundle(bundles[1], 2)])
    wait_until(lambda: [one.version for one in plane.versions("iris")] == [2])
    assert first.state is State.UNLOADED
    unforeseen = [one for one in caplog.records if "a step of the manager failed" in one.message]
    assert len(unforeseen) == 1, "it is said once"
