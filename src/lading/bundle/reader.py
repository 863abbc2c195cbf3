"""A bundle on disk, opened only if it obeys every rule of FORMAT.md.

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

import lading
from lading import notebook
from lading.bundle.archive import CHUNK, BlobInfo, write_archive
from lading.bundle.environment_lock import EnvironmentLock, read_lock
from lading.bundle.external import check_external, external_data, tensor_sizes
from lading.bundle.formats.v2 import FOLDERS
from lading.bundle.manifest import (
    LOCK_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    PROFILE_FILE,
    REQUIREMENTS_FILE,
    SAMPLES_FILE,
    FileEntry,
    Manifest,
    manifest_digest,
    quote,
    read_manifest,
    size_limit,
    too_large,
)
from lading.bundle.profile_file import read_profile
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
from lading.profile import Profile

# A pin and nothing else: pip would also take options, URLs and files from such a line.
_REQUIREMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*")

_OWN_RULES = (REQUIREMENTS_FILE, SAMPLES_FILE, LOCK_FILE, PROFILE_FILE)

Stamp = tuple[int, int, int, int, int]
"""What tells that a file is still the same: device, inode, size, and the times of its last changes."""


@dataclass(frozen=True, slots=True, weakref_slot=True, repr=False)
class Bundle:
    """One packed model version in a directory; ``digest`` is its identity.

    ``stamps`` are those of the files as they were checked.
    """

    path: Path
    manifest: Manifest
    digest: str
    stamps: Mapping[str, Stamp] = field(default_factory=dict, compare=False)
    _profiles: list[Profile] = field(default_factory=list, init=False, compare=False)

    @classmethod
    def open(cls, path: Path | str, *, digest: str | None = None) -> Self:
        """Check every rule of the format, all digests included, and open the directory `path`.

        `digest` is the expected digest of the bundle, if any. Raises the `BundleError` of the first rule
        that is broken, `ModelInvalid` if the model is no ONNX, `InvalidName` for the name.
        """
        path = Path(path)
        with _open_directory(path) as folder:
            # Cheap checks first: no file is read before the manifest, and none of unlimited size.
            _check_kinds(folder)
            data = _read_file(folder, MANIFEST_FILE)
            manifest = read_manifest(data, digest)
            _check_names(folder, manifest)
            stamps = {
                name: _check_file(folder, name, entry) for name, entry in sorted(manifest.files.items())
            }
            decode_samples(manifest.signature, _read_file(folder, SAMPLES_FILE))
            check_requirements(_read_file(folder, REQUIREMENTS_FILE))
            if LOCK_FILE in manifest.files:
                read_lock(_read_file(folder, LOCK_FILE))
            if PROFILE_FILE in manifest.files:
                read_profile(_read_file(folder, PROFILE_FILE), manifest.signature)
            _check_model(folder, manifest)
        return cls(path, manifest, manifest_digest(data), stamps)

    @property
    def model_path(self) -> Path:
        """Return the ONNX file; its external data is beside it."""
        return self.path / MODEL_FILE

    @property
    def has_onnx(self) -> bool:
        """Return whether an ONNX model is in the bundle: all of it, or the core of its steps."""
        return MODEL_FILE in self.manifest.files

    def lock(self) -> EnvironmentLock:
        """Read the lock of the environment; raises `FileMissing` if the bundle has none."""
        with _open_directory(self.path) as folder:
            return read_lock(_read_file(folder, LOCK_FILE))

    def samples(self) -> Samples:
        """Read the golden samples; raises `DigestMismatch` if they have changed since opening."""
        return decode_samples(self.manifest.signature, self._read(SAMPLES_FILE))

    @property
    def profile(self) -> Profile | None:
        """Return the statistics of its reference data, read once, or None if it has none.

        Raises `DigestMismatch` if they have changed since opening.
        """
        if PROFILE_FILE not in self.manifest.files:
            return None
        if not self._profiles:
            self._profiles.append(read_profile(self._read(PROFILE_FILE), self.manifest.signature))
        return self._profiles[0]

    def _read(self, name: str) -> bytes:
        """Return the bytes of a file that the manifest names."""
        with _open_directory(self.path) as folder:
            data = _read_file(folder, name)
        digest, expected = hashlib.sha256(data).hexdigest(), self.manifest.files[name].sha256
        if digest != expected:
            raise _digest_mismatch(name, expected, digest)
        return data

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        """Read the files by their paths within: what is read is what was checked, or `DigestMismatch`.

        ONNX Runtime opens the model, and what it names, by itself. Files that have changed since they were
        checked are checked again before.
        """
        with _open_directory(self.path) as folder:
            before = {name: _stamp_of(folder, name) for name in self.manifest.files}
            for name, entry in self.manifest.files.items():
                if before[name] != self.stamps.get(name):
                    before[name] = _check_file(folder, name, entry)
            yield
        # The path again: the directory may have been replaced as a whole.
        with _open_directory(self.path) as folder:
            for name, stamp in before.items():
                if _stamp_of(folder, name) != stamp:
                    expected = "to stay as it is while the model is loaded"
                    raise DigestMismatch(f"`{name}`", expected=expected, found="another file, or a change")

    def predict(self, rows: Any, outputs: Sequence[str] | None = None) -> lading.Prediction:
        """Predict for `rows` in this process, as `lading.predict` does: once the golden samples hold here."""
        # Through the front door: this part of lading knows no runtime and no registry.
        return lading.predict(self, rows, outputs)

    def push(self, *, tags: Sequence[str] = (), registry: str | None = None) -> lading.ModelVersion:
        """Push the bundle to the registry that `Registry.open(registry)` opens, and move `tags` there."""
        with lading.Registry.open(registry) as opened:
            return opened.push(self, tags=tags)

    def __repr__(self) -> str:
        return (
            f"Bundle({self.manifest.name}, {self.manifest.purpose}, {str(self.path)!r}, {self.digest[:19]})"
        )

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("bundle", self)

    def weights_bytes(self, *, above: int = 0) -> int:
        """Return the bytes of the model's tensors of more than `above` bytes, inside or outside of it.

        The weights of tree ensembles are attributes, not tensors, and do not count.
        """
        if not self.has_onnx:
            return 0
        sizes = {name: entry.size for name, entry in self.manifest.files.items()}
        with (
            _open_directory(self.path) as folder,
            _open_file(folder, MODEL_FILE) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model,
        ):
            return sum(size for size in tensor_sizes(model, sizes) if size > above)

    def write_tar(self, out: BinaryIO) -> BlobInfo:
        """Write the tar form to `out`, the same bytes on every machine at every time; see FORMAT.md.

        Raises `DigestMismatch` if a file has changed since opening.
        """
        with _open_directory(self.path) as folder:
            data = _read_file(folder, MANIFEST_FILE)
            if manifest_digest(data) != self.digest:
                raise _digest_mismatch(MANIFEST_FILE, self.digest, manifest_digest(data))
            return write_archive(out, self.manifest, data, lambda name: _chunks(folder, name))


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
    # One order, so that equal requirements have equal bytes.
    if sorted(set(lines)) != lines:
        raise RequirementsInvalid(where, expected="sorted lines, each once", found="another order")


@contextlib.contextmanager
def _open_directory(path: Path) -> Iterator[int]:
    """Hold the directory open, so that names are looked up in it even if its path is replaced meanwhile."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        kind = "a file" if path.exists() else "nothing"
        raise FileMissing(f"bundle `{path}`", expected="a directory", found=kind) from None
    except FileNotFoundError:
        raise FileMissing(f"bundle `{path}`", expected="a directory", found="nothing") from None
    try:
        yield folder
    finally:
        os.close(folder)


def _check_kinds(folder: int) -> None:
    """Refuse links and special files before anything is opened; folders are left to `_check_names`."""
    for name in _names_in(folder):
        _check_kind(name, _status_of(folder, name))


def _names_in(folder: int) -> list[str]:
    """Return the names of all that is in the bundle, that in the folders of format 2 with the folder's."""
    names = []
    for name in sorted(os.listdir(folder)):
        # Any other directory is refused by its kind, whatever the manifest says.
        is_folder = name in FOLDERS and stat.S_ISDIR(_status_of(folder, name).st_mode)
        if not is_folder:
            names.append(name)
            continue
        with _folder_of(folder, f"{name}/") as inner:
            names.extend(f"{name}/{each}" for each in sorted(os.listdir(inner)) or [""])  # noqa: PTH208 - a descriptor
    return names


@contextlib.contextmanager
def _folder_of(folder: int, name: str) -> Iterator[int]:
    """Hold the directory in which the file `name` is: the bundle itself or one folder of it, never a link."""
    inner, slash, _ = name.rpartition("/")
    if not slash:
        yield folder
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(inner, flags, dir_fd=folder)
    except FileNotFoundError:
        raise FileMissing(f"`{name}`", expected="a file of the bundle", found="no such folder") from None
    except NotADirectoryError:
        raise LinkRefused(f"`{inner}`", expected="a folder", found="a symbolic link or a file") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _status_of(folder: int, name: str) -> os.stat_result:
    with _folder_of(folder, name) as inner:
        plain = name.rpartition("/")[2] or "."  # An empty folder stands for itself.
        return os.stat(plain, dir_fd=inner, follow_symlinks=False)


def _check_kind(name: str, status: os.stat_result) -> None:
    where, kind = quote(name), stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFLNK:
        raise LinkRefused(where, expected="a plain file", found="a symbolic link")
    if kind == stat.S_IFDIR:
        raise FileUnexpected(where, expected="files only", found="a directory")
    if kind != stat.S_IFREG:
        name_of_kind = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}.get(kind, "a device")
        raise SpecialFileRefused(where, expected="a plain file", found=name_of_kind)
    if status.st_nlink > 1:
        # Anyone with the other name can change the bytes after they were checked.
        hint = "copy the bundle without links"
        raise LinkRefused(where, expected="a file of one name", found="a hard link", hint=hint)


def _check_names(folder: int, manifest: Manifest) -> None:
    names = set(_names_in(folder)) - {MANIFEST_FILE}
    missing, extra = manifest.files.keys() - names, names - manifest.files.keys()
    if missing:
        raise FileMissing(f"`{min(missing)}`", expected="as the manifest says", found="no such file")
    if extra:
        raise FileUnexpected(quote(min(extra)), expected="only files that the manifest names", found="it")


def _check_file(folder: int, name: str, entry: FileEntry) -> Stamp:
    """Check a file, and return its stamp from before that."""
    with _open_file(folder, name) as file:
        status = os.fstat(file.fileno())
        if status.st_size != entry.size:
            raise SizeMismatch(f"`{name}`", expected=f"{entry.size} bytes", found=str(status.st_size))
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != entry.sha256:
        raise _digest_mismatch(name, entry.sha256, digest)
    return _stamp(status)


def _stamp_of(folder: int, name: str) -> Stamp | None:
    try:
        return _stamp(_status_of(folder, name))
    except (FileNotFoundError, FileMissing):
        return None


def _stamp(status: os.stat_result) -> Stamp:
    # The time of the last change of the inode cannot be set: a file that was replaced or rewritten has
    # another one, also if it got its former size and times back.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _check_model(folder: int, manifest: Manifest) -> None:
    """Check the ONNX file, if there is one, and that each plain file is of it or has rules of its own."""
    own = (MODEL_FILE, *_OWN_RULES)
    others = {
        name: entry.size
        for name, entry in manifest.files.items()
        if name not in own and name.partition("/")[0] not in FOLDERS
    }
    names: set[str] = set()
    if MODEL_FILE in manifest.files:
        with _open_file(folder, MODEL_FILE) as file:
            if manifest.files[MODEL_FILE].size == 0:  # An empty file cannot be mapped; this raises.
                external_data(b"")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model:
                names = check_external(external_data(model), others)
    if unread := others.keys() - names:
        name = min(unread)
        raise FileUnexpected(f"`{name}`", expected="only files that the model reads", found="it")


def _read_file(folder: int, name: str) -> bytes:
    limit = size_limit(name)
    with _open_file(folder, name) as file:
        data = file.read(limit + 1)  # One byte more shows that the file is too large.
        if len(data) > limit:
            raise too_large(name, os.fstat(file.fileno()).st_size, limit)
    return data


def _chunks(folder: int, name: str) -> Iterator[bytes]:
    with _open_file(folder, name) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _open_file(folder: int, name: str) -> io.BufferedReader:
    # The file may have been replaced since it was checked: a link is not followed, a FIFO not waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with _folder_of(folder, name) as inner:
            descriptor = os.open(name.rpartition("/")[2], flags, dir_fd=inner)
    except FileNotFoundError:
        raise FileMissing(f"`{name}`", expected="a file of the bundle", found="no such file") from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise LinkRefused(f"`{name}`", expected="a plain file", found="a symbolic link") from None
    file = os.fdopen(descriptor, "rb")
    try:
        # The descriptor, not the name: what it refers to cannot be replaced any more.
        _check_kind(name, os.fstat(descriptor))
    except BaseException:
        file.close()
        raise
    return file


def _digest_mismatch(name: str, expected: str, digest: str) -> DigestMismatch:
    hint = "the file was changed or damaged after the bundle was written"
    return DigestMismatch(f"`{name}`", expected=f"`{expected}`", found=f"`{digest}`", hint=hint)
