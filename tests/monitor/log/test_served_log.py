"""The log of real servers: every worker, both transports, and a writer that is killed under load."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from lading.monitor.log.reader import open_log
from support.bundles import linear_bundle, linear_rows
from support.grpc_client import ask as ask_by_grpc
from support.grpc_client import one_row
from support.model_code import children
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

ROWS = linear_rows(rows=2).tolist()


@pytest.fixture
def bundle(tmp_path):
    linear_bundle(tmp_path / "iris")
    return tmp_path / "iris"


def flags(tmp_path, *more: str) -> tuple[str, ...]:
    return ("--log-predictions", "1", "--log", str(tmp_path / "log"), *more)


def count(server: ServerProcess, name: str) -> int:
    page = httpx.get(f"{server.url}/metrics").text
    return int(sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page, re.MULTILINE)))


def writer_pids(server: ServerProcess) -> Iterator[int]:
    # Of every thread: the one that starts a writer again is not the main one.
    for pid in children(server.process.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # One that was killed and is reaped.
            if b"lading.monitor.log.writer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                yield pid


def ask(server: ServerProcess, requests: int) -> None:
    for _ in range(requests):
        httpx.post(f"{server.url}/models/iris/predict", json={"data": ROWS}).raise_for_status()


@pytest.mark.slow
def test_every_worker_and_both_transports_are_logged_and_all_of_it_is_in_files_at_the_end(bundle, tmp_path):
    with serving(bundle, flags=flags(tmp_path, "--workers", "2")) as server:
        ask(server, 20)
        with grpc.insecure_channel(server.grpc_target()) as channel:
            ask_by_grpc(channel, "ModelInfer", **one_row(rows=2))
        wait_until(lambda: count(server, "lading_prediction_log_records_total") == 42, 30)
        assert count(server, "lading_prediction_log_dropped_total") == 0
        assert server.stop() == 0
    log = open_log(str(tmp_path / "log"))
    rows = log.query(
        "iris", "SELECT count(*) AS n, count(DISTINCT id) AS ids, max(status) AS status FROM log"
    )
    assert rows.to_pylist() == [{"n": 42, "ids": 21, "status": "OK"}]
    assert not list((tmp_path / "log" / ".segments").glob("*.arrow"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_do_not_notice_that_the_writer_is_killed(bundle, tmp_path, workers):
    with serving(bundle, flags=flags(tmp_path, "--workers", workers, "--grpc-port", "-1")) as server:
        ask(server, 5)
        wait_until(lambda: count(server, "lading_prediction_log_records_total") == 10, 30)
        (pid,) = writer_pids(server)
        os.kill(pid, signal.SIGKILL)
        ask(server, 5)
        wait_until(lambda: [other for other in writer_pids(server) if other != pid], 30)
        ask(server, 5)

        def all_counted() -> bool:
            names = ("lading_prediction_log_records_total", "lading_prediction_log_dropped_total")
            return sum(count(server, name) for name in names) == 30

        wait_until(all_counted, 30)
        written = count(server, "lading_prediction_log_records_total")
        assert written >= 20
        assert server.stop() == 0
    rows = open_log(str(tmp_path / "log")).query(
        "iris", "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM log"
    )
    assert written <= rows["n"][0].as_py() <= 30
    assert rows["ids"][0].as_py() * 2 == rows["n"][0].as_py()


@pytest.mark.slow
def test_a_server_whose_log_cannot_be_written_answers_and_counts(bundle, tmp_path):
    log = tmp_path / "log"
    with serving(bundle, flags=flags(tmp_path, "--grpc-port", "-1")) as server:
        wait_until(lambda: list(writer_pids(server)), 30)
        shutil.rmtree(log)
        log.write_text("no folder any more")
        ask(server, 3)
        wait_until(lambda: count(server, "lading_prediction_log_dropped_total") == 6, 30)
        log.unlink()
        ask(server, 3)
        wait_until(lambda: count(server, "lading_prediction_log_records_total") == 6, 30)
        assert server.stop() == 0
