"""Writing of bundles: into a temporary directory beside the destination, checked, then renamed.

A reader sees a whole bundle or none; a killed writer leaves ``.<name>.*.tmp`` beside the destination.
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
from lading.bundle.formats.v2 import FOLDERS
from lading.bundle.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    PROFILE_FILE,
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
    model: bytes | Path | None,
    samples: Samples,
    requirements: str,
    external: Mapping[str, Path] | None = None,
    more: Mapping[str, bytes | Path] | None = None,
) -> Bundle:
    """Write a bundle to the directory `dest`, which must not exist yet, and open it.

    `external` maps the plain names of the model's external data to the files to copy, `more` the names that
    format 2 adds (``code/…``, ``files/…``, ``environment.lock``, ``profile.json``) to bytes or files; `model`
    is None if there is no ONNX. The lines of `requirements` are sorted here. The same arguments give the same
    digest. Raises `DestinationExists`, or what `Bundle.open` raises for a bundle that would break a rule.
    """
    lines = sorted({line.strip() for line in requirements.splitlines()} - {""})
    with staging_directory(Path(dest)) as folder:
        for name, source in (external or {}).items():
            check_file_name(name, "external data")
            _write(folder / name, _read_chunks(source))
        if model is not None:
            _write(folder / MODEL_FILE, _bytes_of(model))
        for name, content in (more or {}).items():
            check_file_name(name, "file of the bundle", folders=FOLDERS)
            _write_within(folder, name, _bytes_of(content))
        _write(folder / SAMPLES_FILE, iter([encode_samples(draft.signature, samples)]))
        _write(folder / REQUIREMENTS_FILE, iter(["".join(f"{line}\n" for line in lines).encode()]))
        # The manifest comes last, because it names the digests of all others.
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): _entry(path) for path in paths}
        data = canonical_json(seal_manifest(draft, files))
        _write(folder / MANIFEST_FILE, iter([data]))
        bundle = Bundle.open(folder, digest=manifest_digest(data))
    return replace(bundle, path=Path(dest))


def add_profile(bundle: Bundle, profile: bytes) -> Bundle:
    """Add ``profile.json`` to a bundle that has none and that nobody has been given yet; return it, opened.

    The other files are not copied: a model may be large. Raises what `Bundle.open` raises for a profile that
    breaks a rule; the bundle is gone then.
    """
    # Aside meanwhile, under a name that nothing reads: at its place there is a whole bundle or none.
    folder = Path(
        tempfile.mkdtemp(prefix=f".{bundle.path.name[:64]}.", suffix=".tmp", dir=bundle.path.parent)
    )
    try:
        bundle.path.rename(folder)
        (folder / MANIFEST_FILE).unlink()
        _write(folder / PROFILE_FILE, iter([profile]))
        files = {**bundle.manifest.files, PROFILE_FILE: _entry(folder / PROFILE_FILE)}
        data = canonical_json(seal_manifest(bundle.manifest, files))
        _write(folder / MANIFEST_FILE, iter([data]))
        whole = Bundle.open(folder, digest=manifest_digest(data))
        _sync(folder)
        folder.rename(bundle.path)
        _sync(bundle.path.absolute().parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return replace(whole, path=bundle.path)


def unpack_tar(
    source: BinaryIO, dest: Path | str, *, digest: str | None = None, through: Path | None = None
) -> Bundle:
    """Unpack the tar form from a stream into the directory `dest`, which must not exist yet.

    Nothing is written outside `dest` and the temporary directory beside it, and nothing remains if a rule is
    broken. `through` names the temporary directory, for a caller that must know it; it must not exist either.
    Raises as `Bundle.open`, `ArchiveInvalid`, `DestinationExists`.
    """
    with staging_directory(Path(dest), through) as folder:
        read_archive(source, digest, lambda name, chunks: _write_within(folder, name, chunks))
        bundle = Bundle.open(folder, digest=digest)
    return replace(bundle, path=Path(dest))


def check_destination(dest: Path) -> None:
    """Raise `DestinationExists` if anything exists at `dest`."""
    if os.path.lexists(dest):
        raise _exists(dest)


@contextlib.contextmanager
def staging_directory(dest: Path, through: Path | None = None) -> Iterator[Path]:
    """Create a directory beside `dest`; rename it to `dest` at the end, or remove it on any failure."""
    check_destination(dest)
    parent = dest.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    if through is not None:
        through.mkdir(mode=0o700)
    folder = through or Path(tempfile.mkdtemp(prefix=f".{dest.name[:64]}.", suffix=".tmp", dir=parent))
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp creates it for its owner alone.
        # A name is on disk once its own directory is.
        for inner in FOLDERS:
            if (folder / inner).is_dir():
                _sync(folder / inner)
        _sync(folder)
        try:
            folder.rename(dest)
        except OSError as error:
            # Another process was faster. A rename replaces nothing but an empty directory.
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
        f"`{dest}`", expected="a path that does not exist", found="a file or directory", hint=hint
    )


def _write_within(folder: Path, name: str, chunks: Iterator[bytes]) -> None:
    """Write a file of the bundle, in a folder of its own if its name has one."""
    path = folder / name
    if path.parent != folder:
        path.parent.mkdir(exist_ok=True)
        path.parent.chmod(0o755)
    _write(path, chunks)


def _write(path: Path, chunks: Iterator[bytes]) -> None:
    """Write a new file and wait until it is on disk."""
    # Never an existing file, and never through a link.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        # Whatever the umask is, so that every user can serve the bundle.
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Wait until the entries of a directory are on disk, which syncing its files does not ensure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bytes_of(content: bytes | Path) -> Iterator[bytes]:
    return iter([content]) if isinstance(content, bytes) else _read_chunks(content)


def _read_chunks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        return FileEntry(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)
