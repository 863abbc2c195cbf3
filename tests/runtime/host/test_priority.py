"""Niceness beside the caller's own, which only root may take away."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys
from lading.runtime.host.priority import step_behind
os.nice(int(sys.argv[1]))
if os.geteuid() == 0:
    os.setuid(65534)
child = os.fork()
if child == 0:
    signal.pause()
try:
    step_behind(child, 5)
    print(os.getpriority(os.PRIO_PROCESS, 0), os.getpriority(os.PRIO_PROCESS, child))
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("own", [0, 12, 18])
def test_a_process_comes_behind_one_that_is_nice_itself(own):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(own)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    before, behind = map(int, done.stdout.split())
    assert behind == min(19, before + 5)
