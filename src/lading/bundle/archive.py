"""The tar form of a bundle: one possible sequence of bytes per bundle, and the reading of hostile ones.

Headers are written and read by hand: the standard library's bytes differ between Python versions, and its
reader accepts far more than the format allows. Knows no digests but those in the manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from lading.bundle.formats.v2 import FOLDERS
from lading.bundle.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    Manifest,
    canonical_json,
    check_file_name,
    quote,
    read_manifest,
    too_large,
)
from lading.errors import (
    ArchiveInvalid,
    BundleError,
    DigestMismatch,
    DuplicateEntry,
    FileMissing,
    FileUnexpected,
    LinkRefused,
    PathUnsafe,
    SizeMismatch,
    SpecialFileRefused,
)

BLOCK = 512
CHUNK = 2**20
PREFIX = "lading/bundles"
END_MARK = bytes(2 * BLOCK)

_FILE, _DIRECTORY = b"0", b"5"
_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755
_REFUSED_KINDS: Mapping[bytes, tuple[type[BundleError], str]] = {
    b"1": (LinkRefused, "a hard link"),
    b"2": (LinkRefused, "a symbolic link"),
    b"3": (SpecialFileRefused, "a character device"),
    b"4": (SpecialFileRefused, "a block device"),
    b"6": (SpecialFileRefused, "a FIFO"),
}


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """The tar form of a bundle as bytes: its own sha256 (not the bundle's digest) and its length."""

    digest: str
    size: int


ReadFile = Callable[[str], Iterator[bytes]]
"""From the name of a file of the bundle to its bytes, in chunks."""


def write_archive(out: BinaryIO, manifest: Manifest, data: bytes, read: ReadFile) -> BlobInfo:
    """Write the one tar form of a bundle; `data` are its manifest's bytes, `read` reads the other files.

    Raises `DigestMismatch` if a file differs from the manifest; `out` then holds an incomplete archive.
    """
    hasher, size = hashlib.sha256(), 0

    def put(chunk: bytes) -> None:
        nonlocal size
        out.write(chunk)
        hasher.update(chunk)
        size += len(chunk)

    for name in _directories(manifest.name):
        put(_header(name, 0, _DIRECTORY))
    root = f"{PREFIX}/{manifest.name}"
    put(_header(f"{root}/{MANIFEST_FILE}", len(data), _FILE) + data + _padding(len(data)))
    folder = ""
    for name in sorted(manifest.files, key=_place):
        entry = manifest.files[name]
        if "/" in name and (folder != (folder := name.partition("/")[0])):
            put(_header(f"{root}/{folder}/", 0, _DIRECTORY))
        put(_header(f"{root}/{name}", entry.size, _FILE))
        content, length = hashlib.sha256(), 0
        for chunk in read(name):
            put(chunk)
            content.update(chunk)
            length += len(chunk)
        if (content.hexdigest(), length) != (entry.sha256, entry.size):
            raise DigestMismatch(f"`{name}`", expected=f"`{entry.sha256}`", found=f"`{content.hexdigest()}`")
        put(_padding(length))
    put(END_MARK)
    return BlobInfo(f"sha256:{hasher.hexdigest()}", size)


def read_archive(
    source: BinaryIO, digest: str | None, create: Callable[[str, Iterator[bytes]], None]
) -> Manifest:
    """Read a tar of a bundle from a stream; call `create` with the plain name and the bytes of each file.

    `create` is not called before the manifest has been read and is valid (and has the `digest`, if one is
    expected); no file is longer than the manifest states. The digests of files are left to the caller.
    Raises the `BundleError` of the first rule that is broken.
    """
    members = _MemberReader(source)
    name, data = _read_start(members)
    manifest = read_manifest(data, digest)
    if manifest.name != name:
        where = f"the tar of `{manifest.name}`"
        raise ArchiveInvalid(where, expected=f"`{PREFIX}/{manifest.name}/`", found=f"`{PREFIX}/{name}/`")
    create(MANIFEST_FILE, iter([data]))
    order = []
    while (member := members.next()) is not None:
        file = _file_of(member, name, manifest)
        order.append(file)
        if not file.endswith("/"):
            create(file, members.content(member.size))
    missing = sorted(manifest.files.keys() - set(order))
    if missing:
        raise FileMissing(f"`{missing[0]}`", expected="as the manifest says", found="no such member")
    # One order, so that a bundle has one tar and one blob digest.
    folders = {f"{name.partition('/')[0]}/" for name in manifest.files if "/" in name}
    if order != sorted([*manifest.files, *folders], key=_place):
        raise ArchiveInvalid("members of the tar", expected="sorted names", found=", ".join(order))
    members.finish()
    return manifest


def read_archive_manifest(source: BinaryIO, digest: str | None) -> Manifest:
    """Read the manifest at the beginning of a tar of a bundle, and no more of the stream.

    Raises the `BundleError` of the first rule that is broken.
    """
    _, data = _read_start(_MemberReader(source))
    return read_manifest(data, digest)


def read_archive_files(source: BinaryIO, manifest: Manifest, names: Collection[str]) -> dict[str, bytes]:
    """Read some files of a bundle from its tar, whose manifest is known, each checked by its digest.

    What is between them is passed over: `source` is seekable. Raises `ArchiveInvalid` for what is no such
    tar, and `DigestMismatch`.
    """
    root = f"{PREFIX}/{manifest.name}"
    members = _MemberReader(source)
    files = {}
    for name, start in _starts(manifest):
        if name not in names:
            continue
        entry = manifest.files[name]
        source.seek(start)
        # There is one header that a member can have, so what is here is that, or not this bundle.
        member = members.next()
        if member != _Member(f"{root}/{name}", _FILE, entry.size):
            other = quote(member.name) if member is not None else "its end"
            raise ArchiveInvalid(f"the tar of `{manifest.name}`", expected=f"`{name}`", found=other)
        data = b"".join(members.content(entry.size))
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry.sha256:
            raise DigestMismatch(f"`{name}`", expected=f"`{entry.sha256}`", found=f"`{digest}`")
        files[name] = data
    return files


def _starts(manifest: Manifest) -> Iterator[tuple[str, int]]:
    """Iterate over the files of a bundle in the order of its tar, with where the header of each begins."""
    size = len(canonical_json(manifest))
    position = BLOCK * (len(_directories(manifest.name)) + 1) + size + len(_padding(size))
    folder = ""
    for name in sorted(manifest.files, key=_place):
        if "/" in name and folder != (folder := name.partition("/")[0]):
            position += BLOCK
        yield name, position
        length = manifest.files[name].size
        position += BLOCK + length + len(_padding(length))


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    kind: bytes
    size: int


class _MemberReader:
    """Reads member after member from a stream that need not be seekable."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._names: set[str] = set()

    def next(self) -> _Member | None:
        """Read the next header; return None at the end mark."""
        block = self._read_exactly(BLOCK)
        if block == END_MARK[:BLOCK]:
            return None
        member = _parse(block)
        if member.name in self._names:
            raise DuplicateEntry(
                "members of the tar", expected="each once", found=f"{quote(member.name)} twice"
            )
        self._names.add(member.name)
        return member

    def content(self, size: int) -> Iterator[bytes]:
        """Return the bytes of the member just read, then check and skip its padding."""
        left = size
        while left:
            chunk = self._read_exactly(min(left, CHUNK))
            left -= len(chunk)
            yield chunk
        if any(self._read_exactly(len(_padding(size)))):
            raise ArchiveInvalid("padding in the tar", expected="zeros", found="other bytes")

    def finish(self) -> None:
        """Check that the second block of zeros follows, and nothing after it."""
        if self._read_exactly(BLOCK) != END_MARK[:BLOCK]:
            raise ArchiveInvalid("the end of the tar", expected="two blocks of zeros", found="one")
        if self._source.read(1):
            raise ArchiveInvalid("the end of the tar", expected="nothing after it", found="more bytes")

    def _read_exactly(self, size: int) -> bytes:
        chunks, left = [], size
        while left:
            chunk = self._source.read(left)  # A socket may return less than it was asked for.
            if not chunk:
                raise ArchiveInvalid("the tar", expected=f"{left} more bytes", found="its end")
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)


def _read_start(members: _MemberReader) -> tuple[str, bytes]:
    """Read the directories and ``bundle.json``; return the bundle's name and the manifest's bytes."""
    path, name = PREFIX.split("/"), ""
    for depth in range(1, 4):
        member = members.next()
        name = member.name.removesuffix("/").rpartition("/")[2] if member else ""
        expected = "/".join([*path, name][:depth]) + "/"
        if member is None or member.kind != _DIRECTORY or member.name != expected:
            text = quote(member.name) if member else "its end"
            raise ArchiveInvalid("the tar", expected=f"the directory `{expected}` first", found=text)
    member = members.next()
    if member is None or member.name != f"{PREFIX}/{name}/{MANIFEST_FILE}" or member.kind != _FILE:
        text = quote(member.name) if member else "the end"
        raise FileMissing(f"`{MANIFEST_FILE}`", expected="the first file of the tar", found=text)
    if member.size > MAX_MANIFEST_BYTES:
        raise too_large(MANIFEST_FILE, member.size, MAX_MANIFEST_BYTES)
    return name, b"".join(members.content(member.size))


def _file_of(member: _Member, name: str, manifest: Manifest) -> str:
    """Return the file name of a member, which the manifest must name with the same size, or ``folder/``."""
    root = f"{PREFIX}/{name}/"
    file = member.name.removeprefix(root)
    in_place = member.name.startswith(root) and member.kind == _DIRECTORY and file.endswith("/")
    if in_place and any(name.startswith(file) for name in manifest.files):
        return file
    if not member.name.startswith(root) or member.kind != _FILE or file not in manifest.files:
        raise FileUnexpected(quote(member.name), expected="only files that the manifest names", found="it")
    check_file_name(file, "member of the tar", folders=FOLDERS)
    size = manifest.files[file].size
    if member.size != size:
        raise SizeMismatch(f"`{file}`", expected=f"{size} bytes", found=str(member.size))
    return file


def _parse(block: bytes) -> _Member:
    """Read a header block; dangerous kinds and names have errors of their own, all else must be canonical."""
    if _checksum(block) != _octal(block[148:156]):
        hint = "a compressed tar? the format is uncompressed" if block[:2] == b"\x1f\x8b" else None
        raise ArchiveInvalid("the tar", expected="a header", found="other bytes", hint=hint)
    kind = _FILE if block[156:157] == b"\0" else block[156:157]  # NUL is the old form of a plain file.
    prefix = _text(block[345:500])
    name = f"{prefix}/{_text(block[:100])}" if prefix else _text(block[:100])
    if kind in _REFUSED_KINDS:
        error, description = _REFUSED_KINDS[kind]
        raise error(quote(name), expected="a plain file", found=description)
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or "//" in name:
        raise PathUnsafe("member of the tar", expected=f"a name under `{PREFIX}/`", found=quote(name))
    size = _octal(block[124:136])
    # The format has one header per name, size and kind: so the block is compared with that one.
    # A size of a folder would hide bytes from readers that skip them, and show members to those that do not.
    is_sized = size is not None and (kind == _FILE or size == 0)
    if kind not in (_FILE, _DIRECTORY) or not is_sized or block != _header_or_none(name, size or 0, kind):
        raise ArchiveInvalid(
            quote(name),
            expected="the header that the format gives it",
            found=f"another (type `{kind.decode('latin-1')}`)",
            hint="write it with `Bundle.write_tar`",
        )
    return _Member(name, kind, size or 0)


def _header_or_none(name: str, size: int, kind: bytes) -> bytes | None:
    try:
        return _header(name, size, kind)
    except PathUnsafe:
        return None


def _header(name: str, size: int, kind: bytes) -> bytes:
    """Return the ustar header of a member (POSIX.1-1988); time, owner and devices are zero."""
    prefix, base = _split_name(name.encode("ascii", "replace"))
    mode = _DIRECTORY_MODE if kind == _DIRECTORY else _FILE_MODE
    fields = [
        base.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % 0,  # user
        b"%07o\0" % 0,  # group
        b"%011o\0" % size,
        b"%011o\0" % 0,  # time
        b" " * 8,  # the checksum is computed with blanks in its own place
        kind,
        bytes(100),  # link target
        b"ustar\x0000",
        bytes(32 + 32),  # user and group names
        b"%07o\0" % 0 * 2,  # device numbers
        prefix.ljust(155, b"\0"),
        bytes(12),
    ]
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % _checksum(block) + block[156:]


def _split_name(name: bytes) -> tuple[bytes, bytes]:
    """Split a name of more than 100 bytes before its last part, as ustar does."""
    if len(name) <= 100:
        return b"", name
    prefix, _, base = name.rstrip(b"/").rpartition(b"/")
    if len(prefix) > 155 or len(base) > 100 or name.endswith(b"/"):
        raise PathUnsafe("member of the tar", expected="a shorter name", found=f"{len(name)} bytes")
    return prefix, base


def _place(name: str) -> tuple[str, ...]:
    """Return what members are sorted by: files in folders come after their folder, behind plain files."""
    folder, slash, plain = name.rpartition("/")
    return (slash, folder, plain)


def _directories(name: str) -> list[str]:
    return ["lading/", f"{PREFIX}/", f"{PREFIX}/{name}/"]


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _checksum(block: bytes) -> int:
    return sum(block[:148]) + 8 * 0x20 + sum(block[156:])


def _octal(field: bytes) -> int | None:
    digits = field.rstrip(b"\0 ")
    return int(digits, 8) if digits and all(0x30 <= digit < 0x38 for digit in digits) else None


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("ascii", "replace")
