"""The driver of the policy, with a real model: swaps, failures, and the end of a server."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from lading.bundle import Bundle
from lading.errors import DigestMismatch, ModelNotReady, RegistryUnavailable
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.server.loading import manager as manager_module
from lading.server.loading.crashes import Crash
from lading.server.loading.manager import Manager
from lading.server.loading.policy import Step, Unload, Wanted, load_first
from support.bundles import linear_bundle
from support.waiting import wait_until


@pytest.fixture
def bundles(tmp_path: Path) -> list[Bundle]:
    return [linear_bundle(tmp_path / str(seed), seed=seed) for seed in (1, 2)]


def wanted(bundle: Bundle, version: int) -> Wanted:
    return Wanted("iris", version, bundle.digest, lambda: Bundle.open(bundle.path, digest=bundle.digest))


@contextmanager
def managing(plane: DataPlane, *versions: Wanted, **options) -> Iterator[Manager]:
    """Run a manager that wants `versions`, until the block ends."""
    manager = Manager(plane, threads=1, **options)
    manager.want(versions)
    manager.start()
    try:
        yield manager
    finally:
        manager.close()


def is_ready(plane: DataPlane, name: str = "iris") -> bool:
    return name in plane.models and plane.find(name).state is State.READY


@pytest.fixture
def plane() -> DataPlane:
    return DataPlane()


@pytest.fixture
def running(plane, bundles) -> Iterator[Manager]:
    """A manager that has version 1 ready."""
    with managing(plane, wanted(bundles[0], 1)) as manager:
        wait_until(lambda: is_ready(plane))
        yield manager


def test_a_version_is_swapped_and_the_old_one_unloaded(plane, running, bundles):
    first = plane.resolve("iris")
    running.want([wanted(bundles[1], 2)])
    wait_until(lambda: [served.version for served in plane.versions("iris")] == [2])
    assert first.state is State.UNLOADED
    assert plane.resolve().digest == bundles[1].digest
    running.close()
    with pytest.raises(ModelNotReady, match="unloaded"):
        plane.find().acquire()


def test_a_bundle_is_opened_and_proved_within_the_context_that_the_manager_was_given(plane, bundles):
    events: list[str] = []

    @contextmanager
    def opening() -> Iterator[None]:
        events.append("begins")
        yield
        events.append("ends")

    def open_bundle() -> Bundle:
        events.append("opens")
        return Bundle.open(bundles[0].path, digest=bundles[0].digest)

    with managing(plane, Wanted("iris", 1, bundles[0].digest, open_bundle), opening=opening):
        wait_until(lambda: is_ready(plane))
    assert events == ["begins", "opens", "ends"]


def test_a_wanted_version_is_published_before_it_loads_and_keeps_the_server_from_being_ready(plane, bundles):
    seen: list[list[State]] = []

    def deciding_states() -> list[State]:
        return [served.state for served in plane.readiness.deciding()]

    def opener(bundle: Bundle) -> Callable[[], Bundle]:
        def open_bundle() -> Bundle:
            seen.append(deciding_states())
            return bundle

        return open_bundle

    versions = [Wanted(f"iris{at}", 1, bundle.digest, opener(bundle)) for at, bundle in enumerate(bundles)]
    manager = Manager(plane)
    manager.want(versions)
    assert deciding_states() == [State.LOADING] * len(bundles)
    for version in versions:
        with pytest.raises(ModelNotReady):
            plane.resolve(version.name)
    manager.start()
    assert manager.settled.wait(20)
    assert seen[-1] == [*[State.READY] * (len(bundles) - 1), State.LOADING], "one after the other"
    assert deciding_states() == [State.READY] * len(bundles)
    manager.close()


def test_a_version_with_a_request_in_flight_is_not_unloaded(plane, running, bundles):
    first = plane.resolve("iris")
    first.acquire()
    running.want([wanted(bundles[1], 2)])
    wait_until(lambda: first.state is State.DRAINING and is_ready(plane))
    assert not first.unload(0.05)
    assert first.state is State.DRAINING
    assert first.run(first.samples.inputs)["label"].shape == (16,)
    first.release()
    wait_until(lambda: first.state is State.UNLOADED)


def test_a_bundle_that_changed_on_disk_fails_and_the_old_version_stays(plane, running, bundles):
    model = bundles[1].path / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    running.want([wanted(bundles[1], 2)])
    wait_until(lambda: [served.state for served in plane.versions("iris")] == [State.READY, State.FAILED])
    failed = plane.find("iris", version=2)
    assert isinstance(failed.failure, DigestMismatch)
    assert "model.onnx" in failed.reason
    assert plane.resolve("iris").version == 1


def test_a_version_that_is_wanted_again_while_it_drains_is_ready_without_waiting_for_it(
    plane, running, bundles
):
    first = plane.resolve("iris")
    first.acquire()
    running.want([wanted(bundles[1], 2)])
    wait_until(lambda: first.state is State.DRAINING)
    running.want([wanted(bundles[0], 1)])
    wait_until(lambda: [served.state for served in plane.versions("iris")] == [State.READY])
    again = plane.resolve("iris", version=1)
    assert again is not first
    assert first.state is State.DRAINING
    first.release()
    wait_until(lambda: first.state is State.UNLOADED)
    assert plane.resolve("iris") is again


def test_a_server_that_is_stopping_does_not_become_ready_with_the_version_it_was_loading(plane, bundles):
    opening, go = threading.Event(), threading.Event()

    def open_slowly() -> Bundle:
        opening.set()
        assert go.wait(10)
        return bundles[0]

    with managing(plane, Wanted("iris", 1, bundles[0].digest, open_slowly)) as manager:
        assert opening.wait(10)
        manager.drain("the server is stopping")
        go.set()
        wait_until(lambda: plane.find("iris").state is State.DRAINING)
        served = plane.find("iris")
        assert served.reason == "the server is stopping"
        assert plane.resolve("iris") is served, "it still answers"
    assert served.state is State.UNLOADED


def test_a_manager_that_was_never_started_can_be_closed(plane):
    Manager(plane).close()


def test_close_ends_a_manager_that_nobody_has_drained(plane, bundles):
    with managing(plane, wanted(bundles[0], 1)):
        wait_until(lambda: is_ready(plane))
        served = plane.resolve("iris")
    assert served.state is State.UNLOADED
    assert "manager" not in {thread.name for thread in threading.enumerate()}


class SlowPlane(DataPlane):
    """A data plane that is slow to publish a version that has become ready."""

    # The moment in which a publish could be overtaken is too short to be hit at will.
    def __init__(self) -> None:
        super().__init__()
        self.publishing = threading.Event()
        self.overtaken = threading.Event()

    def publish(self, versions, traffic=None) -> None:
        if threading.current_thread().name == "manager" and versions[0].state is State.READY:
            self.publishing.set()
            self.overtaken.wait(0.1)
        super().publish(versions, traffic)


def test_traffic_that_is_wanted_while_a_version_is_published_is_not_lost(bundles):
    plane = SlowPlane()
    with managing(plane, wanted(bundles[0], 1)) as manager:
        assert plane.publishing.wait(10)
        traffic = Traffic("iris", 1, "canary", 1, 2, 25.0)
        manager.want([wanted(bundles[0], 1)], {"iris": traffic})
        plane.overtaken.set()
        assert manager.settled.wait(10)
        assert plane.traffic == {"iris": traffic}


class ScriptedPolicy:
    """The usual policy, but for one step that a test chooses."""

    # Such a step is chosen at a moment that cannot be hit at will.
    def __init__(self) -> None:
        self.before_step: Callable[[], None] = lambda: None
        self.step: Step | None = None
        self.chosen = threading.Event()

    def __call__(self, wanted: Sequence[Wanted], present: Sequence[ServedVersion]) -> Step | None:
        step, self.step = self.step, None
        if step is None:
            return load_first(wanted, present)
        self.before_step()
        self.chosen.set()
        return step


@pytest.fixture
def policy() -> ScriptedPolicy:
    return ScriptedPolicy()


@pytest.fixture
def scripted(plane, bundles, policy) -> Iterator[Manager]:
    """A manager under a scripted policy that has version 1 ready."""
    with managing(plane, wanted(bundles[0], 1), policy=policy) as manager:
        wait_until(lambda: is_ready(plane))
        yield manager


def test_a_version_that_is_to_be_unloaded_when_the_server_begins_to_stop_answers_to_the_end(
    plane, scripted, policy, bundles
):
    first = plane.resolve("iris")
    policy.before_step = lambda: scripted.drain("the server is stopping")
    policy.step = Unload(first)
    scripted.want([wanted(bundles[0], 1)])
    assert policy.chosen.wait(10)
    wait_until(lambda: "manager" not in {thread.name for thread in threading.enumerate()})
    assert first.state is State.DRAINING
    assert first.run(first.samples.inputs)["label"].shape == (16,)


def test_a_failed_version_that_was_forgotten_already_can_be_unloaded(plane, scripted, policy, bundles):
    scripted.settled.clear()
    policy.step = Unload(ServedVersion("iris", 7, "sha256:7", State.FAILED))
    scripted.want([wanted(bundles[0], 1)])
    assert policy.chosen.wait(10)
    assert scripted.settled.wait(10)
    assert plane.resolve("iris").version == 1


@pytest.mark.slow
def test_a_version_that_could_not_be_loaded_is_retried(plane, running, bundles):
    failures = iter([RegistryUnavailable("the store", expected="an answer", found="none")])

    def open_bundle() -> Bundle:
        for failure in failures:
            raise failure
        return bundles[1]

    running.want([wanted(bundles[0], 1), Wanted("iris", 2, bundles[1].digest, open_bundle)])
    wait_until(lambda: len(plane.versions("iris")) == 2 and plane.find("iris", 2).state is State.READY)


def test_a_failed_version_that_nobody_wants_any_more_is_not_published(plane, running, bundles):
    def unreachable() -> Bundle:
        raise RegistryUnavailable("the store", expected="an answer", found="none")

    running.want([wanted(bundles[0], 1), Wanted("iris", 7, "sha256:7", unreachable)])
    wait_until(lambda: [served.state for served in plane.versions("iris")] == [State.READY, State.FAILED])
    running.want([wanted(bundles[0], 1)])
    wait_until(lambda: [served.version for served in plane.versions("iris")] == [1])


def test_an_unexpected_error_in_a_step_is_logged_once_and_the_manager_retries(
    plane, running, bundles, caplog, monkeypatch
):
    first = plane.resolve("iris")
    unload, failures = first.unload, iter(range(3))

    def fail_at_first(timeout_s: float) -> bool:
        if next(failures, None) is not None:
            raise RuntimeError("unexpected")
        return unload(timeout_s)

    # No real step is known to fail in this way.
    monkeypatch.setattr(first, "unload", fail_at_first)
    monkeypatch.setattr(manager_module, "RETRY_STEP_S", 0.05)
    running.want([wanted(bundles[1], 2)])
    wait_until(lambda: [served.version for served in plane.versions("iris")] == [2])
    assert first.state is State.UNLOADED
    logged = [record for record in caplog.records if "a step of the manager failed" in record.message]
    assert len(logged) == 1


@pytest.mark.slow
def test_a_version_that_finds_no_file_descriptor_is_loaded_later(plane, bundles, caplog):
    tries: list[int] = []

    def open_with_few_descriptors() -> Bundle:
        tries.append(1)
        if len(tries) > 1:
            return Bundle.open(bundles[0].path)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            return Bundle.open(bundles[0].path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    with managing(plane, Wanted("iris", 1, bundles[0].digest, open_with_few_descriptors)):
        wait_until(lambda: is_ready(plane))
    assert "cannot be loaded now, retrying in 0.5 s: file descriptors" in caplog.text


def test_a_version_that_was_taken_out_answers_no_more_and_is_not_loaded_again(plane, bundles):
    crash = Crash("iris", 1, bundles[0].digest, signal=6, times=2, at=0.0)
    with managing(plane, wanted(bundles[0], 1), wanted(bundles[1], 2)) as manager:
        wait_until(lambda: all(version.state is State.READY for version in plane.versions("iris")))
        first = plane.find("iris", version=1)
        manager.take_out(crash)
        assert (first.state, first.taken_out) == (State.FAILED, True)
        with pytest.raises(ModelNotReady, match=r"ended with SIGABRT \(6\)"):
            plane.resolve("iris", version=1)
        with pytest.raises(ModelNotReady):
            first.run(bundles[0].samples().inputs)
        assert plane.resolve("iris").version == 2
        assert plane.readiness.is_ready()
        manager.want([wanted(bundles[1], 2)])
        wait_until(lambda: [version.version for version in plane.versions("iris")] == [2])
        manager.want([wanted(bundles[0], 1), wanted(bundles[1], 2)])
        wait_until(lambda: len(plane.versions("iris")) == 2)
        wait_until(lambda: plane.find("iris", version=1).taken_out)
