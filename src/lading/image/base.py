"""The runtime image that serves any bundle: a root filesystem with Python, and `lading-ml[serve]` on it.

Built without a container engine from a tar of a root filesystem or from any image with Python. Nothing in it
is run while it is built; `lading image verify` shows whether it works.
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
    environment_of,
    oci_type,
    read_config,
    read_index,
    read_manifest,
)
from lading.image.build import (
    ENVIRONMENT,
    IMAGE_VARIABLE,
    check_platforms,
    matches_platform,
    parse_platform,
    platform_name,
    run_config,
)
from lading.image.interpreter import SCRIPT
from lading.image.labels import RUNTIME
from lading.image.layers import (
    MAX_UNPACKED_BYTES,
    Layer,
    LayerFile,
    archive_layer,
    files_layer,
    open_tar,
)
from lading.image.wheels import (
    Wheel,
    collect_wheels,
    compile_bytecode,
    lading_files,
    own_wheel,
    unpack,
    versions_of,
)
from lading.oci import MANIFEST, Document, digest_of

MAX_SOURCE_BYTES = 16 << 20
LIBRARY = "opt/lading/lib"
WHEELS = "opt/lading/wheels.txt"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON = re.compile(r"(?:\./)?(usr/(?:local/)?bin)/python(3\.\d+)")


class BaseBuilt(msgspec.Struct, frozen=True, kw_only=True):
    """A runtime image that was written. ``runtime`` is the id of its files, which evidence refers to."""

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
    """The root filesystem below the runtime: its layers, its configuration and its Python.

    ``python`` is the version, as in ``3.11``, and ``interpreter`` the path of the program. ``library`` is the
    standard library if that has no bytecode, else empty.
    """

    layers: list[Descriptor]
    blobs: list[Blob]
    config: dict[str, Any]
    python: str
    interpreter: str
    library: dict[str, LayerFile]


def build_base(
    origin: Path | Source,
    wheels: Path,
    target: Target,
    *,
    platform: str,
    python: str = "",
    compress: bool = True,
) -> BaseBuilt:
    """Write the runtime image for one platform to `target`.

    `origin` is a tar of a root filesystem or an image with Python, and `wheels` a requirements file of
    ``name==version`` lines or a folder of wheels. Raises `ImageInvalid` if there is no Python.
    """
    architecture = parse_platform(platform)["architecture"]
    with tempfile.TemporaryDirectory(prefix="lading-") as name:
        folder = Path(name)
        rootfs = (
            _from_archive(origin, folder, platform, python, compress)
            if isinstance(origin, Path)
            else _from_image(origin, platform, python)
        )
        downloads = folder / "wheels"
        downloads.mkdir()
        chosen = collect_wheels(wheels, downloads, python=rootfs.python, architecture=architecture)
        layers, notes = _runtime_layers(rootfs, chosen, folder, compress)
        return _write(rootfs, layers, chosen, target, notes)


def chain_id(diff_ids: list[str]) -> str:
    """Return the id of a stack of layers by their uncompressed bytes.

    https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
    """
    # Of diff ids and not of blobs: compression may differ from one registry to the next.
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
    return chain


def _from_archive(archive: Path, folder: Path, platform: str, python: str, compress: bool) -> BaseRootfs:
    # Read before it is copied: a tar without Python is refused before a layer is written.
    with archive.open("rb") as file:
        version, interpreter, library = find_python(file, python, str(archive))
    layer = archive_layer(archive, folder / "rootfs", compress=compress)
    config = {
        **parse_platform(platform),
        # A fixed time, so that the same files are the same image whenever it is built.
        "created": EPOCH,
        "config": {"Env": [f"PATH={SEARCH_PATH}"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": EPOCH, "created_by": "lading image base", "comment": "root filesystem"}],
    }
    return BaseRootfs([layer.descriptor], [layer.blob], config, version, interpreter, library)


def _from_image(source: Source, platform: str, python: str) -> BaseRootfs:
    manifest = read_manifest(_document(source, platform), source.where)
    config = read_config(source, manifest)
    check_platforms([config], [platform], source.where)
    layers = [
        Descriptor(oci_type(layer.media_type, source.where), layer.digest, layer.size)
        for layer in manifest.layers
    ]
    # Docker's official images of Python state its version, which saves fetching their layers.
    stated = environment_of(config.get("config") or {}).get("PYTHON_VERSION", "")
    version, interpreter = ".".join(stated.split(".")[:2]), "/usr/local/bin/python3"
    if python or not version:
        version, interpreter = _search_layers(source, manifest, python)
    blobs = [source.blob(layer) for layer in layers]
    # The standard library of an image with Python stays as it is, with or without bytecode.
    return BaseRootfs(layers, blobs, config, version, interpreter, {})


def _document(source: Source, platform: str) -> Document:
    root = source.root()
    index = read_index(root, source.where)
    if index is None:
        return root
    entries = [(entry, entry.platform) for entry in index.manifests if entry.platform]
    # An index may list documents without a platform, which no machine runs.
    check_platforms([available for _, available in entries], [platform], source.where)
    match = next(entry for entry, available in entries if matches_platform(available, platform))
    return source.document(match.digest)


def _search_layers(source: Source, manifest: Manifest, python: str) -> tuple[str, str]:
    # From the top, where an image that added Python to another one has it.
    for layer in reversed(manifest.layers):
        with source.open(layer.digest) as file:
            try:
                version, interpreter, _ = find_python(file, python, source.where)
            except ImageInvalid:
                continue
        return version, interpreter
    raise _no_python(source.where, python)


def find_python(file: BinaryIO, python: str, where: str) -> tuple[str, str, dict[str, LayerFile]]:
    """Return the version and path of the newest Python in a tar, and its standard library.

    The standard library is empty if it has bytecode already. `python` is the only version to accept, or empty
    to accept any. Raises `ImageInvalid`.
    """
    interpreters: dict[str, str] = {}
    library: dict[str, LayerFile] = {}
    compiled, unpacked = False, 0
    with open_tar(file, f"base `{where}`") as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            # By the name alone: in a root filesystem it is often a link to another one.
            if (match := _PYTHON.fullmatch(member.name)) and python in {"", match[2]}:
                interpreters[match[2]] = f"/{match[1]}/python{match[2]}"
            # The sizes that a tar states bound what is read of it, before it is read.
            unpacked += member.size
            if unpacked > MAX_UNPACKED_BYTES or (
                member.name.endswith(".py") and member.size > MAX_SOURCE_BYTES
            ):
                limits = (
                    f"at most {MAX_UNPACKED_BYTES >> 30} GiB, and {MAX_SOURCE_BYTES >> 20} MiB in a `.py`"
                )
                raise ImageInvalid(f"base `{where}`", expected=limits, found=f"more, with `{member.name}`")
            name = member.name.removeprefix("./")
            # Read on the way, because a compressed tar cannot be read twice without unpacking it again.
            if name.startswith("usr/lib/python3.") and member.isfile():
                compiled = compiled or name.endswith(".pyc")
                data = archive.extractfile(member) if name.endswith(".py") else None
                if data is not None:
                    library[name] = LayerFile(data.read())
    if not interpreters:
        raise _no_python(where, python)
    # As numbers: 3.9 is older than 3.11.
    newest = max(interpreters, key=lambda version: int(version.partition(".")[2]))
    own = {name: file for name, file in library.items() if name.startswith(f"usr/lib/python{newest}/")}
    return newest, interpreters[newest], {} if compiled else own


def _no_python(where: str, python: str) -> ImageInvalid:
    hint = "`mmdebstrap --variant=extract --include=python3,… bookworm rootfs.tar` writes one"
    expected = f"Python {python or '3'} in `/usr/bin` or `/usr/local/bin`"
    return ImageInvalid(f"base `{where}`", expected=expected, found="none", hint=hint)


def _runtime_layers(
    rootfs: BaseRootfs, wheels: list[Wheel], folder: Path, compress: bool
) -> tuple[list[Layer], list[str]]:
    """Write two layers, the requirements and lading itself, so that a new lading is a small layer.

    Also returns notes for the user.
    """
    own = own_wheel(wheels)
    others = [wheel for wheel in wheels if wheel is not own]
    requirements: dict[str, LayerFile] = {}
    for wheel in others:
        requirements.update(unpack(wheel))
    notes: list[str] = []
    first = _library_files(requirements, folder / "requirements", rootfs.python, notes)
    first.update(_standard_library_bytecode(rootfs, folder / "standard"))
    # The lines of a requirements file, with which the same runtime is made again.
    first[WHEELS] = LayerFile("".join(f"{wheel.line}\n" for wheel in others).encode())
    own_files = unpack(own) if own is not None else lading_files()
    second = _library_files(own_files, folder / "lading", rootfs.python, notes)
    second[SCRIPT] = LayerFile(_script(rootfs.interpreter), 0o755)
    return [
        files_layer(first, folder / "first.layer", compress=compress),
        files_layer(second, folder / "second.layer", compress=compress),
    ], sorted(set(notes))


def _library_files(
    files: dict[str, LayerFile], folder: Path, python: str, notes: list[str]
) -> dict[str, LayerFile]:
    """Return the files and their bytecode by their paths in the image; adds to `notes`."""
    compiled = compile_bytecode(files, LIBRARY, folder, python)
    if compiled is None:
        notes.append(f"no Python {python} here to compile with: the image starts more slowly")
    return {f"{LIBRARY}/{name}": file for name, file in {**files, **(compiled or {})}.items()}


def _standard_library_bytecode(rootfs: BaseRootfs, folder: Path) -> dict[str, LayerFile]:
    """Return the bytecode of the standard library if the root filesystem was unpacked but never set up."""
    root = f"usr/lib/python{rootfs.python}"
    sources = {name.removeprefix(f"{root}/"): file for name, file in rootfs.library.items()}
    compiled = compile_bytecode(sources, root, folder, rootfs.python) if sources else None
    return {f"{root}/{name}": file for name, file in (compiled or {}).items()}


def _script(interpreter: str) -> bytes:
    # Not a console script of pip, whose first line would name the Python of the machine that built it.
    lines = (
        f"#!{interpreter}",
        "import sys",
        f'sys.path.insert(0, "/{LIBRARY}")',
        "from lading.cli import main",
        "sys.exit(main())",
        "",
    )
    return "\n".join(lines).encode()


def _write(
    rootfs: BaseRootfs, layers: list[Layer], wheels: list[Wheel], target: Target, notes: list[str]
) -> BaseBuilt:
    own = own_wheel(wheels)
    versions = {
        "lading": lading.__version__ if own is None else own.version,
        "python": rootfs.python,
        **versions_of(wheels, ("numpy", "onnxruntime")),
    }
    # Evidence refers to the runtime by the bytes of its layers, whatever their compression.
    diff_ids = [*rootfs.config["rootfs"]["diff_ids"], *(layer.diff_id for layer in layers)]
    runtime = chain_id(diff_ids)
    config = canonical(_config(rootfs.config, diff_ids, runtime, versions))
    descriptor = Descriptor(CONFIG, digest_of(config), len(config))
    blobs = [*rootfs.blobs, *(layer.blob for layer in layers)]
    blobs.append(Blob(descriptor, lambda out: out.write(config)))
    bytes_sent = sum(target.put(blob) for blob in blobs)
    manifest = Manifest(
        schema_version=2,
        media_type=MANIFEST,
        config=descriptor,
        layers=[*rootfs.layers, *(layer.descriptor for layer in layers)],
        annotations={RUNTIME: canonical(versions).decode()},
    )
    data = canonical(manifest)
    bytes_sent += target.name(data, MANIFEST)
    return BaseBuilt(
        image=target.where,
        digest=digest_of(data),
        runtime=runtime,
        platform=platform_name(rootfs.config),
        versions=versions,
        wheels=[wheel.line for wheel in wheels],
        bytes_sent=bytes_sent,
        notes=notes,
    )


def _config(
    config: dict[str, Any], diff_ids: list[str], runtime: str, versions: dict[str, str]
) -> dict[str, Any]:
    created = config.get("created") or EPOCH
    before = config.get("config") or {}
    variables = {
        **environment_of(before),
        **ENVIRONMENT,
        # For Python processes that are not started by the script, such as workers.
        "PYTHONPATH": f"/{LIBRARY}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        IMAGE_VARIABLE: runtime,
    }
    # As a label too: Docker shows labels, and drops annotations of a manifest.
    labels = {RUNTIME: canonical(versions).decode()}
    added = [
        {"created": created, "created_by": "lading image base", "comment": comment}
        for comment in ("requirements of lading", f"lading {lading.__version__}")
    ]
    return {
        **config,
        "created": created,
        "config": {**run_config(before, variables, labels, ports={}), "WorkingDir": "/"},
        "history": [*(config.get("history") or ()), *added],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
