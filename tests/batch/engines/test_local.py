"""Processes that score: they write what a single process writes, and one that ends costs no row."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lading.batch import plan as planning
from lading.batch.run import Options, run_batch
from support.batch_runs import dirty, files
from support.model_code import children
from support.waiting import wait_until


@pytest.mark.slow
def test_processes_write_the_same_bytes_as_one(tmp_path, iris, parquet, monkeypatch):
    monkeypatch.setattr(planning, "PART_ROWS", 1000)
    path = parquet("rows.parquet", 6000)
    for processes in (1, 3):
        run_batch(iris, [path], tmp_path / f"out-{processes}", Options(processes=processes))
    single, three = (
        {path.name: path.read_bytes() for path in (tmp_path / f"out-{processes}").glob("part-*")}
        for processes in (1, 3)
    )
    assert single == three
    assert len(single) == 6


@pytest.mark.slow
def test_a_process_of_the_pool_that_is_killed_costs_no_row(tmp_path, iris, table, start, monkeypatch):
    source = dirty(tmp_path / "rows.parquet", table)
    out = tmp_path / "out"
    process = start(source, out, processes=2)
    killed: set[int] = set()

    def kill_one() -> bool:
        if process.poll() is not None:
            return True
        workers = [pid for pid in children(process.pid) if b"spawn_main" in command_of(pid)]
        for pid in workers[:1]:
            if len(killed) < 2 and pid not in killed and list((out / ".lading/done").glob("*")):
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
        return False

    wait_until(kill_one)
    assert process.returncode == 0, process.stderr.read()
    assert killed
    monkeypatch.setattr(planning, "PART_ROWS", 500)
    run_batch(iris, [source], tmp_path / "whole", Options(keep=("customer",), processes=1))
    assert files(out) == files(tmp_path / "whole")


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
