"""A program beside the server: started again with back-off, ended by force if it must be."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from lading.server.process.kept_process import KeptProcess
from support.waiting import wait_until

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").close()
time.sleep(600)
"""


def test_a_program_that_ends_is_started_again_and_later_each_time(caplog):
    now = [0.0]
    kept = KeptProcess("the clock", SLEEPS, clock=lambda: now[0])
    delays = []
    try:
        for _ in range(3):
            kept.check()
            pid = kept.pid
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: (kept.check(), kept.pid != pid)[1])  # noqa: B023 - called in this turn
            delays.append(kept.due_in_s() if not kept.pid else 0.0)
            now[0] += delays[-1]
    finally:
        kept.check()
        kept.close()
    assert delays == [0.0, 0.5, 1.0]
    assert "the clock ended (-9); starting another in 0.5 s" in caplog.text
    assert kept.pid == 0


def test_a_program_that_cannot_be_started_is_tried_again_later(caplog, tmp_path):
    kept = KeptProcess("the clock", [str(tmp_path / "missing")], clock=lambda: 0.0)
    kept.check()
    kept.check()
    assert kept.pid == 0
    assert kept.due_in_s() >= 1.0
    assert caplog.text.count("the clock cannot be started: No such file or directory") == 1
    kept.close()


def test_a_program_that_does_not_end_is_killed(caplog, tmp_path):
    started = tmp_path / "started"
    kept = KeptProcess("the clock", [sys.executable, "-c", STUBBORN, str(started)], end_s=0.05)
    kept.check()
    pid = kept.pid
    wait_until(started.exists)
    kept.close()
    assert "the clock has not ended within 0.05 s; killing it" in caplog.text
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
