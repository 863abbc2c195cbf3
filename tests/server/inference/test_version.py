"""One version goes forward only, and is unloaded once nothing is in flight."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from lading.errors import ModelNotReady, RunFailed
from lading.server.inference.version import ServedVersion, State
from support.bundles import linear_bundle
from support.hosted_app import served_from


def test_two_threads_may_unload_one_version(tmp_path, monkeypatch):
    served = served_from(linear_bundle(tmp_path / "iris"))
    served.advance(State.DRAINING)
    closing, go = threading.Event(), threading.Event()
    close = served.model.runtime.close

    def close_slowly() -> None:
        closing.set()
        go.wait(10)
        close()

    monkeypatch.setattr(served.model.runtime, "close", close_slowly)
    done: list[bool] = []
    first = threading.Thread(target=lambda: done.append(served.unload(1)))
    first.start()
    assert closing.wait(10)
    assert served.unload(1)
    go.set()
    first.join()
    assert done == [True]
    assert served.state is State.UNLOADED


def test_a_model_that_closes_between_resolve_and_run_is_not_the_failure_of_the_request(tmp_path):
    served = served_from(linear_bundle(tmp_path / "iris"))
    runtime = served.model.runtime
    run = runtime.run

    def close_and_run(*arguments):
        served.advance(State.DRAINING)
        assert served.unload(1)
        return run(*arguments)

    runtime.run = close_and_run
    with pytest.raises(ModelNotReady, match="unloaded"):
        served.run(served.samples.inputs)


def test_a_version_that_failed_to_load_holds_no_model(tmp_path):
    served = ServedVersion("iris", 1, "sha256:1")
    loaded = served_from(linear_bundle(tmp_path / "iris"))
    served.adopt(loaded.model)
    served.fail(RunFailed("loading `iris:1`"))
    assert not served.in_memory


def test_a_version_never_returns_to_an_earlier_state():
    served = ServedVersion("iris", 1, "sha256:1", State.READY)
    with pytest.raises(AssertionError, match="cannot go from ready to warming"):
        served.advance(State.WARMING)


def test_a_version_that_is_being_unloaded_accepts_no_request(tmp_path):
    served = served_from(linear_bundle(tmp_path / "iris"))
    served.advance(State.DRAINING)
    runtime, closing, go = served.model.runtime, threading.Event(), threading.Event()

    class SlowToClose:
        def close(self):
            closing.set()
            go.wait(5)
            runtime.close()

    served.adopt(replace(served.model, runtime=SlowToClose()))
    unloading = threading.Thread(target=served.unload, args=(5,))
    unloading.start()
    assert closing.wait(5)
    with pytest.raises(ModelNotReady):
        served.acquire()
    go.set()
    unloading.join()


def test_a_version_is_not_unloaded_while_a_request_is_in_flight(tmp_path):
    served = served_from(linear_bundle(tmp_path / "iris"))
    served.acquire()
    served.advance(State.DRAINING)
    assert not served.unload(0.01)
    assert served.in_memory
    served.release()
    assert served.unload(0.01)
    assert not served.in_memory


def test_a_version_that_is_not_opened_has_no_inputs_and_nothing_to_run():
    served = ServedVersion("iris", 1, "sha256:1")
    assert not served.is_opened
    assert served.signature.inputs == ()
    assert served.labels == {}
    for read in (lambda: served.manifest, lambda: served.samples, lambda: served.model):
        with pytest.raises(ModelNotReady, match="found `loading`"):
            read()
    with pytest.raises(ModelNotReady):
        served.run({})
