"""Layers of files as tar: sorted, without times and owners, so that the same files give the same bytes.

Headers are written here because those of the standard library differ between Python versions. Bundles have a
tar form of their own and are not written here.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from lading.blobs.digest import HashingWriter
from lading.errors import ImageInvalid, NotSupported
from lading.image import LAYER, LAYER_GZIP, Blob, Descriptor

BLOCK = 512
GZIP_LEVEL = 6
MAX_MEMBER_BYTES = 8**11 - 1
"""The largest number of eleven octal digits, which a header has: 8 GiB less one byte."""
# What a layer may hold unpacked: a few compressed bytes may be many gigabytes.
MAX_UNPACKED_BYTES = 32 << 30

_DECOMPRESSORS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_MAGIC_BYTES = max(map(len, _DECOMPRESSORS))
_ZSTD = b"\x28\xb5\x2f\xfd"
_FILE, _LINK, _DIRECTORY, _PAX = b"0", b"2", b"5", b"x"  # Types of members.


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A file in a layer: its bytes, or the path of a file that has them, and its mode.

    With a ``link``, of at most 100 ASCII characters, it is a symbolic link to that path and has no bytes.
    """

    content: bytes | Path
    mode: int = 0o644
    link: str = ""

    @property
    def size_bytes(self) -> int:
        """The number of bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes in chunks that fit into memory."""
        if isinstance(self.content, bytes):
            yield self.content
            return
        with self.content.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in a local file: its descriptor for manifests, and the digest of its uncompressed bytes."""

    path: Path
    descriptor: Descriptor
    diff_id: str

    @property
    def blob(self) -> Blob:
        """The layer as a blob to put into a target."""
        return Blob(self.descriptor, self._write)

    def _write(self, out: BinaryIO) -> None:
        with self.path.open("rb") as file:
            while chunk := file.read(1 << 20):
                out.write(chunk)


def files_layer(files: Mapping[str, LayerFile], path: Path, *, compress: bool = True) -> Layer:
    """Write files as a layer to `path`; names are relative to the root, and folders are added as needed."""
    return _layer(_archive(files), path, compress=compress)


def archive_layer(archive: Path, path: Path, *, compress: bool = True) -> Layer:
    """Write the root filesystem in a tar, compressed or not, as a layer to `path`; its bytes do not change.

    Raises `ImageInvalid` if it is no tar.
    """

    def chunks() -> Iterator[bytes]:
        with archive.open("rb") as raw, open_tar(raw, f"`{archive}`") as file:
            first = file.read(BLOCK)
            # Raises a `TarError` unless the first block is a header, before anything is written.
            tarfile.TarInfo.frombuf(first, tarfile.ENCODING, "surrogateescape")
            yield first
            while chunk := file.read(1 << 20):
                yield chunk

    return _layer(chunks(), path, compress=compress)


@contextlib.contextmanager
def open_tar(file: BinaryIO, where: str) -> Iterator[BinaryIO]:
    """Open a tar, decompressed if need be. Raises `ImageInvalid` when it turns out to be none."""
    raw = io.BufferedReader(cast("io.RawIOBase", file))
    # By content: the name of an archive may say anything.
    head = raw.peek(_MAGIC_BYTES)
    decompressors = (opener for magic, opener in _DECOMPRESSORS.items() if head.startswith(magic))
    decompress = next(decompressors, None)
    try:
        yield cast("BinaryIO", raw if decompress is None else decompress(raw))
    # What the block raises as well: damage shows itself while the tar is read.
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise ImageInvalid(
            where,
            expected="a tar, plain or compressed with gzip, bzip2 or xz",
            found="zstd" if head.startswith(_ZSTD) else f"something else ({error})",
        ) from error
    finally:
        raw.detach()  # Closing the file is left to the caller.


def _layer(chunks: Iterator[bytes], path: Path, *, compress: bool) -> Layer:
    uncompressed = hashlib.sha256()
    with path.open("wb") as file:
        sink = HashingWriter(file)
        # No name and no time in the header, or the same files would give other bytes.
        zipped = gzip.GzipFile("", "wb", GZIP_LEVEL, cast("BinaryIO", sink), mtime=0) if compress else None
        for chunk in chunks:
            uncompressed.update(chunk)
            (zipped or sink).write(chunk)
        if zipped is not None:
            zipped.close()
    media_type = LAYER_GZIP if compress else LAYER
    descriptor = Descriptor(media_type, sink.hash.digest, sink.hash.size_bytes)
    return Layer(path, descriptor, f"sha256:{uncompressed.hexdigest()}")


def _archive(files: Mapping[str, LayerFile]) -> Iterator[bytes]:
    folders = {str(parent) + "/" for name in files for parent in PurePosixPath(name).parents if parent.name}
    for name in sorted([*folders, *files]):
        if name.endswith("/"):
            yield _header(name, 0, 0o755, _DIRECTORY)
            continue
        size_bytes = files[name].size_bytes
        _check_size(name, size_bytes)
        link = files[name].link
        yield _header(name, size_bytes, files[name].mode, _LINK if link else _FILE, link.encode("ascii"))
        yield from files[name].chunks()
        yield bytes(-size_bytes % BLOCK)  # Padding to a whole block.
    yield bytes(2 * BLOCK)  # The end of a tar.


def _check_size(name: str, size_bytes: int) -> None:
    if size_bytes > MAX_MEMBER_BYTES:
        hint = "write the image to a registry or to `oci:FOLDER`, which need no tar of it"
        expected, actual = f"at most {MAX_MEMBER_BYTES} bytes, as a tar holds", str(size_bytes)
        raise NotSupported(f"file `{name}`", expected=expected, found=actual, hint=hint)


def _header(name: str, size: int, mode: int, kind: bytes, link: bytes = b"") -> bytes:
    """Return the header of a member; a name that ustar cannot hold precedes it in a pax record."""
    encoded = name.encode()
    split = _split(encoded)
    if split is None:
        record = _record(b"path=" + encoded + b"\n")
        pax = _block(b"pax", b"", len(record), 0o644, _PAX) + record + bytes(-len(record) % BLOCK)
        return pax + _block(encoded[:100], b"", size, mode, kind, link)
    return _block(split[1], split[0], size, mode, kind, link)


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Split a name into the prefix and base of a ustar header, or return None if it does not fit."""
    if len(name) <= 100:
        return (b"", name) if name.isascii() else None
    # The prefix has 155 bytes, the base 100; the slash between them is not stored.
    at = name.rfind(b"/", 0, 156)
    base = name[at + 1 :]
    return (name[:at], base) if at > 0 and 0 < len(base) <= 100 and name.isascii() else None


def _record(body: bytes) -> bytes:
    # A record begins with its own length, which counts its own digits too.
    length = len(body) + 3
    while len(record := str(length).encode() + b" " + body) != length:
        length = len(record)
    return record


def _block(base: bytes, prefix: bytes, size: int, mode: int, kind: bytes, link: bytes = b"") -> bytes:
    fields = [
        base.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % 0 * 2,  # user and group
        b"%011o\0" % size,
        b"%011o\0" % 0,  # time
        b" " * 8,  # the checksum is computed with blanks in its place
        kind,
        link.ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),
        b"%07o\0" % 0 * 2,
        prefix.ljust(155, b"\0"),
        bytes(12),
    ]
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
