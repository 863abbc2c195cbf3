"""What the processes of a server use, under the names that Prometheus' clients have."""

from __future__ import annotations

import os
import time

import pytest

from lading.server.metrics import Metrics
from lading.server.metrics.process import read_process
from lading.server.metrics.shared_memory import SharedCounters, SharedMemory
from lading.server.process.compose import make_plane, metrics_page
from lading.settings import ServeSettings
from support.metrics_page import samples


def test_the_process_is_read_as_the_kernel_counts_it():
    used = read_process(os.getpid())
    assert used is not None
    assert 2**24 < used.resident_bytes < used.virtual_bytes
    assert 3 <= used.open_fds <= used.max_fds
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert booted_at - 2 < used.started_at < time.time() + 2


def test_an_open_file_is_counted(tmp_path):
    before = read_process(os.getpid()).open_fds
    with (tmp_path / "file").open("w"):
        assert read_process(os.getpid()).open_fds == before + 1


def test_a_process_that_has_ended_is_not_shown(tmp_path):
    assert read_process(2**22 + 1) is None
    assert read_process(1, tmp_path) is None


def test_the_workers_are_added_up():
    memory = SharedMemory(2)
    workers = []
    for number in (1, 2):
        memory.began(number, os.getpid())
        workers.append(Metrics(make_plane(ServeSettings()), SharedCounters(memory, number)))
        workers[-1].publish()
    values = samples(metrics_page(workers[0], "lading").decode())
    used = read_process(os.getpid())
    assert values["process_max_fds{}"] == 2 * used.max_fds
    assert values["process_open_fds{}"] == pytest.approx(2 * used.open_fds, abs=4)
    assert values["process_start_time_seconds{}"] == used.started_at
    assert values["process_cpu_seconds_total{}"] > 0
