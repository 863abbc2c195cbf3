"""Whether both release patterns answer alike: the bundle in an image, and the one pulled at the start.

Both are started as servers and asked the same rows over HTTP. Where no container engine is, the bundle is
taken out of the image and served by this machine's own runtime, and the evidence is of that.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import numpy as np

from lading.bundle import Bundle, unpack_tar
from lading.client import plain
from lading.clock import iso_time
from lading.errors import ImageInvalid, ServerUnavailable
from lading.evidence import Check, Evidence
from lading.image.engine import START_S, Engine
from lading.image.inspect import inspect
from lading.image.labels import BundleEntry
from lading.image.references import open_source
from lading.image.remote import RemoteImage
from lading.signature import Array
from lading.verify import verify

RANDOM_ROWS = 256
ROWS_AT_ONCE = 32
SINGLE_ROWS = 32
_TWIN = "/twin"
_QUIET = {"LADING_PORT": "0", "LADING_GRPC_PORT": "-1", "LADING_HOST": "127.0.0.1", "LADING_REGISTRY": ""}
_LISTENS = re.compile(r"listening on (http://\S+)")

Inputs = Mapping[str, Array]
Form = Literal["image", "twin"]


@dataclass(frozen=True, slots=True)
class Compared:
    """What asking both gave: rows, those of them that differ, and the first difference in words."""

    rows: int
    differing: int
    first: str

    def check(self) -> Check:
        """Say it as a check of evidence."""
        if not self.differing:
            found = f"{self.rows} of {self.rows}"
            return Check("equivalence", "passed", expected="bit-identical answers", found=found)
        found = f"{self.differing} of {self.rows} rows differ; first {self.first}"
        hint = "the two run on different libraries: compare the fingerprints in `lading matrix`"
        return Check("equivalence", "failed", expected="bit-identical answers", found=found, hint=hint)


def verify_image(image: str, twin: Bundle, engine: Engine | None) -> Evidence:
    """Check the image's bundle where it runs, and its answers against those of `twin`, served beside it.

    Raises `ImageInvalid`, before anything runs, where the image does not hold this very bundle: evidence of
    a comparison with another one would be held against the image's own.
    """
    source = open_source(image)
    entry = _entry(inspect(source).platforms[0].bundles, twin, image)
    with tempfile.TemporaryDirectory(prefix="lading-") as name:
        folder = Path(name)
        if engine is None:
            with source.open(entry.blob) as file:
                inside = unpack_tar(file, folder / "inside")
            evidence = _of(verify(inside), twin, image)
            servers = _here(inside.path), _here(twin.path)
        else:
            insecure = isinstance(source, RemoteImage) and source.repository.plain
            identity = engine.pull(image, insecure=insecure)
            output = engine.output(identity, ("verify", f"/lading/bundles/{entry.name}", "--json"))
            evidence = _of(_evidence(output), twin, image)
            servers = _in_image(engine, identity), _as_twin(engine, identity, twin.path, folder)
        with servers[0] as first, servers[1] as second:
            compared = compare(first, second, twin)
    measured = iso_time(time.time(), utc="+00:00")
    same = Check("bundle", "passed", expected=f"`{twin.digest}`", found=f"`{evidence.bundle}`")
    checks = (*evidence.checks, same, compared.check())
    return msgspec.structs.replace(evidence, checks=checks, measured_at=measured)


def compare(first: str, second: str, bundle: Bundle) -> Compared:
    """Ask two servers the golden rows, and random ones between them, alone and together."""
    rows = differing = 0
    words = ""
    with httpx.Client(timeout=60) as client:
        for what, inputs in questions(bundle):
            body = _body(inputs, bundle)
            answers = [_ask(client, url, bundle.manifest.name, body) for url in (first, second)]
            count = len(next(iter(inputs.values())))
            rows += count
            if answers[0] != answers[1]:
                differing += count
                words = words or f"{what}: `{answers[0][:120]!r}` and `{answers[1][:120]!r}`"
    return Compared(rows, differing, words)


def questions(bundle: Bundle) -> Iterator[tuple[str, dict[str, Array]]]:
    """Return the golden rows as they are, then random rows: some alone, all of them some at once."""
    golden = bundle.samples().inputs
    yield "golden rows", dict(golden)
    if not bundle.manifest.signature.batched:
        return
    drawn = {name: _draw(array, seed) for seed, (name, array) in enumerate(golden.items())}
    for at in range(SINGLE_ROWS):
        yield f"random row {at}", {name: array[at : at + 1] for name, array in drawn.items()}
    for at in range(0, RANDOM_ROWS, ROWS_AT_ONCE):
        yield f"random rows from {at}", {name: array[at : at + ROWS_AT_ONCE] for name, array in drawn.items()}


def _draw(golden: Array, seed: int) -> Array:
    """Draw rows of which every element is a golden one in its place, or between two if it is a float."""
    random = np.random.default_rng(seed)
    flat = golden.reshape(len(golden), -1)
    across = np.arange(flat.shape[1])
    one, other = (flat[random.integers(len(flat), size=(RANDOM_ROWS, len(across))), across] for _ in range(2))
    if golden.dtype.kind == "f":
        share = random.random(one.shape).astype(golden.dtype)
        one = (one + (other - one) * share).astype(golden.dtype)
    return one.reshape(RANDOM_ROWS, *golden.shape[1:])


def _body(inputs: Inputs, bundle: Bundle) -> bytes:
    data: Any = {name: array.tolist() for name, array in inputs.items()}
    if len(data) == 1:
        data = next(iter(data.values()))
    outputs = [one.name for one in bundle.manifest.signature.outputs]
    return msgspec.json.encode({"data": plain(data), "outputs": outputs})


def _ask(client: httpx.Client, url: str, name: str, body: bytes) -> bytes:
    # Floats are written by the shortest digits that give them back, so equal text means equal bits.
    headers = {"content-type": "application/json"}
    answer = client.post(f"{url}/models/{name}/predict", content=body, headers=headers)
    return f"{answer.status_code} ".encode() + answer.content


def _entry(entries: list[BundleEntry], twin: Bundle, image: str) -> BundleEntry:
    name = twin.manifest.name
    found = [one for one in entries if one.name == name]
    if not found:
        names = ", ".join(f"`{one.name}`" for one in entries) or "none"
        raise ImageInvalid(f"image `{image}`", expected=f"a bundle `{name}`", found=names)
    (entry,) = found
    if entry.digest != twin.digest:
        version = f"version {entry.version}, " if entry.version else ""
        raise ImageInvalid(
            f"bundle `{name}` in image `{image}`",
            expected=f"`{twin.digest}`, as what it is compared with",
            found=f"{version}`{entry.digest}`",
            hint="compare with the version that the image was built of, or build it again of the other one",
        )
    return entry


def _of(evidence: Evidence, twin: Bundle, image: str) -> Evidence:
    """Return the evidence if it is of the bundle that the image's labels name."""
    if evidence.bundle != twin.digest:
        where = f"bundle `{evidence.name}` in image `{image}`"
        expected = f"`{twin.digest}`, as the image's labels say"
        raise ImageInvalid(where, expected=expected, found=f"`{evidence.bundle}`")
    return evidence


def _evidence(output: str) -> Evidence:
    class Answer(msgspec.Struct):
        evidence: Evidence

    try:
        return msgspec.json.decode(output, type=Answer).evidence
    except ValueError as error:
        where = "`lading verify` in the image"
        raise ImageInvalid(where, expected="evidence as JSON", found=output[:200]) from error


@contextlib.contextmanager
def _in_image(engine: Engine, image: str) -> Iterator[str]:
    container = engine.start(image, ("serve",), environ=_QUIET)
    try:
        yield ready(container.url())
    finally:
        container.stop()


@contextlib.contextmanager
def _as_twin(engine: Engine, image: str, bundle: Path, folder: Path) -> Iterator[str]:
    # Another user reads it in there.
    for path in (folder, bundle, *bundle.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    container = engine.start(image, ("serve", _TWIN), environ=_QUIET, folders={bundle: _TWIN})
    try:
        yield ready(container.url())
    finally:
        container.stop()


@contextlib.contextmanager
def _here(bundle: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "lading", "serve", str(bundle)]
    # As in a container: what is set for this machine's servers, such as their inventory, is not for it.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LADING_")}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stderr=log, env={**environ, **_QUIET})  # noqa: S603
        try:
            yield ready(_address(process, log))
        finally:
            process.terminate()
            process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Any) -> str:
    until = time.monotonic() + START_S
    said = ""
    while time.monotonic() < until and process.poll() is None:
        log.seek(0)
        said = log.read()
        if found := _LISTENS.search(said):
            return found[1]
        time.sleep(0.05)
    raise ServerUnavailable(
        "the server here", expected="it to listen", found=said.strip()[-500:] or "nothing"
    )


def ready(url: str) -> str:
    """Wait until a server is ready and give its address. Raises `ServerUnavailable` where it fails."""
    until = time.monotonic() + START_S
    found = "no answer"
    while time.monotonic() < until:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"{url}/health")
            if answer.status_code == httpx.codes.OK:
                return url
            found = answer.text
            if answer.json().get("health") == "failed":
                break
        time.sleep(0.05)
    raise ServerUnavailable(f"the server at `{url}`", expected="it to be ready", found=found[:500])
