"""Logging of a serving process."""

from __future__ import annotations

import json
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


def json_lines(code: str) -> list[dict]:
    """Run `code` in a process that logs as worker 2 in JSON; return its lines."""
    begin = (
        "import logging\nfrom lading.logs import fields, set_up_logging\nset_up_logging('info', 2, 'json')\n"
    )
    done = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_of_json_has_what_text_has_and_what_it_is_about():
    log = "logging.getLogger('lading.server')"
    code = f"{log}.warning('%s is\\nready', 'iris', extra=fields(model='iris', version=3, trace_id=''))"
    (line,) = json_lines(code)
    written = line.pop("time")
    assert written.endswith("Z")
    assert abs(datetime.fromisoformat(written).timestamp() - time.time()) < 60
    assert line == {
        "level": "warning",
        "logger": "lading.server",
        "worker": 2,
        "message": "iris is\nready",
        "model": "iris",
        "version": 3,
    }


def test_an_exception_is_part_of_its_line():
    code = "try:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.getLogger('lading.x').exception('failed')"
    (line,) = json_lines(code)
    assert line["message"] == "failed"
    assert "ZeroDivisionError: division by zero" in line["exception"]


def test_in_json_other_libraries_and_threads_that_end_write_no_other_lines():
    code = (
        "import threading, warnings\nwarnings.warn('old')\nlogging.getLogger('asyncio').error('lost')\n"
        "logging.getLogger('uvicorn.error').warning('invalid')\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='turns')\nthread.start()\nthread.join()"
    )
    lines = json_lines(code)
    assert [line["logger"] for line in lines] == ["py.warnings", "asyncio", "uvicorn.error", "lading.server"]
    assert "old" in lines[0]["message"]
    assert "`turns`" in lines[3]["message"]
    assert "ZeroDivisionError" in lines[3]["exception"]


def test_a_line_of_json_holds_any_text():
    log = "logging.getLogger('lading.x')"
    lines = json_lines(f"{log}.error('%s', 'ü\\udc80')\n{log}.error('한국어', extra=fields(model=object))")
    assert lines[0]["message"] == "ü\udc80"
    assert lines[1]["message"] == "한국어"
    assert lines[1]["model"] == "<class 'object'>"
