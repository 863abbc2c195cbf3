"""Runs that do not end are ended: in a queue, on the event loop, and when the server stops."""

from __future__ import annotations

import threading
import time

import httpx
import numpy as np
import pytest

from lading.errors import RunFailed
from lading.runtime.onnx.session import OnnxRuntime
from lading.server.inference.dataplane import DataPlane
from lading.server.process.watchdog import Watchdog
from support.crashing_models import ROWS, long_on_large_values, looping_bundle
from support.hosted_app import served_from
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

LARGE = [[2.0**62, 0, 0, 0]]


def ask(server: ServerProcess, rows: object, name: str = "iris") -> httpx.Response:
    return httpx.post(f"{server.url}/models/{name}/predict", json={"data": rows}, timeout=30)


def test_runs_in_flight_are_ended_and_later_ones_are_not(tmp_path):
    (tmp_path / "model.onnx").write_bytes(long_on_large_values())
    runtime = OnnxRuntime(tmp_path / "model.onnx")
    runtime.run({"X": ROWS})  # From now on rows of this shape run through bound buffers.
    ended: list[RunFailed] = []

    def run() -> None:
        with pytest.raises(RunFailed, match="expected an end in time") as caught:
            runtime.run({"X": np.full((2, 4), 2.0**62, "float32")})
        ended.append(caught.value)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.2)  # Nothing shows from outside that a run has begun.
    runtime.terminate()
    thread.join(10)
    assert len(ended) == 1
    assert runtime.run({"X": ROWS})["Y"].shape == (2, 4)


@pytest.mark.slow
def test_a_queued_run_without_an_end_is_ended_at_the_deadline_and_the_next_is_answered(tmp_path):
    bundle = looping_bundle(tmp_path / "b", rounds=5000)
    with serving(bundle.path, flags=("--deadline-s", "1"), environ=cache(tmp_path)) as server:
        assert ask(server, ROWS.tolist()).status_code == 200
        assert ask(server, LARGE).status_code == 504
        wait_until(lambda: "a run has not ended within 1 s; ending it" in server.log)
        assert ask(server, ROWS.tolist()).status_code == 200
        assert server.stop(10) == 0


def test_a_run_in_the_thread_of_an_event_loop_that_stands_still_is_ended(tmp_path):
    served = served_from(looping_bundle(tmp_path / "b", rounds=1))
    plane, stood_still_since = DataPlane(), time.monotonic()
    plane.publish([served])
    watchdog = Watchdog(plane, 0.1, lambda: stood_still_since)
    watchdog.start()
    try:
        with pytest.raises(RunFailed, match="expected an end in time"):
            served.run({"X": np.array(LARGE, "float32")})
    finally:
        watchdog.close()


@pytest.mark.slow
def test_sigterm_ends_a_server_whatever_runs(tmp_path):
    bundle = looping_bundle(tmp_path / "b", rounds=5000)
    flags = ("--deadline-s", "600", "--drain-timeout-s", "1")
    with serving(bundle.path, flags=flags, environ=cache(tmp_path)) as server:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{server.url}/models/iris/predict", json={"data": LARGE}, timeout=1)
        began = time.monotonic()
        assert server.stop(20) == 0
        assert time.monotonic() - began < 15


def test_a_server_with_a_run_that_cannot_be_ended_is_not_ready():
    plane = DataPlane()
    plane.readiness.stuck_reason = "a run of `iris:1` cannot be ended; 3 requests wait behind it"
    assert not plane.readiness.is_ready()


def cache(tmp_path) -> dict[str, str]:
    return {"LADING_CACHE": str(tmp_path / "cache")}
