"""A process that drives rollouts."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_driver_runs_until_sigterm_and_exits_with_0(filled):
    command = [sys.executable, "-m", "lading", "rollout", "run"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert "is ready to drive; Ctrl-C stops it" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
