"""The life of one version."""

from __future__ import annotations

import threading

import pytest

from lading.errors import ModelNotReady, RunFailed
from lading.server.inference.version import ServedVersion, State
from support.bundles import linear_bundle
from support.hosted_app import served_from


def test_two_threads_may_unload_a_version(tmp_path, monkeypatch):
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


def test_a_model_that_closes_between_finding_and_running_it_is_not_the_requests_failure(tmp_path):
    served = served_from(linear_bundle(tmp_path / "iris"))
    runtime = served.model.runtime
    run = runtime.run

    def close_and_run(*given):
        served.advance(State.DRAINING)
        assert served.unload(1)
        return run(*given)

    runtime.run = close_and_run
    with pytest.raises(ModelNotReady, match="unloaded"):
        served.run(served.samples.inputs)


def test_a_version_that_was_given_up_holds_no_model(tmp_path):
    served = ServedVersion("iris", 1, "sha256:1")
    loaded = served_from(linear_bundle(tmp_path / "iris"))
    served.adopt(loaded.model)
    served.fail(RunFailed("loading `iris:1`"))
    assert not served.in_memory


def test_a_version_never_returns_to_an_earlier_state():
    served = ServedVersion("iris", 1, "sha256:1", State.READY)
    with pytest.raises(AssertionError, match="cannot go from ready to warming"):
        served.advance(State.WARMING)
