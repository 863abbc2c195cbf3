#!/usr/bin/env python3
"""Measure what each further worker of `lading serve` takes in memory, with models of 200 MB.

Two models, each with its weights in the model file and in external data, loaded by every worker for itself
and shared: a chain of matrices, which ONNX Runtime repacks for its kernels, and a table of embeddings, which
it uses as it is in the file. Prints Markdown. Linux.
"""

from __future__ import annotations

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

import lading
from lading.bundle import Draft, write_bundle

_SIDE, _LAYERS = 3200, 5
_ROWS, _WIDTH = 100_000, 500
_MIB = 2**20


def matrices() -> tuple[Any, np.ndarray[Any, Any]]:
    """Build five multiplications by a matrix of 3,200 × 3,200, and two rows for it."""
    random = np.random.default_rng(0)
    nodes = [helper.make_node("MatMul", [f"h{at}", f"W{at}"], [f"h{at + 1}"]) for at in range(_LAYERS)]
    weights = [
        numpy_helper.from_array((random.standard_normal((_SIDE, _SIDE)) / 57).astype(np.float32), f"W{at}")
        for at in range(_LAYERS)
    ]
    inputs = [helper.make_tensor_value_info("h0", TensorProto.FLOAT, ["batch", _SIDE])]
    outputs = [helper.make_tensor_value_info(f"h{_LAYERS}", TensorProto.FLOAT, ["batch", _SIDE])]
    return model(nodes, inputs, outputs, weights), random.random((2, _SIDE), np.float32)


def embeddings() -> tuple[Any, np.ndarray[Any, Any]]:
    """Build a look-up in a table of 100,000 × 500, and two rows for it."""
    table = np.random.default_rng(0).random((_ROWS, _WIDTH), np.float32)
    nodes = [helper.make_node("Gather", ["table", "id"], ["vector"], axis=0)]
    inputs = [helper.make_tensor_value_info("id", TensorProto.INT64, ["batch"])]
    outputs = [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", _WIDTH])]
    return model(nodes, inputs, outputs, [numpy_helper.from_array(table, "table")]), np.array([3, 70_000])


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any]) -> Any:
    """Put a model together."""
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pack(folder: Path, built: Any, rows: np.ndarray[Any, Any], *, external: bool) -> Path:
    """Pack a model. `lading pack` takes external data into the file; leaving it beside is done here."""
    file = folder / "model.onnx"
    onnx.save(built, file)
    bundle = lading.pack(str(file), name="big", samples=rows, owner="a", purpose="memory", to=folder / "one")
    if not external:
        return bundle.path
    onnx.save(built, file, save_as_external_data=True, location="weights.bin")
    draft = Draft(**{name: getattr(bundle.manifest, name) for name in Draft.__struct_fields__})
    requirements = (bundle.path / "requirements.txt").read_text()
    beside = {"weights.bin": folder / "weights.bin"}
    samples = bundle.samples()
    where = folder / "two"
    write_bundle(where, draft, model=file, samples=samples, requirements=requirements, external=beside)
    return where


def proportional_mib(bundle: Path, workers: int, share: str) -> float:
    """Serve with `workers`, and sum the proportional set sizes of all processes."""
    command = [sys.executable, "-m", "lading", "serve", str(bundle), "--port", "0", "--grpc-port", "-1"]
    flags = ["--workers", str(workers), "--share-weights", share]
    server = subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    ready, url = 0, ""
    for line in server.stderr:
        url = url or "".join(re.findall(r"http://[\w.:]+", line))
        ready += "is ready" in line
        if ready == workers:
            break
    httpx.get(f"{url}/predict/test").raise_for_status()
    below = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    total = sum(_pss(int(pid)) for pid in [server.pid, *map(int, below)])
    server.send_signal(signal.SIGTERM)
    server.communicate()
    return total / _MIB


def _pss(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)[0]) * 1024


def main() -> None:
    """Measure and print."""
    print("| model of 200 MB | weights | shared | 1 worker | 2 | 3 | each further |")
    print("|---|---|---|---|---|---|---|")
    for name, build in (("matrices", matrices), ("embeddings", embeddings)):
        for external in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                bundle = pack(Path(folder), *build(), external=external)
                single = proportional_mib(bundle, 1, "on")
                for share in ("on", "off"):
                    sizes = [single, *(proportional_mib(bundle, workers, share) for workers in (2, 3))]
                    where = "external data" if external else "in the model file"
                    numbers = " | ".join(f"{size:.0f} MiB" for size in sizes)
                    further = f"{sizes[2] - sizes[1]:.0f} MiB"
                    print(f"| {name} | {where} | {share} | {numbers} | {further} |", flush=True)


if __name__ == "__main__":
    main()
