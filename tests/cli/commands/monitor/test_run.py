"""``lading monitor run``: tests until it is stopped, and refuses a registry that it cannot write to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from lading.monitor.driver import LEASE
from support.read_only import read_only
from support.waiting import wait_until


@pytest.mark.slow
@pytest.mark.usefixtures("windows")
def test_it_holds_the_lease_and_tests_until_it_is_stopped(opened, tmp_path):
    command = [sys.executable, "-m", "lading", "monitor", "run", "--registry", str(tmp_path / "registry")]
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: opened.monitoring.states("monitor"))
        assert opened.fleet.lease_holder(LEASE) is not None
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "is ready to watch" in stderr
    assert opened.fleet.lease_holder(LEASE) is None


def test_a_read_only_registry_is_refused(lading, opened, tmp_path):
    opened.close()
    with read_only(tmp_path / "registry", tmp_path / "mounted") as mounted:
        code, _, err = lading("monitor", "run", "--registry", mounted)
    assert code != 0
    assert "read-only" in err
