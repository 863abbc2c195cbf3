"""``lading monitor run``: tests until it is stopped, and refuses a registry that it cannot write to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from lading.monitor.driver import LEASE
from lading.monitor.slice_tests import key_of, read_tests
from lading.registry import Registry
from support.read_only import read_only
from support.recorded_evidence import push_proved
from support.server_process import serving
from support.sliced_models import SlicedLog, sliced_bundle
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


@pytest.fixture
def released(tmp_path, registry):
    """Release a version with slices; return its bundle."""
    bundle = sliced_bundle(tmp_path / "sliced")
    with Registry.open(str(registry)) as opened:
        push_proved(opened, bundle)
        opened.releases.begin("iris", 1, actor="ann")
    return bundle


def unread(registry, bundle) -> str | None:
    """Return why the slices are not tested, empty if they are, None before the first look."""
    with Registry.open(str(registry)) as opened:
        body = opened.monitoring.states("monitor").get(key_of("iris", bundle.digest))
    return read_tests(body).unread if body is not None else None


@pytest.mark.slow
def test_slices_are_tested_by_the_log_that_is_named(released, registry, tmp_path):
    log = SlicedLog(tmp_path / "named", released)
    log.hour(1_796_040_000.0, 20, 0)
    log.flush()
    command = [sys.executable, "-m", "lading", "monitor", "run", "--log", str(tmp_path / "named")]
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: unread(registry, released) is not None)
        assert unread(registry, released) == ""
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.slow
def test_a_server_tests_slices_by_its_own_log_and_says_that_it_has_none(released, registry, tmp_path):
    flags = ("--log", str(tmp_path / "nowhere"))
    with serving(flags=flags) as server:
        server.wait_until(lambda: "the slices of `iris:1` are not tested" in server.log)
        assert f"prediction log `{tmp_path / 'nowhere'}`: expected a log, found none" in server.log
        wait_until(lambda: unread(registry, released))
