"""Measure what an ONNX file takes in memory: served by `lading serve`, and opened by ONNX Runtime alone.

Both are whole processes of their own, and both answer the same golden row once; the peak is that of the
kernel (``VmHWM``). Linux.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from lading.bundle import Bundle
from lading.convert import graph
from lading.pack import pack
from lading.server.protocols.oip.tensors import DATATYPES, to_bytes
from lading.verify.golden_replay import repeat_rows

TIMEOUT_S = 150
LENGTH = "inference-header-content-length"


def served_mb(bundle: Bundle) -> float:
    """Return the peak of a server of `bundle` that is ready and has answered a request of one row."""
    command = [sys.executable, "-P", "-m", "lading", "serve", os.fspath(bundle.path), "--port", "0"]
    server = subprocess.Popen([*command, "--grpc-port", "-1"], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    url = ""
    try:
        for line in server.stderr:
            url = url or "".join(re.findall(r"http://[\w.:]+\d", line))
            if "is ready" in line:
                break
        body, headers = binary_request(bundle, one_row(bundle))
        address = f"{url}/v2/models/{bundle.manifest.name}/infer"
        httpx.post(address, content=body, headers=headers, timeout=TIMEOUT_S).raise_for_status()
        status = Path(f"/proc/{server.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) * 1024 / 1e6
    finally:
        server.terminate()
        server.communicate()


def plain_mb(model: Path, bundle: Bundle) -> float:
    """Return the peak of a process of ONNX Runtime that opened `model` and ran one row of `bundle` twice."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "row.npz"
        arrays = {
            f"input_{name}": array.astype(str) if array.dtype == object else array
            for name, array in one_row(bundle).items()
        }
        np.savez(rows, allow_pickle=False, **arrays)
        command = [sys.executable, "-P", "-c", _PLAIN, os.fspath(model), os.fspath(rows)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return float(done.stdout)


def without_model(folder: Path) -> tuple[float, float]:
    """Return both peaks for a model that does nothing."""
    onnx = graph.import_onnx()
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 1]) for name in ("x", "y")
    ]
    nodes = [onnx.helper.make_node("Identity", ["x"], ["y"])]
    opsets = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "none", ends[:1], ends[1:]), opset_imports=opsets, ir_version=8
    )
    file = folder / "none.onnx"
    onnx.save(model, file)
    bundle = pack(file, name="none", owner="a@example.com", to=folder / "none.bundle")
    return plain_mb(file, bundle), served_mb(bundle)


# Without anything of lading, and with the options that ONNX Runtime has by itself.
_PLAIN = r"""
import re, sys
import numpy, onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
rows = numpy.load(sys.argv[2])
row = {
    name[6:]: rows[name].astype(object) if rows[name].dtype.kind == "U" else rows[name] for name in rows.files
}
for _ in range(2):  # the second run has a plan of its memory
    session.run(None, row)
status = open("/proc/self/status").read()
print(int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) * 1024 / 1e6)
"""


def one_row(bundle: Bundle) -> dict[str, Any]:
    """Return the first golden row, or all of the golden call where rows cannot be taken out of it."""
    return repeat_rows(bundle.manifest.signature, bundle.samples().inputs, 1)


def binary_request(bundle: Bundle, inputs: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a request of the Open Inference Protocol with binary tensors."""
    described, parts = [], []
    for tensor in bundle.manifest.signature.inputs:
        data = to_bytes(np.ascontiguousarray(inputs[tensor.name]))
        parts.append(data)
        described.append(
            {
                "name": tensor.name,
                "shape": list(inputs[tensor.name].shape),
                "datatype": DATATYPES[tensor.dtype],
                "parameters": {"binary_data_size": len(data)},
            }
        )
    head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    return b"".join([head, *parts]), {LENGTH: str(len(head))}
