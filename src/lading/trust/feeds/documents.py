"""The documents in a folder of feeds: files, lines of files and members of archives, bounded in size.

Those who publish feeds are not trusted with the memory of this process: a document, an archive and what both
unpack to have limits, and what exceeds one is refused by name. Knows no form of feed.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from lading.errors import FeedInvalid

SUFFIXES = (".json", ".jsonl", ".ndjson", ".rdf", ".xml")
_LINES = (".jsonl", ".ndjson")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The greatest sizes that are read. The yearly files of NVD are the largest in use: 150 MB."""

    document_bytes: int = 16 * 2**20  # of an advisory, a line, a file of products
    list_bytes: int = 512 * 2**20  # of a file that begins as NVD's and JVN's lists do
    source_bytes: int = 4 * 2**30  # of everything in an archive
    documents: int = 1_000_000  # in a source


class Document(msgspec.Struct, frozen=True):
    """The bytes of one document, the feed that it belongs to, and its name in messages."""

    source: str
    path: str  # in the folder, or in the archive
    where: str
    data: bytes
    modified_at: float  # of the file, Unix time


def documents_in(folder: Path, limits: Limits) -> Iterator[Document]:
    """Yield the documents of a folder, or of one file, in the order of their paths. Raises `FeedInvalid`.

    Each archive and each file of lines is a source of its own, so that a stale one cannot hide behind a fresh
    one; single documents belong to the first folder in which they are.
    """
    files = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    root = folder.parent if folder.is_file() else folder
    for path in files:
        name = path.relative_to(root).as_posix()
        try:
            yield from _documents(path, name, limits)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise FeedInvalid(f"feed `{name}`", expected="a file that can be read", found=reason) from None


def _documents(path: Path, name: str, limits: Limits) -> Iterator[Document]:
    plain = name.removesuffix(".gz")
    if name.endswith(".zip"):
        yield from _members(path, name, limits)
        return
    if not plain.endswith(SUFFIXES):
        return  # Checksums, licences, READMEs.
    where, modified_at = f"feed `{name}`", path.stat().st_mtime
    with path.open("rb") as raw:
        file = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if plain != name else raw
        try:
            if plain.endswith(_LINES):
                yield from _lines(file, name, limits, modified_at)
                return
            data = _whole(file, where, limits)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FeedInvalid(where, expected="gzip", found=f"damaged data ({error})") from None
    first, slash, _ = name.partition("/")
    # A list is a feed of its own, also beside others in one folder; entries in files are one feed together.
    is_own = _is_list(data) or data.lstrip()[:1] == b"["
    source = name if is_own else first if slash else path.parent.name
    yield Document(source, name, where, data, modified_at)


def _lines(file: BinaryIO, name: str, limits: Limits, modified_at: float) -> Iterator[Document]:
    total = 0
    for number in range(1, limits.documents + 2):
        where = f"feed `{name}`, line {number}"
        line = file.readline(limits.document_bytes + 1)
        if not line:
            return
        total += len(line)
        _check_size(len(line), limits.document_bytes, where)
        _check_size(total, limits.source_bytes, f"feed `{name}`")
        if line.strip():
            yield Document(name, name, where, line, modified_at)
    raise _too_many(name, limits)


def _whole(file: BinaryIO, where: str, limits: Limits) -> bytes:
    data = file.read(limits.document_bytes + 1)
    if len(data) <= limits.document_bytes:
        return data
    if not _is_list(data):
        raise _too_large(where, limits.document_bytes)
    out = io.BytesIO(data)
    out.seek(0, io.SEEK_END)
    while part := file.read(1 << 20):
        out.write(part)
        _check_size(out.tell(), limits.list_bytes, where)
    return out.getvalue()


def _members(path: Path, name: str, limits: Limits) -> Iterator[Document]:
    where, modified_at, total = f"feed `{name}`", path.stat().st_mtime, 0
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(SUFFIXES)]
            if len(members) > limits.documents:
                raise _too_many(name, limits)
            # Checked before anything is unpacked; `zipfile` unpacks no more than the stated size.
            for member in members:
                total += member.file_size
                of_member = f"{where}, `{member.filename}`"
                # A member may be a whole list, which its first bytes show.
                _check_size(member.file_size, limits.list_bytes, of_member)
                _check_size(total, limits.source_bytes, where)
            for member in members:
                of_member = f"{where}, `{member.filename}`"
                with archive.open(member) as file:
                    data = _whole(cast("BinaryIO", file), of_member, limits)
                yield Document(name, member.filename, of_member, data, modified_at)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError) as error:
        raise FeedInvalid(where, expected="a zip archive", found=f"another form ({error})") from None


def _is_list(data: bytes) -> bool:
    """Return whether a document begins as NVD's JSON or as XML, which hold many entries in one file."""
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"<") or b'"NVD_CVE"' in head


def _check_size(size: int, most: int, where: str) -> None:
    if size > most:
        raise _too_large(where, most)


def _too_large(where: str, most: int) -> FeedInvalid:
    return FeedInvalid(where, expected=f"at most {most:,} bytes", found="more")


def _too_many(name: str, limits: Limits) -> FeedInvalid:
    return FeedInvalid(f"feed `{name}`", expected=f"at most {limits.documents:,} documents", found="more")
