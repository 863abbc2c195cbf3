"""ONNX Runtime's telemetry: off through lading, on without it, so that the proof proves something.

The first test looks at the files of a fresh home, the second at the system calls. Each child has an
environment of its own: under `CI` or `GITHUB_ACTIONS` ONNX Runtime keeps quiet by itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lading
from support.bundles import linear_bundle

WITH_LADING = """
import sys, time
from lading.bundle import Bundle
from lading.runtime.open import load_runtime

bundle = Bundle.open(sys.argv[1])
runtime = load_runtime(bundle)
runtime.run(bundle.samples().inputs)
time.sleep(2)
runtime.run(bundle.samples().inputs)
runtime.close()
"""
# It writes while it is imported and sends later, so this ends before anything could leave the machine.
WITHOUT_LADING = "import os, onnxruntime; os._exit(0)"
# System calls that open a socket, or could create or change a file.
NETWORK = "socket,socketpair,connect,sendto,sendmsg,sendmmsg"
FILES = "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2"


def environment(home: Path) -> dict[str, str]:
    source = Path(lading.__file__).parents[1]
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_nothing_is_written_to_a_fresh_home(tmp_path, home):
    bundle = linear_bundle(tmp_path / "b")
    command = [sys.executable, "-c", WITH_LADING, str(bundle.path)]
    subprocess.run(command, env=environment(home), check=True, cwd=home)
    assert list(home.rglob("*")) == []


def test_onnx_runtime_alone_writes_to_a_fresh_home(home):
    subprocess.run([sys.executable, "-c", WITHOUT_LADING], env=environment(home), check=True, cwd=home)
    assert (home / ".cache" / "Microsoft" / "DeveloperTools" / ".onnxruntime").is_dir()


@pytest.mark.slow
def test_no_socket_is_opened_and_no_file_created_within_two_seconds(tmp_path, home):
    bundle = linear_bundle(tmp_path / "b")
    trace = tmp_path / "trace"
    watch = ["strace", "-f", "-qq", "-e", f"trace={NETWORK},{FILES}", "-o", str(trace)]
    command = [*watch, sys.executable, "-c", WITH_LADING, str(bundle.path)]
    subprocess.run(command, env=environment(home), check=True, cwd=home)
    calls = trace.read_text().splitlines()
    assert any("model.onnx" in call for call in calls), "the trace shows the model being read"
    network = re.compile(rf"\b({NETWORK.replace(',', '|')})\(")
    assert [call for call in calls if network.search(call)] == []
    writing = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|\b(creat|mkdir\w*|rename\w*)\(")
    # /proc and /dev hold no files: a thread names itself there.
    assert [call for call in calls if writing.search(call) and not re.search(r'"/(proc|dev)/', call)] == []
    lookup = re.compile(r"/etc/(resolv\.conf|hosts|nsswitch\.conf)|libnss|libresolv")
    assert [call for call in calls if lookup.search(call)] == []
