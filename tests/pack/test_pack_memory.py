"""What packing takes in memory follows the model, and not the number of samples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.large_models import draw
from support.onnx_graphs import graph, node, tensor

PACK = """
import re, sys
from pathlib import Path
import numpy as np, onnx, onnxruntime
from lading.pack import pack

def status_mb(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

folder = Path(sys.argv[1])
ids = np.random.default_rng(0).integers(0, 500, (128, 128))
before = status_mb("VmRSS")
pack(str(folder / "m.onnx"), name="m", samples=ids, owner="t@example.com", purpose="x", to=folder / "b")
print(status_mb("VmHWM") - before)
"""


def write_tokens_model(path: Path) -> None:
    nodes = [
        node("Gather", "table ids", "e"),
        node("MatMul", "e up", "a"),
        node("Relu", "a", "r"),
        node("MatMul", "r down", "c"),
        node("ReduceMean", "c", "y", axes=[1], keepdims=0),
    ]
    inputs, outputs = [tensor("ids", "int64", "batch", "length")], [tensor("y", "float32", "batch", 8)]
    weights = {"table": draw(500, 64), "up": draw(64, 4096), "down": draw(4096, 8)}
    path.write_bytes(graph(nodes, inputs, outputs, constants=weights))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_packing_does_not_grow_with_the_samples(tmp_path):
    write_tokens_model(tmp_path / "m.onnx")
    done = subprocess.run(
        [sys.executable, "-c", PACK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # In one run the 128 rows take 268 MB, several times: 875 MB in all.
    assert float(done.stdout) < 300
