"""Models that run in Python, behind a real server: what their code does to them, and not to others."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Self

import httpx
import numpy as np
import pytest

import lading
from support.bundles import linear_bundle
from support.environments import environments  # noqa: F401 - a fixture
from support.metrics_page import samples
from support.model_code import children
from support.server_process import serving
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("python-models")]

FAULTY = Path(__file__).parents[1] / "support" / "faulty_model.py"
FLAGS = ("--allow", "code", "--process-memory-mb", "600", "--deadline-s", "8", "--grpc-port", "-1")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LADING_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, cache) -> Path:
    """Pack the class that misbehaves for some values, and not for those of its samples."""
    folder = tmp_path_factory.mktemp("faulty")

    shutil.copy(FAULTY, folder / "faulty.py")
    sys.path.insert(0, str(folder))
    try:
        model = importlib.import_module("faulty").Faulty
        bundle = lading.pack(
            model,
            name="faulty",
            owner="ml@example.com",
            samples=np.linspace(0, 1, 20).reshape(-1, 1),
            to=folder / "faulty.bundle",
        )
    finally:
        sys.path.remove(str(folder))
    return bundle.path


@pytest.fixture(scope="module")
def server(faulty, tmp_path_factory):
    iris = linear_bundle(tmp_path_factory.mktemp("iris") / "iris.bundle").path
    with serving(faulty, iris, flags=FLAGS) as running:
        yield running


def ask(server, *values: float, timeout: float = 20.0) -> httpx.Response:
    rows = [[value] for value in values]
    return httpx.post(f"{server.url}/models/faulty/predict", json={"data": rows}, timeout=timeout)


def answers(server) -> bool:
    return ask(server, 2.0).status_code == 200


class Load:
    """Asks the ONNX model beside it all the time, and counts what is not answered."""

    def __init__(self, url: str) -> None:
        self.url, self.failed, self.asked, self.longest_s = url, [], 0, 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        body = {"data": [[5.1, 3.5, 1.4, 0.2]]}
        with httpx.Client(timeout=20) as client:
            while not self._done.is_set():
                began = time.monotonic()
                answer = client.post(f"{self.url}/models/iris/predict", json=body)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.asked += 1
                if answer.status_code != 200:
                    self.failed.append(answer.text)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


@pytest.mark.parametrize(
    ("value", "status", "words"),
    [
        (1001, 503, "exit code 3"),
        (1002, 503, "SIGKILL"),
        (1003, 504, "within 8 s"),
        (1004, 503, "no memory left"),
        (1007, 500, "a value that it does not like"),
    ],
)
def test_a_fault_of_its_code_fails_its_own_request_and_nothing_else(server, value, status, words):
    wait_until(lambda: answers(server))
    with Load(server.url) as load:
        answer = ask(server, float(value))
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
        wait_until(lambda: answers(server))
    assert load.asked > 10
    assert load.failed == []
    assert httpx.get(f"{server.url}/health").status_code == 200


@pytest.mark.parametrize("value", [1005, 1006])
def test_printing_100_mb_and_forking_are_no_faults(server, value):
    wait_until(lambda: answers(server))
    with Load(server.url) as load:
        answer = ask(server, float(value))
        assert answer.json()["prediction"] == [2.0 * value]
        assert answers(server)
    assert load.failed == []
    assert len(server.log) < 3_000_000


def test_what_the_code_prints_is_logged_with_the_name_of_the_model(server):
    wait_until(lambda: answers(server))
    ask(server, 1005.0)
    assert any("faulty" in line and "xxx" in line for line in server.lines)


def test_neighbours_of_a_row_that_the_code_refuses_are_answered(server):
    wait_until(lambda: answers(server))
    outcomes: dict[float, list[int]] = {}

    def many(value: float) -> None:
        with httpx.Client(timeout=20) as client:
            url = f"{server.url}/models/faulty/predict"
            for _ in range(30):
                answer = client.post(url, json={"data": [[value]]})
                outcomes.setdefault(value, []).append(answer.status_code)
                if answer.status_code == 200:
                    assert answer.json()["prediction"] in (2 * value, [2 * value])

    threads = [threading.Thread(target=many, args=(value,)) for value in (1.0, 2.0, 3.0, 1007.0, 4.0, 5.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.pop(1007.0) == [500] * 30
    assert all(statuses == [200] * 30 for statuses in outcomes.values()), outcomes


def test_a_process_that_is_killed_from_outside_is_replaced(server):
    wait_until(lambda: answers(server))
    before = ends(server, "crashed")
    for pid in model_pids(server):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: answers(server))
    wait_until(lambda: ends(server, "crashed") > before)


def ends(server, reason: str) -> float:
    """Return how many processes of models have ended for a reason, as the server's metrics have it."""
    name = f"lading_model_process_ends_total{{model=faulty,reason={reason},version=0}}"
    return samples(httpx.get(f"{server.url}/metrics").text).get(name, 0.0)


def model_pids(server) -> list[int]:
    """Return the processes of models below the server."""
    pids = [child for pid in (server.process.pid, *server.worker_pids()) for child in children(pid)]
    return [pid for pid in pids if b"shim.py" in command_line(pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""  # It has ended.


def test_an_environment_that_is_deleted_under_it_is_built_again(faulty, cache):
    with serving(faulty, flags=FLAGS) as server:
        for path in (cache / "environments").iterdir():
            if path.name != "building":
                shutil.rmtree(path)
        for pid in model_pids(server):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: answers(server), 60)


def test_a_server_that_allows_no_code_runs_none_of_it(faulty, tmp_path):
    bundle = shutil.copytree(faulty, tmp_path / "faulty.bundle")
    with serving(bundle, flags=("--grpc-port", "-1"), ready=False) as server:
        health = server.wait_until(lambda: failed_health(server))
        assert "found its own code" in health["reason"]
        assert "--allow code" in server.log
        assert model_pids(server) == []


def failed_health(server) -> dict | None:
    health = httpx.get(f"{server.url}/health").json()
    return health if health["health"] == "failed" else None


def test_a_killed_server_leaves_no_model_process(faulty):
    with serving(faulty, flags=FLAGS) as server:
        pids = model_pids(server)
        assert pids
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_its_metadata_and_open_inference_are_those_of_any_model(server):
    wait_until(lambda: answers(server))
    tensor = {"name": "X", "shape": [2, 1], "datatype": "FP64", "data": [1.0, 2.0]}
    answer = httpx.post(f"{server.url}/v2/models/faulty/infer", json={"inputs": [tensor]}).json()
    assert answer["outputs"] == [{"name": "value", "datatype": "FP64", "shape": [2], "data": [2.0, 4.0]}]
    metadata = httpx.get(f"{server.url}/v2/models/faulty").json()
    assert json.dumps(metadata["inputs"]) == '[{"name": "X", "datatype": "FP64", "shape": [-1, 1]}]'
