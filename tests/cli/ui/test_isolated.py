"""Packing models that crash or never end: a sentence and an exit code, and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.crashing_models import ZEROS, crashing_on_zeros, crashing_while_it_loads, endless_run
from support.onnx_graphs import identity
from support.waiting import wait_until

REFUSED = 1
INTERRUPTED = 130


def command(folder: Path, model: bytes, *flags: str) -> list[str]:
    (folder / "model.onnx").write_bytes(model)
    line = ["pack", "model.onnx", "--name", "iris", "--owner", "ml@example.com", *flags]
    return [sys.executable, "-m", "lading", *line]


def pack(folder: Path, model: bytes, *flags: str) -> subprocess.CompletedProcess[str]:
    line = command(folder, model, *flags)
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "ending"),
    [
        (crashing_while_it_loads, "that loading the ONNX model ended with SIGSEGV (11) in `onnxruntime`"),
        (crashing_on_zeros, "that running the ONNX model ended with SIGABRT (6) in `onnxruntime`"),
    ],
)
def test_a_model_that_crashes_is_refused_with_action_signal_and_library(tmp_path, model, ending):
    np.save(tmp_path / "zeros.npy", ZEROS)
    done = pack(tmp_path, model(), "--samples", "zeros.npy")
    assert done.returncode == REFUSED
    assert (
        f"error: packing `model.onnx`: expected a model that runs to its end, found {ending}" in done.stderr
    )
    assert not (tmp_path / "iris.bundle").exists()


@pytest.mark.slow
def test_a_model_that_never_ends_is_given_up_at_the_limit(tmp_path):
    done = pack(tmp_path, endless_run(), "--timeout-s", "6")
    assert done.returncode == REFUSED
    assert "found that running the ONNX model had not ended after 6 s" in done.stderr


@pytest.mark.slow
def test_a_packed_model_and_a_refusal_come_out_as_from_one_process(tmp_path):
    done = pack(tmp_path, identity("float32", "batch", 4))
    assert (done.returncode, done.stdout) == (0, "iris.bundle\n")
    done = pack(tmp_path, b"no model")
    assert done.returncode == REFUSED
    assert done.stderr.startswith("error: ")


@pytest.mark.slow
def test_ctrl_c_ends_a_run_in_native_code(tmp_path):
    packing = subprocess.Popen(command(tmp_path, endless_run()), cwd=tmp_path, start_new_session=True)
    wait_until(lambda: _busy_child(packing.pid))
    child = _busy_child(packing.pid)
    os.killpg(packing.pid, signal.SIGINT)
    assert packing.wait(10) == INTERRUPTED
    wait_until(lambda: not Path(f"/proc/{child}").exists())


def _busy_child(pid: int) -> int:
    """Return the only child once it has computed for longer than imports take; 0 until then."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if len(children) != 1:
        return 0
    fields = Path(f"/proc/{children[0]}/stat").read_text().rpartition(")")[2].split()
    return int(children[0]) if int(fields[11]) / os.sysconf("SC_CLK_TCK") > 1.5 else 0  # proc(5): utime
