"""The runtime image that serves any bundle: a root filesystem with Python, and `lading[serve]` on it.

Made without a container engine from a tar of a root filesystem or from any image with Python. Nothing in it
is run while it is made; whether it works is seen by `lading image verify`.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

import lading
from lading.errors import ImageInvalid
from lading.image import (
    CONFIG,
    EPOCH,
    Blob,
    Descriptor,
    Manifest,
    Source,
    Target,
    canonical,
    oci_type,
    read_config,
    read_index,
    read_manifest,
)
from lading.image.build import (
    ENVIRONMENT,
    IMAGE_VARIABLE,
    check_platforms,
    fits,
    platform_of,
    read_platform,
    run_config,
    variables_of,
)
from lading.image.labels import RUNTIME
from lading.image.layers import Layer, LayerFile, archive_layer, files_layer, opened_tar
from lading.image.wheels import Wheel, add_bytecode, gather, own_files, unpack, versions_of
from lading.oci import MANIFEST, Document, digest_of

LIBRARY = "opt/lading/lib"
SCRIPT = "usr/local/bin/lading"
WHEELS = "opt/lading/wheels.txt"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON = re.compile(r"(?:\./)?(usr/(?:local/)?bin)/python(3\.\d+)")


class BaseBuilt(msgspec.Struct, frozen=True, kw_only=True):
    """A runtime image that was written. ``runtime`` names its files: what evidence is kept under."""

    image: str
    digest: str
    runtime: str
    platform: str
    versions: dict[str, str]
    wheels: list[str]
    bytes_sent: int
    notes: list[str]


@dataclass(frozen=True, slots=True)
class BaseRootfs:
    """What the runtime is put on: its layers and configuration, and where its Python is."""

    layers: list[Descriptor]
    blobs: list[Blob]
    config: dict[str, Any]
    python: str
    program: str
    library: dict[str, LayerFile]


def build_base(
    ground: Path | Source,
    wheels: Path,
    target: Target,
    *,
    platform: str,
    python: str = "",
    compress: bool = True,
) -> BaseBuilt:
    """Write the runtime image for one platform to `target`.

    `ground` is a tar of a root filesystem or an image with Python; `wheels` a requirements file of
    ``name==version`` lines or a folder of wheels. Raises `ImageInvalid` where no Python is found.
    """
    architecture = read_platform(platform)["architecture"]
    with tempfile.TemporaryDirectory(prefix="lading-") as name:
        folder = Path(name)
        on = (
            _from_archive(ground, folder, platform, python, compress)
            if isinstance(ground, Path)
            else _from_image(ground, platform, python)
        )
        taken = folder / "wheels"
        taken.mkdir()
        chosen = gather(wheels, taken, python=on.python, architecture=architecture)
        layers, notes = _runtime_layers(on, chosen, folder, compress)
        return _write(on, layers, chosen, target, notes)


def chain_id(diff_ids: list[str]) -> str:
    """Name a stack of layers by their bytes, however they are compressed.

    https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
    """
    found = diff_ids[0]
    for one in diff_ids[1:]:
        found = "sha256:" + hashlib.sha256(f"{found} {one}".encode()).hexdigest()
    return found


def _from_archive(archive: Path, folder: Path, platform: str, python: str, compress: bool) -> BaseRootfs:
    with archive.open("rb") as file:
        found, program, library = _look_for_python(file, python, str(archive))
    layer = archive_layer(archive, folder / "rootfs", compress=compress)
    config = {
        **read_platform(platform),
        "created": EPOCH,
        "config": {"Env": [f"PATH={PATH}"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": EPOCH, "created_by": "lading image base", "comment": "root filesystem"}],
    }
    return BaseRootfs([layer.descriptor], [layer.blob], config, found, program, library)


def _from_image(source: Source, platform: str, python: str) -> BaseRootfs:
    manifest = read_manifest(_document(source, platform), source.where)
    config = read_config(source, manifest)
    check_platforms([config], [platform], source.where)
    layers = [
        Descriptor(oci_type(one.media_type, source.where), one.digest, one.size) for one in manifest.layers
    ]
    said = dict(one.partition("=")[::2] for one in config.get("config", {}).get("Env") or ())
    known = ".".join(said.get("PYTHON_VERSION", "").split(".")[:2])
    program = "/usr/local/bin/python3"
    if python or not known:
        known, program = _search_layers(source, manifest, python)
    blobs = [source.blob(one) for one in layers]
    # An image with Python brings the bytecode of its standard library, as far as it has any.
    return BaseRootfs(layers, blobs, config, known, program, {})


def _document(source: Source, platform: str) -> Document:
    root = source.root()
    index = read_index(root, source.where)
    if index is None:
        return root
    check_platforms([one.platform for one in index.manifests if one.platform], [platform], source.where)
    found = next(one for one in index.manifests if one.platform and fits(one.platform, platform))
    return source.document(found.digest)


def _search_layers(source: Source, manifest: Manifest, python: str) -> tuple[str, str]:
    for layer in reversed(manifest.layers):
        with source.open(layer.digest) as file:
            try:
                found, program, _ = _look_for_python(file, python, source.where)
            except ImageInvalid:
                continue
        return found, program
    raise _no_python(source.where, python)


def _look_for_python(file: BinaryIO, python: str, where: str) -> tuple[str, str, dict[str, LayerFile]]:
    """Find the interpreter in a tar, and the standard library where it has no bytecode."""
    found: dict[str, str] = {}
    library: dict[str, LayerFile] = {}
    compiled = False
    with opened_tar(file, f"base `{where}`") as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            if (match := _PYTHON.fullmatch(member.name)) and python in {"", match[2]}:
                found[match[2]] = f"/{match[1]}/python{match[2]}"
            name = member.name.removeprefix("./")
            if name.startswith("usr/lib/python3.") and member.isfile():
                compiled = compiled or name.endswith(".pyc")
                data = archive.extractfile(member) if name.endswith(".py") else None
                if data is not None:
                    library[name] = LayerFile(data.read())
    if not found:
        raise _no_python(where, python)
    newest = max(found, key=lambda version: int(version.partition(".")[2]))
    mine = {name: one for name, one in library.items() if name.startswith(f"usr/lib/python{newest}/")}
    return newest, found[newest], {} if compiled else mine


def _no_python(where: str, python: str) -> ImageInvalid:
    hint = "`mmdebstrap --variant=extract --include=python3,… bookworm rootfs.tar` makes one"
    expected = f"Python {python or '3'} in `/usr/bin` or `/usr/local/bin`"
    return ImageInvalid(f"base `{where}`", expected=expected, found="none", hint=hint)


def _runtime_layers(
    on: BaseRootfs, wheels: list[Wheel], folder: Path, compress: bool
) -> tuple[list[Layer], list[str]]:
    """Make two layers: what lading needs, and lading, so that a new lading is a small layer."""
    own = next((one for one in wheels if one.name == "lading"), None)
    needs: dict[str, LayerFile] = {}
    for wheel in wheels:
        if wheel is not own:
            needs.update(unpack(wheel))
    itself = unpack(own) if own is not None else own_files()
    notes: list[str] = []
    first = _installed(needs, folder / "needs", on.python, notes)
    first.update(_standard_library(on, folder / "standard"))
    first[WHEELS] = LayerFile("".join(f"{one.line}\n" for one in wheels if one is not own).encode())
    second = _installed(itself, folder / "itself", on.python, notes)
    second[SCRIPT] = LayerFile(_script(on.program), 0o755)
    return [
        files_layer(first, folder / "first.layer", compress=compress),
        files_layer(second, folder / "second.layer", compress=compress),
    ], sorted(set(notes))


def _installed(
    files: dict[str, LayerFile], folder: Path, python: str, notes: list[str]
) -> dict[str, LayerFile]:
    compiled = add_bytecode(files, LIBRARY, folder, python)
    if compiled is None:
        notes.append(f"no Python {python} is here to compile with: the image starts more slowly")
    return {f"{LIBRARY}/{name}": one for name, one in {**files, **(compiled or {})}.items()}


def _standard_library(on: BaseRootfs, folder: Path) -> dict[str, LayerFile]:
    """Compile the standard library where the root filesystem was only unpacked and never set up."""
    root = f"usr/lib/python{on.python}"
    inside = {name.removeprefix(f"{root}/"): one for name, one in on.library.items()}
    compiled = add_bytecode(inside, root, folder, on.python) if inside else None
    return {f"{root}/{name}": one for name, one in (compiled or {}).items()}


def _script(program: str) -> bytes:
    lines = (
        f"#!{program}",
        "import sys",
        f'sys.path.insert(0, "/{LIBRARY}")',
        "from lading.cli import main",
        "sys.exit(main())",
        "",
    )
    return "\n".join(lines).encode()


def _write(
    on: BaseRootfs, layers: list[Layer], wheels: list[Wheel], target: Target, notes: list[str]
) -> BaseBuilt:
    versions = {
        "lading": lading.__version__,
        "python": on.python,
        **versions_of(wheels, ("lading", "numpy", "onnxruntime")),
    }
    diff_ids = [*on.config["rootfs"]["diff_ids"], *(layer.diff_id for layer in layers)]
    runtime = chain_id(diff_ids)
    config = canonical(_config(on.config, diff_ids, runtime, versions))
    described = Descriptor(CONFIG, digest_of(config), len(config))
    blobs = [*on.blobs, *(layer.blob for layer in layers), Blob(described, lambda out: out.write(config))]
    sent = sum(target.put(blob) for blob in blobs)
    manifest = Manifest(
        schema_version=2,
        media_type=MANIFEST,
        config=described,
        layers=[*on.layers, *(layer.descriptor for layer in layers)],
        annotations={RUNTIME: canonical(versions).decode()},
    )
    data = canonical(manifest)
    sent += target.name(data, MANIFEST)
    return BaseBuilt(
        image=target.where,
        digest=digest_of(data),
        runtime=runtime,
        platform=platform_of(on.config),
        versions=versions,
        wheels=[one.line for one in wheels],
        bytes_sent=sent,
        notes=notes,
    )


def _config(
    config: dict[str, Any], diff_ids: list[str], runtime: str, versions: dict[str, str]
) -> dict[str, Any]:
    created = config.get("created") or EPOCH
    ran = config.get("config") or {}
    variables = {
        **variables_of(ran),
        **ENVIRONMENT,
        # What runs Python below the script, such as a worker, finds the same packages.
        "PYTHONPATH": f"/{LIBRARY}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        IMAGE_VARIABLE: runtime,
    }
    labels = {RUNTIME: canonical(versions).decode()}
    added = [
        {"created": created, "created_by": "lading image base", "comment": comment}
        for comment in ("what lading needs", f"lading {lading.__version__}")
    ]
    return {
        **config,
        "created": created,
        "config": {**run_config(ran, variables, labels, ports={}), "WorkingDir": "/"},
        "history": [*(config.get("history") or ()), *added],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
