"""Bundles come into being: beside their place under another name, whole and checked, then renamed.

A reader sees a whole bundle or none; what a killed writer leaves is ``.<name>.*.tmp`` beside the place.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from lading.bundle.archive import CHUNK, read_archive
from lading.bundle.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    REQUIREMENTS_FILE,
    SAMPLES_FILE,
    Draft,
    FileEntry,
    canonical_json,
    check_file_name,
    manifest_digest,
    seal_manifest,
)
from lading.bundle.reader import Bundle
from lading.bundle.samples import Samples, encode_samples
from lading.errors import DestinationExists


def write_bundle(
    dest: Path | str,
    draft: Draft,
    *,
    model: bytes | Path,
    samples: Samples,
    requirements: str,
    external: Mapping[str, Path] | None = None,
) -> Bundle:
    """Write a bundle to the directory `dest`, which must not be there yet, and open it.

    `external` maps the plain names that the model gives its external data to the files to copy;
    the lines of `requirements` are sorted here. The same arguments give the same digest.
    Raises `DestinationExists`, or what `Bundle.open` raises for a bundle that would break a rule.
    """
    lines = sorted({line.strip() for line in requirements.splitlines()} - {""})
    with _beside(Path(dest)) as folder:
        for name, source in (external or {}).items():
            check_file_name(name, "external data")
            _write(folder / name, _pieces(source))
        _write(folder / MODEL_FILE, iter([model]) if isinstance(model, bytes) else _pieces(model))
        _write(folder / SAMPLES_FILE, iter([encode_samples(draft.signature, samples)]))
        _write(folder / REQUIREMENTS_FILE, iter(["".join(f"{line}\n" for line in lines).encode()]))
        files = {path.name: _entry(path) for path in sorted(folder.iterdir())}
        data = canonical_json(seal_manifest(draft, files))
        _write(folder / MANIFEST_FILE, iter([data]))
        bundle = Bundle.open(folder, digest=manifest_digest(data))
    return replace(bundle, path=Path(dest))


def unpack_tar(
    source: BinaryIO, dest: Path | str, *, digest: str | None = None, through: Path | None = None
) -> Bundle:
    """Unpack the tar form from a stream into the directory `dest`, which must not be there yet.

    Nothing is written outside `dest` and its temporary neighbour, and nothing stays if a rule is broken.
    `through` names that neighbour, not there either, for who has to know it. Raises as `Bundle.open`,
    `ArchiveInvalid`, `DestinationExists`.
    """
    with _beside(Path(dest), through) as folder:
        read_archive(source, digest, lambda name, pieces: _write(folder / name, pieces))
        bundle = Bundle.open(folder, digest=digest)
    return replace(bundle, path=Path(dest))


def check_free(dest: Path) -> None:
    """Raise `DestinationExists` if anything is at `dest`."""
    if os.path.lexists(dest):
        raise _exists(dest)


@contextlib.contextmanager
def _beside(dest: Path, through: Path | None = None) -> Iterator[Path]:
    """Return a new directory beside `dest`; rename it to `dest` at the end, or remove it on any failure."""
    check_free(dest)
    parent = dest.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    if through is not None:
        through.mkdir(mode=0o700)
    folder = through or Path(tempfile.mkdtemp(prefix=f".{dest.name[:64]}.", suffix=".tmp", dir=parent))
    try:
        yield folder
        folder.chmod(0o755)
        _sync(folder)
        try:
            folder.rename(dest)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise _exists(dest) from None
            raise
        _sync(parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _exists(dest: Path) -> DestinationExists:
    hint = "remove it, or name another place"
    return DestinationExists(
        f"`{dest}`", expected="nothing there yet", found="a file or directory", hint=hint
    )


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pieces(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        return FileEntry(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)
