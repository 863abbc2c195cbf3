"""A bundle on disk: opened only if it obeys every rule of FORMAT.md.

Opening costs one pass of sha256 over the files; nothing is executed and no model is loaded.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import mmap
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from lading.bundle.archive import CHUNK, BlobInfo, write_archive
from lading.bundle.external import check_external, external_data, tensor_sizes
from lading.bundle.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    REQUIRED_FILES,
    REQUIREMENTS_FILE,
    SAMPLES_FILE,
    FileEntry,
    Manifest,
    manifest_digest,
    read_manifest,
    shown,
    size_limit,
    too_large,
)
from lading.bundle.samples import Samples, decode_samples
from lading.errors import (
    DigestMismatch,
    FileMissing,
    FileUnexpected,
    LinkRefused,
    RequirementsInvalid,
    SizeMismatch,
    SpecialFileRefused,
)

_REQUIREMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Bundle:
    """One packed model version in a directory; ``digest`` is its identity."""

    path: Path
    manifest: Manifest
    digest: str

    @classmethod
    def open(cls, path: Path | str, *, digest: str | None = None) -> Self:
        """Open the directory `path` after checking every rule of the format, all digests included.

        `digest` is the bundle digest that is expected, if one is. Raises the `BundleError` of the first
        rule that is broken, `ModelInvalid` for a model that is no ONNX, `InvalidName` for the name.
        """
        path = Path(path)
        with _directory(path) as folder:
            _check_kinds(folder)
            data = _read(folder, MANIFEST_FILE)
            manifest = read_manifest(data, digest)
            _check_names(folder, manifest)
            for name, entry in sorted(manifest.files.items()):
                _check_file(folder, name, entry)
            decode_samples(manifest.signature, _read(folder, SAMPLES_FILE))
            check_requirements(_read(folder, REQUIREMENTS_FILE))
            _check_model(folder, manifest)
        return cls(path, manifest, manifest_digest(data))

    @property
    def model_path(self) -> Path:
        """The ONNX file; its external data is beside it."""
        return self.path / MODEL_FILE

    def samples(self) -> Samples:
        """Read the golden samples; raises `DigestMismatch` if they have changed since opening."""
        with _directory(self.path) as folder:
            data = _read(folder, SAMPLES_FILE)
        found, want = hashlib.sha256(data).hexdigest(), self.manifest.files[SAMPLES_FILE].sha256
        if found != want:
            raise _other_bytes(SAMPLES_FILE, want, found)
        return decode_samples(self.manifest.signature, data)

    def weights_bytes(self, *, above: int = 0) -> int:
        """Sum the model's tensors of more than `above` bytes, wherever they lie; trees are no tensors."""
        sizes = {name: entry.size for name, entry in self.manifest.files.items()}
        with (
            _directory(self.path) as folder,
            _open(folder, MODEL_FILE) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model,
        ):
            return sum(size for size in tensor_sizes(model, sizes) if size > above)

    def write_tar(self, out: BinaryIO) -> BlobInfo:
        """Write the tar form to `out`: the same bytes wherever and whenever; see FORMAT.md.

        Raises `DigestMismatch` if a file has changed since opening.
        """
        with _directory(self.path) as folder:
            data = _read(folder, MANIFEST_FILE)
            if manifest_digest(data) != self.digest:
                raise _other_bytes(MANIFEST_FILE, self.digest, manifest_digest(data))
            return write_archive(out, self.manifest, data, lambda name: _pieces(folder, name))


def check_requirements(data: bytes) -> None:
    """Check that the bytes are lines ``name==version``, sorted, each once; raises `RequirementsInvalid`."""
    where = f"`{REQUIREMENTS_FILE}`"
    try:
        lines = data.decode("ascii").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise RequirementsInvalid(where, expected="ASCII", found=f"another byte at {error.start}") from None
    for at, line in enumerate(lines, 1):
        if not line.endswith("\n") or not _REQUIREMENT.fullmatch(line.removesuffix("\n")):
            place = f"{where} line {at}"
            raise RequirementsInvalid(place, expected="`name==version`", found=ascii(line[:80]))
    if sorted(set(lines)) != lines:
        raise RequirementsInvalid(where, expected="sorted lines, each once", found="another order")


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    """Hold the directory open, so that every name below is looked up in this one and no other."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        found = "a file" if path.exists() else "nothing"
        raise FileMissing(f"bundle `{path}`", expected="a directory", found=found) from None
    except FileNotFoundError:
        raise FileMissing(f"bundle `{path}`", expected="a directory", found="nothing") from None
    try:
        yield folder
    finally:
        os.close(folder)


def _check_kinds(folder: int) -> None:
    """Refuse links and special files before anything is opened."""
    for name in sorted(os.listdir(folder)):
        _check_kind(name, os.stat(name, dir_fd=folder, follow_symlinks=False))


def _check_kind(name: str, status: os.stat_result) -> None:
    where, kind = shown(name), stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFLNK:
        raise LinkRefused(where, expected="a plain file", found="a symbolic link")
    if kind == stat.S_IFDIR:
        raise FileUnexpected(where, expected="files only", found="a directory")
    if kind != stat.S_IFREG:
        what = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}.get(kind, "a device")
        raise SpecialFileRefused(where, expected="a plain file", found=what)
    if status.st_nlink > 1:
        # Whoever holds the other name can change the bytes after they were checked.
        hint = "copy the bundle without links"
        raise LinkRefused(where, expected="a file of one name", found="a hard link", hint=hint)


def _check_names(folder: int, manifest: Manifest) -> None:
    there = set(os.listdir(folder)) - {MANIFEST_FILE}
    missing, extra = manifest.files.keys() - there, there - manifest.files.keys()
    if missing:
        raise FileMissing(f"`{min(missing)}`", expected="as the manifest says", found="no such file")
    if extra:
        raise FileUnexpected(shown(min(extra)), expected="only files that the manifest names", found="it")


def _check_file(folder: int, name: str, entry: FileEntry) -> None:
    with _open(folder, name) as file:
        size = os.fstat(file.fileno()).st_size
        if size != entry.size:
            raise SizeMismatch(f"`{name}`", expected=f"{entry.size} bytes", found=str(size))
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != entry.sha256:
        raise _other_bytes(name, entry.sha256, found)


def _check_model(folder: int, manifest: Manifest) -> None:
    others = {name: entry.size for name, entry in manifest.files.items() if name not in REQUIRED_FILES}
    with _open(folder, MODEL_FILE) as file:
        if manifest.files[MODEL_FILE].size == 0:
            external_data(b"")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model:
            read = check_external(external_data(model), others)
    if others.keys() - read:
        name = min(others.keys() - read)
        raise FileUnexpected(f"`{name}`", expected="only files that the model reads", found="it")


def _read(folder: int, name: str) -> bytes:
    limit = size_limit(name)
    with _open(folder, name) as file:
        data = file.read(limit + 1)
        if len(data) > limit:
            raise too_large(name, os.fstat(file.fileno()).st_size, limit)
    return data


def _pieces(folder: int, name: str) -> Iterator[bytes]:
    with _open(folder, name) as file:
        while piece := file.read(CHUNK):
            yield piece


def _open(folder: int, name: str) -> io.BufferedReader:
    # Neither follows a link nor waits for the other end of a FIFO that took the file's place just now.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        raise FileMissing(f"`{name}`", expected="a file of the bundle", found="no such file") from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise LinkRefused(f"`{name}`", expected="a plain file", found="a symbolic link") from None
    file = os.fdopen(descriptor, "rb")
    try:
        _check_kind(name, os.fstat(descriptor))
    except BaseException:
        file.close()
        raise
    return file


def _other_bytes(name: str, want: str, found: str) -> DigestMismatch:
    hint = "the file was changed or damaged after the bundle was written"
    return DigestMismatch(f"`{name}`", expected=f"`{want}`", found=f"`{found}`", hint=hint)
