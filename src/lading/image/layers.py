"""Layers of files as tar: sorted, without times and owners, so that the same files give the same bytes.

Headers are made by hand: the standard library's bytes differ between Python versions. Bundles are not
written here; they have a tar form of their own.
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

from lading.blobs.digest import Tallied
from lading.errors import ImageInvalid, NotSupported
from lading.image import LAYER, LAYER_GZIP, Blob, Descriptor

BLOCK = 512
GZIP_LEVEL = 6
MAX_MEMBER_BYTES = 8**11 - 1
"""What the eleven octal digits of a header hold: 8 GiB, less one byte."""

_UNPACK: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_LONGEST = max(map(len, _UNPACK))
_ZSTD = b"\x28\xb5\x2f\xfd"
_FILE, _DIRECTORY, _PAX = b"0", b"5", b"x"


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A file in a layer: its bytes, or where on this disk they are, and its mode."""

    content: bytes | Path
    mode: int = 0o644

    @property
    def size_bytes(self) -> int:
        """The number of bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def pieces(self) -> Iterator[bytes]:
        """Read the bytes in pieces that fit into memory."""
        if isinstance(self.content, bytes):
            yield self.content
            return
        with self.content.open("rb") as file:
            while piece := file.read(1 << 20):
                yield piece


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in a file of this disk: what a manifest says of it, and the digest of its unpacked bytes."""

    path: Path
    descriptor: Descriptor
    diff_id: str

    @property
    def blob(self) -> Blob:
        """Return the layer as something to put into a target."""
        return Blob(self.descriptor, self._write)

    def _write(self, out: BinaryIO) -> None:
        with self.path.open("rb") as file:
            while piece := file.read(1 << 20):
                out.write(piece)


def files_layer(files: Mapping[str, LayerFile], path: Path, *, compress: bool = True) -> Layer:
    """Write files as a layer to `path`; names are relative to the root, folders come by themselves."""
    return _layer(_archive(files), path, compress=compress)


def archive_layer(archive: Path, path: Path, *, compress: bool = True) -> Layer:
    """Take a whole root filesystem, a tar or a compressed one, as a layer; its bytes stay as they are.

    Raises `ImageInvalid` for what is neither.
    """

    def pieces() -> Iterator[bytes]:
        with archive.open("rb") as raw, opened_tar(raw, f"`{archive}`") as file:
            first = file.read(BLOCK)
            tarfile.TarInfo.frombuf(first, tarfile.ENCODING, "surrogateescape")
            yield first
            while piece := file.read(1 << 20):
                yield piece

    return _layer(pieces(), path, compress=compress)


@contextlib.contextmanager
def opened_tar(file: BinaryIO, where: str) -> Iterator[BinaryIO]:
    """Read a tar, unpacked if it is compressed. Raises `ImageInvalid` when it shows that it is none."""
    raw = io.BufferedReader(cast("io.RawIOBase", file))
    head = raw.peek(_LONGEST)
    unpack = next((one for magic, one in _UNPACK.items() if head.startswith(magic)), None)
    try:
        yield cast("BinaryIO", raw if unpack is None else unpack(raw))
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise ImageInvalid(
            where,
            expected="a tar, plain or compressed with gzip, bzip2 or xz",
            found="zstd" if head.startswith(_ZSTD) else f"something else ({error})",
        ) from error
    finally:
        raw.detach()  # the file is the caller's to close


def _layer(pieces: Iterator[bytes], path: Path, *, compress: bool) -> Layer:
    plain = hashlib.sha256()
    with path.open("wb") as file:
        sink = Tallied(file)
        packed = gzip.GzipFile("", "wb", GZIP_LEVEL, cast("BinaryIO", sink), mtime=0) if compress else None
        for piece in pieces:
            plain.update(piece)
            (packed or sink).write(piece)
        if packed is not None:
            packed.close()
    kind = LAYER_GZIP if compress else LAYER
    descriptor = Descriptor(kind, sink.tally.digest, sink.tally.size_bytes)
    return Layer(path, descriptor, f"sha256:{plain.hexdigest()}")


def _archive(files: Mapping[str, LayerFile]) -> Iterator[bytes]:
    folders = {str(above) + "/" for name in files for above in PurePosixPath(name).parents if above.name}
    for name in sorted([*folders, *files]):
        if name.endswith("/"):
            yield _header(name, 0, 0o755, _DIRECTORY)
            continue
        size_bytes = files[name].size_bytes
        _check_size(name, size_bytes)
        yield _header(name, size_bytes, files[name].mode, _FILE)
        yield from files[name].pieces()
        yield bytes(-size_bytes % BLOCK)
    yield bytes(2 * BLOCK)


def _check_size(name: str, size_bytes: int) -> None:
    if size_bytes > MAX_MEMBER_BYTES:
        hint = "write the image to a registry or to `oci:FOLDER`, which need no tar of it"
        expected, found = f"at most {MAX_MEMBER_BYTES} bytes, as a tar holds", str(size_bytes)
        raise NotSupported(f"file `{name}`", expected=expected, found=found, hint=hint)


def _header(name: str, size: int, mode: int, kind: bytes) -> bytes:
    """Make the header of a member; a name that ustar cannot hold goes before it as a pax record."""
    encoded = name.encode()
    split = _split(encoded)
    if split is None:
        record = _record(b"path=" + encoded + b"\n")
        before = _block(b"pax", b"", len(record), 0o644, _PAX) + record + bytes(-len(record) % BLOCK)
        return before + _block(encoded[:100], b"", size, mode, kind)
    return _block(split[1], split[0], size, mode, kind)


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Split a name as ustar holds it, into a prefix and a base; None if it cannot."""
    if len(name) <= 100:
        return (b"", name) if name.isascii() else None
    at = name.rfind(b"/", 0, 156)
    base = name[at + 1 :]
    return (name[:at], base) if at > 0 and 0 < len(base) <= 100 and name.isascii() else None


def _record(body: bytes) -> bytes:
    # A record begins with its own length, of which its digits are a part.
    length = len(body) + 3
    while len(record := str(length).encode() + b" " + body) != length:
        length = len(record)
    return record


def _block(base: bytes, prefix: bytes, size: int, mode: int, kind: bytes) -> bytes:
    fields = [
        base.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % 0 * 2,  # user and group
        b"%011o\0" % size,
        b"%011o\0" % 0,  # time
        b" " * 8,  # the checksum is taken over blanks
        kind,
        bytes(100),
        b"ustar\x0000",
        bytes(64),
        b"%07o\0" % 0 * 2,
        prefix.ljust(155, b"\0"),
        bytes(12),
    ]
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
