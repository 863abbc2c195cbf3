"""Tiny base images for tests, and the real programs that images are tried with."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lading.image import CONFIG, Blob, Descriptor, Index, Manifest, canonical
from lading.image.interpreter import SCRIPT
from lading.image.layers import LayerFile, files_layer
from lading.image.layout import LayoutImage
from lading.oci import INDEX, MANIFEST, digest_of

ROOT = Path(__file__).parents[2]
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
KEPT_S = 1800.0
"""A runtime of other sources is removed when it is older."""
ROOTFS = ["base-files", "python3", "libstdc++6", "ca-certificates", "netbase"]


def tiny_base(
    folder: Path,
    *architectures: str,
    env: tuple[str, ...] = ("PATH=/bin",),
    files: Mapping[str, LayerFile] | None = None,
) -> str:
    """Write a layout with an image of one small layer, for one platform or as an index; return its name.

    An architecture may have its variant, as in `arm64/v8`; `files` are in the layer as well.
    """
    image = LayoutImage(folder, "base")
    entries = []
    data = b""
    for name in architectures or ("amd64",):
        architecture, _, variant = name.partition("/")
        platform_entry = {
            "os": "linux",
            "architecture": architecture,
            **({"variant": variant} if variant else {}),
        }
        scratch = folder.with_name(f"{folder.name}.{architecture}{variant}")
        contents = {"etc/arch": LayerFile(name.encode()), **(files or {})}
        layer = files_layer(contents, scratch, compress=False)
        config = {
            **platform_entry,
            "created": "2026-01-02T03:04:05Z",
            "config": {"Env": list(env), "Labels": {"of": "the base"}},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "tests"}],
        }
        data = put_image(image, config, [layer.blob])
        entries.append(Descriptor(MANIFEST, digest_of(data), len(data), platform=platform_entry))
    if len(architectures) > 1:
        attestation = {"os": "unknown", "architecture": "unknown"}
        entries.append(Descriptor(MANIFEST, entries[0].digest, entries[0].size, platform=attestation))
        image.name(canonical(Index(schema_version=2, media_type=INDEX, manifests=entries)), INDEX)
    else:
        image.name(data, MANIFEST)
    return f"oci:{folder}:base"


def put_image(image: LayoutImage, config: dict[str, Any], layers: list[Blob]) -> bytes:
    """Write a configuration, layers and their manifest; return the manifest."""
    text = canonical(config)
    described = Descriptor(CONFIG, digest_of(text), len(text))
    for blob in (*layers, Blob(described, lambda out: out.write(text))):
        image.put(blob)
    made = Manifest(
        schema_version=2, media_type=MANIFEST, config=described, layers=[layer.descriptor for layer in layers]
    )
    data = canonical(made)
    image.put_document(data, MANIFEST)
    return data


@contextlib.contextmanager
def build_lock() -> Iterator[None]:
    """Let one process at a time make what the others will find in the folder."""
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cache_folder() -> Path:
    """Return the folder in which what takes long to make is kept between test runs."""
    folder = Path(tempfile.gettempdir()) / f"lading-tests-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder


def root_filesystem() -> Path:
    """Return a root filesystem of Debian with Python as a tar, made once."""
    path = cache_folder() / "bookworm.tar"
    if not path.exists():
        made = path.with_suffix(".making.tar")
        command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(ROOTFS)}"]
        run(*command, "bookworm", str(made), environ={"SOURCE_DATE_EPOCH": "0"})
        made.replace(path)
    return path


def runtime_base(requirements: str = "image.txt") -> str:
    """Build the runtime image of this lading as a layout, with no engine, once for these very sources."""
    pins = ROOT / "requirements" / requirements
    files = sorted(
        path for path in (ROOT / "src" / "lading").rglob("*") if path.suffix in {".py", ".binpb", ".html"}
    )
    key = hashlib.sha256(b"".join(path.read_bytes() for path in (*files, pins))).hexdigest()[:16]
    folder = cache_folder() / f"runtime-{key}"
    with build_lock():
        if not (folder / "index.json").exists():
            _remove_old_runtimes()
            command = ("image", "base", "--from", root_filesystem(), "--wheels", pins, "--compress", "none")
            lading(*command, "--to", f"oci:{folder}:runtime")
    return f"oci:{folder}:runtime"


def _remove_old_runtimes() -> None:
    for old in cache_folder().glob("runtime-*"):
        # A younger one may be in use by another run.
        if time.time() - old.stat().st_mtime > KEPT_S:
            shutil.rmtree(old)


def lading(*arguments: object, environ: dict[str, str] | None = None, code: int = 0) -> str:
    """Run lading as a process of its own and return its stdout."""
    return run(sys.executable, "-m", "lading", *map(str, arguments), environ=environ, code=code)


def run(*command: str, environ: dict[str, str] | None = None, code: int = 0) -> str:
    """Run a program to its end and return its stdout."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, **(environ or {})},
        check=False,
        timeout=240,
    )
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


if __name__ == "__main__" and shutil.which("mmdebstrap"):
    # Kept for all tests that need it, and made while other things are looked at: it takes most of a minute.
    print(f"tests: the runtime image is ready ({runtime_base()})")


def base_with(folder: Path, first_line: str = f"#!/usr/bin/python3.{sys.version_info.minor}", **more) -> str:
    """Write a base whose `lading` has this first line, and return its name."""
    return tiny_base(folder, files={SCRIPT: LayerFile(f"{first_line}\nprint()\n".encode(), 0o755)}, **more)
