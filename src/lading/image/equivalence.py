"""Whether both release patterns give the same answers: the bundle in an image, and one pulled at start-up.

Both are started as servers and sent the same rows over HTTP. Without a container engine, the bundle is taken
out of the image and served by this machine's own runtime, and the evidence is of that runtime.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np

from lading.blobs.retry import AnswerRefused
from lading.bounded_http import fetch, open_client
from lading.bundle import Bundle, unpack_tar
from lading.client import plain
from lading.clock import iso_time
from lading.errors import ImageInvalid, ServerUnavailable
from lading.evidence import Check, Evidence
from lading.image.engine import LISTENING, START_TIMEOUT_S, Engine
from lading.image.inspect import inspect
from lading.image.labels import BundleEntry
from lading.image.references import open_source
from lading.image.remote import RemoteImage
from lading.runtime.python.host import DEFAULT_HOST, PythonHost
from lading.signature import Array
from lading.verify import verify

RANDOM_ROWS = 256
BATCH_ROWS = 32
SINGLE_ROWS = 32
# The outputs of a batch of comparison rows; no model has more than a few MB of them.
_MAX_ANSWER_BYTES = 256 << 20
_REFERENCE_FOLDER = "/reference"
# Free ports, this machine only, and no registry: a server that is only compared must not be listed.
_ENVIRONMENT = {
    "LADING_PORT": "0",
    "LADING_GRPC_PORT": "-1",
    "LADING_HOST": "127.0.0.1",
    "LADING_REGISTRY": "",
}

# Where this machine keeps environments of models in Python.
_KEPT = ("LADING_CACHE",)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many rows were compared, how many of them differ, and the first difference in words."""

    rows: int
    differing: int
    first: str

    def check(self) -> Check:
        """Return the comparison as a check of evidence."""
        if not self.differing:
            actual = f"{self.rows} of {self.rows}"
            return Check("equivalence", "passed", expected="bit-identical answers", found=actual)
        actual = f"{self.differing} of {self.rows} rows differ; first {self.first}"
        hint = "the two run on different libraries: compare the fingerprints in `lading matrix`"
        return Check("equivalence", "failed", expected="bit-identical answers", found=actual, hint=hint)


def verify_image(
    image: str, reference: Bundle, engine: Engine | None, python: PythonHost = DEFAULT_HOST
) -> Evidence:
    """Verify the image's bundle in its runtime, and compare its answers with those of a reference server.

    The reference server serves the bundle `reference`, on the same runtime. `python` says what of a bundle's
    own may run in both, and without an engine where environments are built from. Raises `ImageInvalid`,
    before anything runs, if the image does not hold that very bundle: otherwise the evidence of the
    comparison would count against the image's own bundle.
    """
    with contextlib.ExitStack() as stack:
        source = open_source(image)
        stack.callback(source.close)
        # Bundles are the same on every platform, so the first one is enough.
        entry = _matching_entry(inspect(source).platforms[0].bundles, reference, image)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lading-")))
        if engine is None:
            with source.open(entry.blob) as file:
                bundle = unpack_tar(file, folder / "bundle")
            evidence = _check_bundle(verify(bundle, python=python), reference, image)
            servers = _local_server(bundle.path, python), _local_server(reference.path, python)
        else:
            insecure = isinstance(source, RemoteImage) and source.repository.plain
            identity = engine.pull(image, insecure=insecure)
            command = ("verify", f"/lading/bundles/{entry.name}", "--json", *_flags(python))
            output = engine.output(identity, command)
            evidence = _check_bundle(_parse_evidence(output), reference, image)
            servers = (
                _image_server(engine, identity, python),
                _reference_server(engine, identity, reference.path, folder, python),
            )
        with servers[0] as url, servers[1] as reference_url:
            comparison = compare(url, reference_url, reference)
    same_bundle = Check("bundle", "passed", expected=f"`{reference.digest}`", found=f"`{evidence.bundle}`")
    checks = (*evidence.checks, same_bundle, comparison.check())
    measured_at = iso_time(time.time(), utc="+00:00")
    return msgspec.structs.replace(evidence, checks=checks, measured_at=measured_at)


def compare(url: str, reference_url: str, bundle: Bundle) -> Comparison:
    """Send two servers the golden rows and random rows between them, and compare the answers."""
    rows = differing = 0
    first = ""
    with open_client(timeout=60) as client:
        for title, inputs in comparison_inputs(bundle):
            body = _body(inputs, bundle)
            answers = [
                _predict(client, server, bundle.manifest.name, body) for server in (url, reference_url)
            ]
            count = len(next(iter(inputs.values())))
            rows += count
            if answers[0] != answers[1]:
                differing += count
                first = first or f"{title}: `{answers[0][:120]!r}` and `{answers[1][:120]!r}`"
    return Comparison(rows, differing, first)


def comparison_inputs(bundle: Bundle) -> Iterator[tuple[str, dict[str, Array]]]:
    """Iterate over titles and inputs: the golden rows, some random rows alone, all random rows in batches."""
    golden = bundle.samples().inputs
    yield "golden rows", dict(golden)
    if not bundle.manifest.signature.batched:
        return
    drawn = {name: _draw(array, seed) for seed, (name, array) in enumerate(golden.items())}
    # A row alone and in a batch may take different kernels.
    for at in range(SINGLE_ROWS):
        yield f"random row {at}", {name: array[at : at + 1] for name, array in drawn.items()}
    for at in range(0, RANDOM_ROWS, BATCH_ROWS):
        yield f"random rows from {at}", {name: array[at : at + BATCH_ROWS] for name, array in drawn.items()}


def _draw(golden: Array, seed: int) -> Array:
    """Draw rows whose elements are each a golden value of the same position or, for floats, between two."""
    random = np.random.default_rng(seed)
    flat = golden.reshape(len(golden), -1)  # [golden rows, elements]
    elements = np.arange(flat.shape[1])
    first, second = (
        flat[random.integers(len(flat), size=(RANDOM_ROWS, len(elements))), elements] for _ in range(2)
    )  # [random rows, elements]
    if golden.dtype.kind == "f":
        share = random.random(first.shape).astype(golden.dtype)
        first = (first + (second - first) * share).astype(golden.dtype)
    return first.reshape(RANDOM_ROWS, *golden.shape[1:])


def _body(inputs: Mapping[str, Array], bundle: Bundle) -> bytes:
    data: Any = {name: array.tolist() for name, array in inputs.items()}
    if len(data) == 1:
        data = next(iter(data.values()))
    outputs = [tensor.name for tensor in bundle.manifest.signature.outputs]
    return msgspec.json.encode({"data": plain(data), "outputs": outputs})


def _predict(client: httpx.Client, url: str, name: str, body: bytes) -> bytes:
    headers = {"content-type": "application/json"}
    request = client.build_request("POST", f"{url}/models/{name}/predict", content=body, headers=headers)
    try:
        response = fetch(client, request, max_bytes=_MAX_ANSWER_BYTES)
    except (AnswerRefused, httpx.RequestError) as error:
        actual = str(error) or type(error).__name__
        raise ServerUnavailable(f"the server at `{url}`", expected="a prediction", found=actual) from error
    # A float is written with the fewest digits that identify it, so equal text means equal bits.
    return f"{response.status_code} ".encode() + response.content


def _matching_entry(entries: list[BundleEntry], reference: Bundle, image: str) -> BundleEntry:
    """Return the entry of the bundle `reference` in the image. Raises `ImageInvalid`."""
    name = reference.manifest.name
    entry = next((entry for entry in entries if entry.name == name), None)
    if entry is None:
        names = ", ".join(f"`{entry.name}`" for entry in entries) or "none"
        raise ImageInvalid(f"image `{image}`", expected=f"a bundle `{name}`", found=names)
    if entry.digest != reference.digest:
        version = f"version {entry.version}, " if entry.version else ""
        raise ImageInvalid(
            f"bundle `{name}` in image `{image}`",
            expected=f"`{reference.digest}`, the bundle to compare with",
            found=f"{version}`{entry.digest}`",
            hint="compare with the version that the image was built from, or rebuild it from the other one",
        )
    return entry


def _check_bundle(evidence: Evidence, reference: Bundle, image: str) -> Evidence:
    """Return the evidence if it is of the bundle that the image's labels state. Raises `ImageInvalid`."""
    # Labels can be wrong; the evidence comes from the files.
    if evidence.bundle != reference.digest:
        where = f"bundle `{evidence.name}` in image `{image}`"
        expected = f"`{reference.digest}`, as the image's labels state"
        raise ImageInvalid(where, expected=expected, found=f"`{evidence.bundle}`")
    return evidence


def _parse_evidence(output: str) -> Evidence:
    class Document(msgspec.Struct):
        evidence: Evidence

    try:
        return msgspec.json.decode(output, type=Document).evidence
    except ValueError as error:
        where = "`lading verify` in the image"
        raise ImageInvalid(where, expected="evidence as JSON", found=output[:200]) from error


def _flags(python: PythonHost) -> tuple[str, ...]:
    # Only where it is needed: the lading of an older image does not know it.
    return () if python.allow == "none" else ("--allow", python.allow)


@contextlib.contextmanager
def _image_server(engine: Engine, image: str, python: PythonHost) -> Iterator[str]:
    """Serve the bundle in an image while the block runs; yields the server's address."""
    container = engine.start(image, ("serve", *_flags(python)), environ=_ENVIRONMENT)
    try:
        yield wait_ready(container.url())
    finally:
        container.stop()


@contextlib.contextmanager
def _reference_server(
    engine: Engine, image: str, bundle: Path, folder: Path, python: PythonHost
) -> Iterator[str]:
    """Serve a bundle of this machine by the runtime of an image while the block runs."""
    # The user in the container is another one, and must be able to read the files.
    for path in (folder, bundle, *bundle.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    command = ("serve", _REFERENCE_FOLDER, *_flags(python))
    container = engine.start(image, command, environ=_ENVIRONMENT, folders={bundle: _REFERENCE_FOLDER})
    try:
        yield wait_ready(container.url())
    finally:
        container.stop()


@contextlib.contextmanager
def _local_server(bundle: Path, python: PythonHost) -> Iterator[str]:
    """Serve a bundle by this machine's own runtime while the block runs."""
    command = [sys.executable, "-m", "lading", "serve", str(bundle), *_flags(python)]
    command += ["--wheels", str(python.wheels)] if python.wheels is not None else []
    # As in a container: the settings of this machine's servers, such as their inventory, do not apply.
    environ = {
        name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith("LADING_")
    }
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stderr=log, env={**environ, **_ENVIRONMENT})  # noqa: S603
        try:
            yield wait_ready(_listening_address(process, log))
        finally:
            process.terminate()
            process.wait(60)


def _listening_address(process: subprocess.Popen[bytes], log: Any) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    text = ""
    while time.monotonic() < deadline and process.poll() is None:
        log.seek(0)
        text = log.read()
        if match := LISTENING.search(text):
            return match[1]
        time.sleep(0.05)
    actual = text.strip()[-500:] or "nothing"
    raise ServerUnavailable("the server here", expected="it to listen", found=actual)


def wait_ready(url: str) -> str:
    """Wait until a server is ready and return its address. Raises `ServerUnavailable` if it fails."""
    deadline = time.monotonic() + START_TIMEOUT_S
    actual = "no answer"
    with open_client() as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError, AnswerRefused):
                response = fetch(client, client.build_request("GET", f"{url}/health"))
                if response.status_code == httpx.codes.OK:
                    return url
                actual = response.text
                # A bundle that failed its proof never gets ready; its reason is in the text.
                if '"health":"failed"' in actual.replace(" ", ""):
                    break
            time.sleep(0.05)
    raise ServerUnavailable(f"the server at `{url}`", expected="it to be ready", found=actual[:500])
