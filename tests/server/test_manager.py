"""The pure decision, and the driver with a real model."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lading.bundle import Bundle
from lading.errors import DigestMismatch, ModelNotReady
from lading.server.dataplane import DataPlane
from lading.server.manager import Load, Manager, Unload, Wanted, decide
from lading.server.states import Served, State
from making import linear_bundle


def never() -> Bundle:
    raise AssertionError("a decision opens nothing")


def wanted(version: int, name: str = "iris") -> Wanted:
    return Wanted(name, version, f"sha256:{version}", never)


def present(version: int, state: State, name: str = "iris") -> Served:
    return Served(name, version, f"sha256:{version}", state)


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


def test_a_version_goes_forward_only():
    served = present(1, State.READY)
    with pytest.raises(AssertionError, match="cannot go from ready to warming"):
        served.advance(State.WARMING)


def until(condition, timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


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
    until(lambda: plane.models and plane.find("iris").state is State.READY)
    first = plane.resolve("iris")
    manager.want([want_bundle(bundles[1], 2)])
    until(lambda: [one.version for one in plane.versions("iris")] == [2])
    assert first.state is State.UNLOADED
    assert plane.resolve().digest == bundles[1].digest
    manager.drain("done")
    manager.close()
    with pytest.raises(ModelNotReady, match="unloaded"):
        plane.find().take()


def test_a_version_in_hand_is_not_unloaded(bundles):
    plane = DataPlane()
    manager = Manager(plane, threads=1)
    manager.want([want_bundle(bundles[0], 1)])
    manager.start()
    until(lambda: plane.models and plane.find("iris").state is State.READY)
    first = plane.resolve("iris")
    first.take()
    manager.want([want_bundle(bundles[1], 2)])
    until(lambda: first.state is State.DRAINING)
    time.sleep(0.05)
    assert first.state is State.DRAINING
    assert first.run(first.samples.inputs)["label"].shape == (16,)
    first.give_back()
    until(lambda: first.state is State.UNLOADED)
    manager.drain("done")
    manager.close()


def test_a_bundle_that_changed_on_disk_fails_and_the_old_one_stays(bundles):
    plane = DataPlane()
    manager = Manager(plane, threads=1)
    manager.want([want_bundle(bundles[0], 1)])
    manager.start()
    until(lambda: plane.models and plane.find("iris").state is State.READY)
    model = bundles[1].path / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    manager.want([want_bundle(bundles[1], 2)])
    until(
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
