"""Models that crash or never end: verification says so and ends, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lading.errors import ModelCrashed, ModelEndless
from lading.verify import verify
from lading.verify.isolation import Child
from support.bundles import linear_bundle
from support.crashing_models import (
    ZEROS,
    crashing_bundle,
    crashing_on_zeros,
    crashing_while_it_loads,
    endless_run,
)
from support.model_code import children
from support.verified_bundles import by_name, outcomes
from support.waiting import wait_until


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "step", "action"),
    [
        (crashing_while_it_loads, "session", "loading the model"),
        (crashing_on_zeros, "golden", "running the golden samples"),
    ],
)
def test_a_crash_fails_the_check_of_its_step_and_names_the_signal(tmp_path, model, step, action):
    evidence = verify(crashing_bundle(tmp_path / "b", model(), ZEROS))
    assert [check.name for check in evidence.failures] == [step]
    sentence = by_name(evidence)[step].found
    assert f"that {action} ended with SIG" in sentence
    assert "in ONNX Runtime" in sentence
    assert outcomes(evidence)["latency"] == outcomes(evidence)["memory"] == "skipped"
    assert outcomes(evidence)["size"] == "passed"


@pytest.mark.slow
def test_a_run_without_an_end_is_given_up_at_the_limit(tmp_path):
    bundle = crashing_bundle(tmp_path / "b", endless_run())
    began = time.monotonic()
    evidence = verify(bundle, timeout_s=2)
    assert time.monotonic() - began < 10
    assert "running the golden samples had not ended after 2 s" in by_name(evidence)["golden"].found


@pytest.mark.slow
def test_ctrl_c_ends_verification_and_its_process(tmp_path):
    bundle = crashing_bundle(tmp_path / "b", endless_run())
    command = [sys.executable, "-m", "lading", "verify", str(bundle.path)]
    verifying = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        # The process of the model takes a while to begin; a Ctrl-C before is not the case.
        wait_until(lambda: _is_busy(children(verifying.pid)), within_s=30)
        (child,) = children(verifying.pid)
        os.killpg(verifying.pid, signal.SIGINT)
        assert verifying.wait(10) == 130
        wait_until(lambda: not Path(f"/proc/{child}").exists())
    finally:
        verifying.kill()
        verifying.wait()


@pytest.mark.slow
def test_the_process_of_a_model_ends_with_the_one_that_started_it(tmp_path):
    bundle = crashing_bundle(tmp_path / "b", endless_run())
    command = [sys.executable, "-m", "lading", "verify", str(bundle.path)]
    verifying = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until(lambda: _is_busy(children(verifying.pid)), within_s=30)
    (child,) = children(verifying.pid)
    verifying.kill()
    verifying.wait()
    wait_until(lambda: not Path(f"/proc/{child}").exists())


@pytest.mark.slow
def test_a_rehearsal_raises_what_ended_it(tmp_path):
    crashing = crashing_bundle(tmp_path / "a", crashing_on_zeros(), ZEROS)
    with pytest.raises(ModelCrashed, match=r"running the golden samples ended with SIGABRT \(6\)"):
        Child("rehearse", crashing, threads=1, timeout_s=60).outcome().raise_error()
    endless = crashing_bundle(tmp_path / "b", endless_run())
    with pytest.raises(ModelEndless, match="had not ended after 1 s"):
        Child("rehearse", endless, threads=1, timeout_s=1).outcome().raise_error()
    Child("rehearse", linear_bundle(tmp_path / "c"), threads=1, timeout_s=60).outcome().raise_error()


def _is_busy(pids: set[int]) -> bool:
    """Whether the only process has computed for longer than its start takes."""
    if len(pids) != 1:
        return False
    (pid,) = pids
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK") > 0.6  # proc(5): utime
