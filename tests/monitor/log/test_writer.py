"""The process that writes the log, killed at any moment: what it has written stays, and nothing twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from lading.log_frames import WriterSettings
from lading.monitor.log.keeper import convert_closed
from lading.monitor.log.reader import open_log
from lading.monitor.log.segments import read_segment, segment_paths
from lading.monitor.log.writer import write_log
from lading.server.observe.log_sender import LogSender
from lading.server.observe.prediction_log import PredictionLog
from lading.server.process.log_writer import LogWriter
from support.predictions import Counts, chunk, parquet_files, writer_settings
from support.waiting import wait_until

EVERY = 7


class Logging:
    """A writer's process, and what a server sends it: requests with rising ids."""

    def __init__(self, root, writer=LogWriter, **settings) -> None:
        self.root = root
        self.writer = writer(writer_settings(root, **settings))
        self.writer.check()
        self.sender = LogSender(self.writer.inbox)
        self.counts = Counts()
        self.log = PredictionLog(1.0, self.sender, replica="replica-1")
        self.log.start(self.counts)
        self.sent = 0
        self.sent_at: dict[str, float] = {}

    def send(self, requests: int = 100) -> None:
        ids = [f"{self.sent + at:08d}" for at in range(requests)]
        self.log(chunk(ids, ended_at=[time.time()] * requests))
        self.sent_at |= dict.fromkeys(ids, time.monotonic())
        self.sent += requests

    def until_written(self, records: int) -> None:
        def written() -> bool:
            self.writer.check()
            return self.counts.records >= records

        wait_until(written, 20, lambda: f"{self.counts.written} {self.counts.dropped}")

    def send_until_written(self) -> None:
        """Send until the writer confirms something: what it was sent before it was killed, it may not."""
        before = self.counts.records

        def written() -> bool:
            self.writer.check()
            self.send(5)
            return self.counts.records > before

        wait_until(written, 20, lambda: f"{self.counts.written} {self.counts.dropped}")

    def close(self) -> None:
        self.sender.close(10)
        self.writer.close(20)


@pytest.fixture
def start(tmp_path):
    running = []

    def begin(writer=LogWriter, **settings) -> Logging:
        running.append(Logging(tmp_path / "log", writer, **settings))
        return running[-1]

    yield begin
    for logging in running:
        if logging.sender.is_running:
            logging.close()


def ids_in(root) -> list[str]:
    """Return the ids of all records of a log, each file read by DuckDB and by pyarrow."""
    ids = []
    for path in parquet_files(root):
        table = pq.read_table(path)
        counted = duckdb.sql(f"SELECT count(*) FROM read_parquet('{path}')").fetchall()
        assert counted == [(table.num_rows,)]
        ids += table.column("id").to_pylist()
    return ids


@pytest.mark.slow
def test_what_was_sent_is_in_files_when_the_server_has_ended(start):
    logging = start()
    for _ in range(5):
        logging.send()
    logging.close()
    assert sorted(ids_in(logging.root)) == [f"{at:08d}" for at in range(500)]
    assert (logging.counts.records, logging.counts.dropped) == (500, {})
    assert segment_paths(logging.root) == []


@pytest.mark.slow
def test_records_can_be_queried_before_they_are_in_a_file(start):
    logging = start(flush_s=0.05)
    logging.send()
    logging.until_written(100)
    assert parquet_files(logging.root) == []
    assert open_log(str(logging.root)).query("iris", "SELECT count(*) AS n FROM log").to_pylist() == [
        {"n": 100}
    ]


@pytest.mark.slow
def test_the_writer_ignores_the_signals_that_end_a_server(start):
    logging = start(flush_s=0.05)
    logging.send()
    logging.until_written(100)
    for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(logging.writer.pid, kind)
    logging.send()
    logging.until_written(200)


@pytest.mark.slow
def test_a_killed_writer_is_replaced_and_what_it_had_not_confirmed_counts_as_dropped(start):
    logging = start(flush_s=0.05)
    logging.send()
    logging.until_written(100)
    os.kill(logging.writer.pid, signal.SIGKILL)
    logging.send()  # Before anyone has noticed.

    def settled() -> bool:
        logging.writer.check()
        return logging.counts.records == 200 or bool(logging.counts.dropped)

    wait_until(settled, 20)  # It was on its way to the first writer, or the second has it.
    before = logging.counts.records
    logging.send()
    logging.until_written(before + 100)
    logging.close()
    ids = ids_in(logging.root)
    assert len(ids) == len(set(ids)) == logging.counts.records
    assert logging.counts.records + logging.counts.dropped.get("writer_ended", 0) == 300


class ForkedWriter:
    """The writer, forked from a process that has imported it already, so that a start takes milliseconds."""

    def __init__(self, settings: WriterSettings) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["lading.monitor.log.writer"])
        self.inbox, self._read_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._settings = settings
        self._process: Any = None

    def kill(self) -> None:
        self._process.kill()
        self._process.join()  # Until then it would pass for alive.

    def check(self) -> None:
        if self._process is None or not self._process.is_alive():
            arguments = (self._read_end, self._settings)
            self._process = self._context.Process(target=write_log, args=arguments)
            self._process.start()

    def close(self, timeout_s: float) -> None:
        self.inbox.close()
        self._read_end.close()
        self._process.join(timeout_s)
        self._process.close()


@pytest.mark.alone
@pytest.mark.slow
def test_a_writer_killed_at_every_seventh_moment_loses_no_more_than_a_second_and_repeats_nothing(start):
    """Kill it after 7, 14, 21 … ms, in segments so short that every step of its life is met."""
    settings = {"flush_s": 0.02, "segment_bytes": 15_000, "segment_s": 0.05}
    logging = start(ForkedWriter, **settings)
    root, sums, kills, ups = logging.root, [], [], []
    for delay_ms in range(EVERY, 25 * EVERY, EVERY):
        logging.send_until_written()
        ups.append(time.monotonic())
        ends_at = time.perf_counter() + delay_ms / 1000
        while (left_s := ends_at - time.perf_counter()) > 0:
            logging.send(20)
            time.sleep(min(0.004, left_s))  # A steady rate of requests, not a flood.
        kills.append(time.monotonic())
        logging.writer.kill()
        # Every segment is readable at this moment, up to its last whole batch.
        for path in segment_paths(root):
            opened = read_segment(path)
            assert opened is None or all(batch.validate() is None for batch in opened[2])
        if delay_ms % (10 * EVERY) == 0:
            sums += (
                open_log(str(root))
                .query("iris", "SELECT count(*) - count(DISTINCT id) FROM log")[0]
                .to_pylist()
            )
    logging.close()
    convert_closed(root)
    ids, counts = ids_in(root), logging.counts
    assert sum(sums) == 0
    assert len(ids) == len(set(ids))
    # What was confirmed is in it, and what was not is counted as dropped, although some of it is, too.
    assert counts.records <= len(ids) <= logging.sent
    assert counts.records + counts.dropped["writer_ended"] == logging.sent
    written = set(ids)
    lost = [at for request, at in logging.sent_at.items() if request not in written]
    # Sent less than a second before a writer was killed, or while none was running.
    outages = [(kill - 1, up) for kill, up in zip(kills, [*ups[1:], time.monotonic()], strict=True)]
    assert [at for at in lost if not any(began <= at <= ended for began, ended in outages)] == []


@pytest.mark.slow
def test_records_of_an_hour_are_in_its_folder(start):
    logging = start()
    at = 1_796_040_000.0
    logging.log(chunk(["a", "b"], ended_at=[at - 0.5, at + 0.5]))
    logging.close()
    folders = [str(path.parent.relative_to(logging.root)) for path in parquet_files(logging.root)]
    assert folders == ["model=iris/date=2026-11-30/hour=11", "model=iris/date=2026-11-30/hour=12"]
