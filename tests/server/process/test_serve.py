"""The life of a serving process: start, refusals, and an end in the reverse order of the start."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from lading.errors import InvalidSetting
from lading.server.inference.dataplane import DataPlane
from lading.server.loading.manager import Manager
from lading.server.loading.resolver import Resolver
from lading.server.observe.observer import Observer
from lading.server.process.background import BackgroundTasks
from lading.server.process.grpc_listener import GrpcListener
from lading.server.process.http_server import HttpServer
from lading.server.process.serve import model_memory_bytes, request_memory_bytes, serve
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.crashing_models import slow_operator_bundle
from support.forged_bundles import forge_golden_output
from support.server_process import serving
from support.waiting import wait_until


@pytest.mark.slow
def test_the_server_serves_a_bundle_and_drains_on_sigterm(tmp_path):
    linear_bundle(tmp_path / "iris")
    with serving(tmp_path / "iris") as server:
        answer = httpx.post(f"{server.url}/predict", json={"data": [[1, 2, 3, 4]] * 10})
        assert answer.status_code == 200
        assert len(answer.json()["prediction"]) == 10
        assert server.stop() == 0
    assert "drained" in server.log
    assert "Traceback" not in server.log


@pytest.mark.slow
def test_a_changed_golden_output_keeps_the_server_from_being_ready(tmp_path):
    path = tmp_path / "iris"
    linear_bundle(path)
    forge_golden_output(path)
    with serving(path, ready=False) as server:
        server.wait_until(lambda: httpx.get(f"{server.url}/health").json()["health"] == "failed")
        answer = httpx.get(f"{server.url}/health")
        assert answer.status_code == 503
        reason = answer.json()["reason"]
        assert "`probabilities`" in reason
        assert "row 3" in reason
        assert re.search(r"expected .*found", reason)
        refused = httpx.post(f"{server.url}/predict", json={"data": [[1, 2, 3, 4]]})
        assert refused.status_code == 503
        assert "row 3" in refused.json()["error"]
        assert "row 3" in server.log


@pytest.mark.slow
def test_a_bundle_with_a_flipped_byte_is_not_served(tmp_path):
    path = tmp_path / "iris"
    linear_bundle(path)
    model = bytearray((path / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (path / "model.onnx").write_bytes(model)
    command = [sys.executable, "-m", "lading", "serve", str(path), "--port", "0"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "model.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_if_a_step_of_the_start_fails_those_before_it_are_ended_in_reverse_order(tmp_path, monkeypatch):
    ended: list[str] = []

    def record_end(kind: type, method: str) -> None:
        end = getattr(kind, method)

        def recorded(self, *arguments):
            ended.append(kind.__name__)
            return end(self, *arguments)

        monkeypatch.setattr(kind, method, recorded)

    for kind in (Observer, Resolver, DataPlane, Manager, GrpcListener):
        record_end(kind, "close")
    record_end(BackgroundTasks, "stop")

    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("the last step")

    # No real failure of the last step is known.
    monkeypatch.setattr(HttpServer, "run", fail)
    before = set(threading.enumerate())
    bundle = linear_bundle(tmp_path / "iris")
    with pytest.raises(RuntimeError, match="the last step"):
        serve(ServeSettings(port=0), [bundle.path], None, None, [lambda _status, stop: stop.wait() and None])
    assert ended == ["GrpcListener", "BackgroundTasks", "Manager", "DataPlane", "Resolver", "Observer"]
    wait_until(lambda: set(threading.enumerate()) <= before)  # One of grpcio's own ends a moment later.


def test_if_the_grpc_port_is_taken_the_rest_port_is_free_again(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = ServeSettings(port=port, grpc_port=taken.getsockname()[1])
        with pytest.raises(InvalidSetting, match="expected a free address"):
            serve(settings, [bundle.path])
        with socket.create_server(("127.0.0.1", port)):
            pass


@pytest.mark.slow
@pytest.mark.alone
def test_start_to_first_prediction_is_quick(tmp_path):
    linear_bundle(tmp_path / "iris")
    best = imports = 10.0
    for _ in range(3):
        began = time.monotonic()
        with serving(tmp_path / "iris") as server:
            httpx.post(f"{server.url}/predict", json={"data": [[1, 2, 3, 4]]}).raise_for_status()
            best = min(best, time.monotonic() - began)
            server.stop()
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import numpy, onnxruntime, uvicorn"], check=True)
        imports = min(imports, time.monotonic() - began)
    # Machines differ by more than a factor of two: a slow one gets as much more as its imports take.
    assert best < max(0.6, 3 * imports), f"{best:.2f} s, of which imports {imports:.2f} s"


_WATCHED = """
import gc, os, threading, time

def watch():
    while True:
        time.sleep(0.1)
        whole = f"{gc.get_freeze_count()} {len(gc.get_objects())}"
        path = os.environ["WATCHED"] + f"/{os.getpid()}"
        with open(path + ".new", "w") as file:
            file.write(whole)
        os.replace(path + ".new", path)

threading.Thread(target=watch, daemon=True).start()
"""


@pytest.mark.slow
def test_no_collection_of_garbage_stops_requests_for_the_modules_of_the_server(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(_WATCHED)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    watched = tmp_path / "watched"
    watched.mkdir()
    environ = {"PYTHONPATH": path, "WATCHED": str(watched)}
    with serving(linear_bundle(tmp_path / "iris").path, environ=environ) as server:
        counts = watched / str(server.process.pid)

        def is_small() -> bool:
            if not counts.exists():
                return False
            frozen, collected = map(int, counts.read_text().split())
            return frozen > 10 * collected

        server.wait_until(is_small)


def test_models_and_requests_share_what_a_worker_has_or_take_what_is_set():
    mib = 2**20
    assert model_memory_bytes(ServeSettings(), 960 * mib) == 500 * mib
    assert request_memory_bytes(ServeSettings(), 960 * mib) == 300 * mib
    assert model_memory_bytes(ServeSettings(workers=2), 1920 * mib) == 500 * mib
    assert request_memory_bytes(ServeSettings(workers=2), 1920 * mib) == 300 * mib
    assert model_memory_bytes(ServeSettings(model_memory_mb=100), 960 * mib) == 100_000_000
    assert request_memory_bytes(ServeSettings(request_memory_mb=100), 960 * mib) == 100_000_000
    assert request_memory_bytes(ServeSettings(), 0) == 0  # Nothing is known: no limit.
    assert model_memory_bytes(ServeSettings(), 0) == 0  # Nothing is known: no limit.


@pytest.mark.slow
def test_a_server_with_too_few_descriptors_says_so_in_one_sentence_and_ends(tmp_path):
    bundle = linear_bundle(tmp_path / "b")
    serve = f"exec {sys.executable} -m lading serve {bundle.path} --port 0 --grpc-port 0"
    for limit in (12, 16, 24):  # grpcio would abort, uvloop would fail in the middle of its start
        command = ["bash", "-c", f"ulimit -n {limit}; {serve}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 4, done.stderr
        assert re.search(
            rf"error: file descriptors: expected at least 32 .*, found \d+ left of {limit}\n", done.stderr
        )
        assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_process_is_gone_within_a_second_of_its_last_word(tmp_path, workers):
    # A run that lasts when the server has drained is abandoned: it must not keep the process.
    bundle = slow_operator_bundle(tmp_path / "b")
    flags = ("--workers", workers, "--grpc-port", "-1", "--drain-timeout-s", "1", "--deadline-s", "1")
    with serving(bundle.path, flags=flags) as server:
        body = {"data": [[1, 1, 1, 9000]]}

        def ask() -> None:
            with contextlib.suppress(httpx.TransportError):  # Its run is abandoned.
                httpx.post(f"{server.url}/predict", json=body, timeout=60)

        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: httpx.get(f"{server.url}/v2/health/live").status_code == 200)
        time.sleep(0.5)  # The run has begun.
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: server.log.rstrip().endswith("INFO drained; bye") or None, timeout_s=60)
        last_line_at = time.monotonic()
        assert server.process.wait(10) == 0
        assert time.monotonic() - last_line_at < 1
        asking.join(10)
