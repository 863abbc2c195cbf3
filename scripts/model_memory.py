#!/usr/bin/env python3
"""Measure the memory of packing, verifying and serving a transformer of 122 MB, beside ONNX Runtime alone.

Six feed-forward blocks over token ids of any number; a row is 128 tokens. Each figure is the peak of a
process of its own, less what it had taken when its libraries were imported. Prints Markdown. Linux.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_WIDTH, _HIDDEN, _WORDS, _LAYERS, _TOKENS = 768, 3072, 3000, 6, 128
_MB = 1e6

_MEASURED = """
import re, sys
from pathlib import Path
import numpy as np
def status(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
{imports}
rows = np.load(sys.argv[2])
before = status("VmRSS")
{work}
print(status("VmHWM") - before)
"""

_ALONE = (
    "import onnxruntime",
    "session = onnxruntime.InferenceSession(sys.argv[1]); session.run(None, {'ids': rows[:1]})",
)
_PACK = (
    "import lading, onnx, onnxruntime\nfrom lading.pack import pack",
    "pack(sys.argv[1], name='transformer', samples=rows, owner='a', purpose='memory', to=sys.argv[3])",
)


def transformer(folder: Path) -> Path:
    """Write the model."""
    random = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> Any:
        return numpy_helper.from_array((random.standard_normal(shape) * 0.02).astype(np.float32), name)

    nodes, constants = (
        [helper.make_node("Gather", ["table", "ids"], ["h0"])],
        [weights("table", _WORDS, _WIDTH)],
    )
    for at in range(_LAYERS):
        constants += [weights(f"up{at}", _WIDTH, _HIDDEN), weights(f"down{at}", _HIDDEN, _WIDTH)]
        nodes += [
            helper.make_node("MatMul", [f"h{at}", f"up{at}"], [f"a{at}"]),
            helper.make_node("Relu", [f"a{at}"], [f"r{at}"]),
            helper.make_node("MatMul", [f"r{at}", f"down{at}"], [f"d{at}"]),
            helper.make_node("Add", [f"h{at}", f"d{at}"], [f"h{at + 1}"]),
        ]
    nodes.append(helper.make_node("ReduceMean", [f"h{_LAYERS}"], ["y"], axes=[1], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "transformer",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", _WIDTH])],
        constants,
    )
    path = folder / "transformer.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def peak_mb(imports: str, work: str, *arguments: Path) -> float:
    """Return by how much a fresh process grows at its peak while it does `work`."""
    code = _MEASURED.format(imports=imports, work=work)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.split()[-1]) / _MB


def verified_mb(bundle: Path) -> float:
    """Return what `lading verify` measures."""
    command = [sys.executable, "-m", "lading.verify.memory_probe", str(bundle), "1"]
    return (
        float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["peak_bytes"])
        / _MB
    )


def served_mb(bundle: Path, rows: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Serve; return the peak when ready, the peak after a request of all rows, and what is left then."""
    command = [sys.executable, "-m", "lading", "serve", str(bundle), "--port", "0", "--grpc-port", "-1"]
    flags = ["--threads", "1", "--deadline-s", "600"]
    server = subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    url = ""
    for line in server.stderr:
        url = url or "".join(re.findall(r"http://[\w.:]+", line))
        if "is ready" in line:
            break
    ready = _status_mb(server.pid, "VmHWM")
    tensor = {"name": "ids", "shape": list(rows.shape), "datatype": "INT64", "data": rows.ravel().tolist()}
    httpx.post(
        f"{url}/v2/models/transformer/infer", json={"inputs": [tensor]}, timeout=900
    ).raise_for_status()
    peaks = ready, _status_mb(server.pid, "VmHWM"), _status_mb(server.pid, "VmRSS")
    server.send_signal(signal.SIGTERM)
    server.communicate()
    return peaks


def _status_mb(pid: int, name: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024 / _MB


def main(count: int) -> None:
    """Measure with `count` samples, and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = transformer(folder)
        rows = np.random.default_rng(0).integers(0, _WORDS, (count, _TOKENS))
        samples, bundle = folder / "rows.npy", folder / "bundle"
        np.save(samples, rows)
        print(f"| {model.stat().st_size / _MB:.0f} MB, {count} samples | peak |\n|---|---|")
        print(
            f"| ONNX Runtime alone: open, run one row | {peak_mb(*_ALONE, model, samples):,.0f} MB |",
            flush=True,
        )
        print(f"| `lading.pack` | {peak_mb(*_PACK, model, samples, bundle):,.0f} MB |", flush=True)
        print(f"| `memory_mb` of `lading verify` | {verified_mb(bundle):,.0f} MB |", flush=True)
        ready, asked, left = served_mb(bundle, rows)
        print(f"| `lading serve`, the whole process, once it is ready | {ready:,.0f} MB |")
        print(f"| … and after a request of {count} rows | {asked:,.0f} MB, {left:,.0f} MB of it kept |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
