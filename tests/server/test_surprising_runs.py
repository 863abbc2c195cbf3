"""Requests that take far longer than golden rows: health, deadlines and other models do not wait for them.

Real servers of one worker each, which lets a long run on its event loop keep everything else waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from support.bundles import linear_bundle
from support.grpc_client import ask
from support.server_process import ServerProcess, serving
from support.surprising_models import by_length_of_text, by_open_size, by_rows, by_value

DEADLINE_S = 1
IRIS = {"data": [[5.1, 3.5, 1.4, 0.2]]}
ENDLESS = [[2**40]]

SURPRISES = {
    "a loop as long as a value": (by_value, [[3]], ENDLESS),
    # Larger bodies are read in another process, and their runs wait in a thread.
    "a text of 250,000 characters": (by_length_of_text, ["ab"], ["ab" * 125_000]),
    "a size that is 750 times as large": (
        by_open_size,
        np.ones((1, 4, 750)).tolist(),
        np.ones((1, 3_000, 1)).tolist(),
    ),
    "rows that are looked at in pairs": (by_rows, [[1.0]], np.ones((3_000, 1)).tolist()),
}


@contextmanager
def server_of(tmp_path: Any, write: Callable[..., Any], *flags: str) -> Iterator[ServerProcess]:
    paths = write(tmp_path / "surprising").path, linear_bundle(tmp_path / "iris").path
    environ = {"LADING_CACHE": str(tmp_path / "cache")}
    with serving(*paths, flags=("--deadline-s", str(DEADLINE_S), *flags), environ=environ) as server:
        yield server


def predict(server: ServerProcess, data: Any, model: str = "surprising") -> httpx.Response:
    return httpx.post(f"{server.url}/models/{model}/predict", json={"data": data}, timeout=30)


@contextmanager
def in_background(act: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run `act` beside the block; what it returns is in the list after the block."""
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(act()))
    thread.start()
    yield outcome
    thread.join(30)


def waits(server: ServerProcess, seconds: float) -> list[float]:
    """Ask for health again and again, each time on a connection of its own; return how long each took."""
    took, until = [], time.monotonic() + seconds
    with httpx.Client(base_url=server.url, timeout=30) as client:
        while time.monotonic() < until:
            began = time.monotonic()
            assert client.get("/v2/health/live").status_code == 200
            took.append(time.monotonic() - began)
    return took


@pytest.mark.slow
@pytest.mark.parametrize("name", SURPRISES)
def test_nothing_waits_for_a_run_that_is_longer_than_any_golden_row_showed(tmp_path, name):
    # A machine stands still now and then, and seldom three times. A run on the event loop of a new server
    # keeps one of them waiting for all of its time, each time.
    longest: list[tuple[float, float]] = []
    while not longest or longest[-1][0] >= longest[-1][1] / 2:
        assert len(longest) < 3, longest
        longest.append(_longest_wait_and_run(tmp_path / str(len(longest)), name))


def _longest_wait_and_run(folder: Path, name: str) -> tuple[float, float]:
    """Return the longest wait of a health check beside a long run of a new server, and how long that ran."""
    write, usual, surprising = SURPRISES[name]
    folder.mkdir()
    with server_of(folder, write, "--grpc-port", "-1") as server:
        assert predict(server, usual).status_code == 200
        with in_background(lambda: predict(server, surprising)) as answers:
            took = waits(server, 0.8)
            assert predict(server, IRIS["data"], "iris").status_code == 200
        run_s = answers[0].elapsed.total_seconds()
        assert answers[0].status_code in (200, 504)
        if surprising is ENDLESS:
            assert answers[0].status_code == 504
            assert run_s < DEADLINE_S + 1.5
        return max(took), run_s


@pytest.mark.slow
def test_a_grpc_call_whose_run_does_not_end_is_answered_at_the_deadline(tmp_path):
    def infer(channel: grpc.Channel, value: int) -> Any:
        data = np.array([[value]])
        tensor = {"name": "X", "datatype": "INT64", "shape": data.shape}
        fields = {"model_name": "surprising", "inputs": [tensor], "raw_input_contents": [data.tobytes()]}
        return ask(channel, "ModelInfer", timeout=15, **fields)

    with (
        server_of(tmp_path, by_value, "--grpc-port", "0") as server,
        grpc.insecure_channel(server.grpc_target()) as channel,
    ):
        infer(channel, 3)
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            infer(channel, ENDLESS[0][0])
        assert time.monotonic() - began < DEADLINE_S + 1.5
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # The run itself ends as well, and the next call is answered.
        server.wait_until(lambda: "a run has not ended within 1 s; ending it" in server.log)
        infer(channel, 3)


@pytest.mark.slow
def test_the_log_says_once_which_operator_keeps_runs_in_the_queue(tmp_path):
    with server_of(tmp_path, by_value, "--grpc-port", "-1") as server:
        assert predict(server, [[3]]).status_code == predict(server, [[3]]).status_code == 200
        assert server.log.count("values of a request decide how much `Loop` does") == 1
        metrics = httpx.get(f"{server.url}/metrics").text
    queued = [line for line in metrics.splitlines() if line.startswith("lading_queue_seconds_count")]
    assert [line.rpartition(" ")[2] for line in queued if "surprising" in line] == ["2.0"]
