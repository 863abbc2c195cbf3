"""Logging of a serving process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from datetime import datetime

import pytest

from lading.logs import DUMP_STACKS_SIGNAL, set_up_logging


def test_a_line_begins_with_date_and_time_in_utc(capsys):
    set_up_logging("info")
    logging.getLogger("lading.server").info("iris is ready")
    written = capsys.readouterr().err.partition(" ")[0]
    assert written.endswith("Z")
    assert abs(datetime.fromisoformat(written).timestamp() - time.time()) < 60


@pytest.mark.parametrize(("worker", "line"), [(0, "INFO iris is ready"), (2, "INFO worker 2: iris is ready")])
def test_a_line_names_the_worker_if_there_are_several(capsys, worker, line):
    set_up_logging("info", worker)
    logging.getLogger("lading.server").info("iris is ready")
    assert capsys.readouterr().err.strip().partition(" ")[2] == line


def test_uvicorn_logs_warnings_only_and_only_once(capsys):
    set_up_logging("debug")
    set_up_logging("debug")
    log = logging.getLogger("uvicorn.error")
    log.info("Started server process")
    log.warning("Invalid HTTP request received.")
    assert capsys.readouterr().err.count("\n") == 1


def test_a_process_that_hangs_writes_its_stack_on_the_signal_and_lives_on():
    code = (
        "import os, signal\nfrom lading.logs import show_stacks\nshow_stacks()\n"
        "def hangs():\n    os.kill(os.getpid(), int(os.environ['NUMBER']))\nhangs()\nprint('lives')\n"
    )
    environ = {**os.environ, "NUMBER": str(int(DUMP_STACKS_SIGNAL))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert "in hangs" in done.stderr
    assert done.stdout == "lives\n"


def test_a_process_in_a_busy_loop_writes_its_stack_on_the_signal():
    code = "from lading.logs import show_stacks\nshow_stacks()\ndef stuck():\n    print(flush=True)\n"
    command = [sys.executable, "-c", f"{code}    while True: pass\nstuck()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(DUMP_STACKS_SIGNAL)
        head, first = process.stderr.readline(), process.stderr.readline()
        process.kill()
    assert "most recent call first" in head
    assert "in stuck" in first
