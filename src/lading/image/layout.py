"""An image in an OCI layout: a folder with ``index.json`` and ``blobs/sha256/…``.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md. Files appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from lading.blobs.digest import HashingWriter
from lading.blobs.locks import file_lock
from lading.blobs.os_errors import destination_errors
from lading.errors import ImageInvalid, ImageNotFound
from lading.image import Blob, Descriptor, Index, canonical
from lading.image.verifying_reader import verifying_reader
from lading.oci import INDEX, Document, digest_of
from lading.ref import is_digest

REF_NAME = "org.opencontainers.image.ref.name"


class LayoutImage:
    """The image `tag` of the layout in `folder`, or its only one: a `Source` and a `Target`."""

    def __init__(self, folder: Path, tag: str | None) -> None:
        self._folder = folder
        self._tag = tag

    @property
    def where(self) -> str:
        """The name as skopeo and podman write it."""
        return f"oci:{self._folder}" + (f":{self._tag}" if self._tag else "")

    def root(self) -> Document:
        """Read the manifest or index of the tag, or of the only image. Raises `ImageNotFound`."""
        entries = self._index().manifests
        matching = [entry for entry in entries if self._tag is None or _tag_of(entry) == self._tag]
        if len(matching) != 1:
            tags = ", ".join(f"`{_tag_of(entry)}`" for entry in entries if _tag_of(entry)) or "no tag"
            expected = "an existing tag" if self._tag else "one image, or its tag after a `:`"
            raise ImageNotFound(f"image `{self.where}`", expected=expected, found=tags)
        return self.document(matching[0].digest)

    def document(self, digest: str) -> Document:
        """Read a manifest by its digest. Raises `ImageNotFound`."""
        with self.open(digest) as file:
            data = file.read()
        return Document(data, media_type_in(data, f"`{self._path(digest)}`"), digest)

    def open(self, digest: str) -> BinaryIO:
        """Open a blob, checked at its end. Raises `ImageNotFound`."""
        path = self._path(digest)
        try:
            return verifying_reader(path.open("rb"), digest, f"`{path}`")
        except FileNotFoundError:
            where = f"image `{self.where}`"
            raise ImageNotFound(where, expected=f"its part `{digest}`", found="no such file") from None

    def blob(self, descriptor: Descriptor) -> Blob:
        """Return a blob to put elsewhere."""

        def write(out: BinaryIO) -> None:
            with self.open(descriptor.digest) as source:
                shutil.copyfileobj(source, out, 1 << 20)

        return Blob(descriptor, write)

    def put(self, blob: Blob) -> int:
        """Write a blob unless it exists undamaged; return the bytes written."""
        descriptor = blob.descriptor
        path = self._path(descriptor.digest)
        with destination_errors(f"image `{self.where}`"):
            if _is_intact(path, descriptor.digest):
                return 0
            path.parent.mkdir(parents=True, exist_ok=True)
            with _atomic_write(path) as file:
                sink = HashingWriter(file)
                blob.write(cast("BinaryIO", sink))
                sink.hash.check(descriptor.digest, descriptor.size)
        return descriptor.size

    def put_document(self, data: bytes, media_type: str) -> int:
        """Write a manifest; return the bytes written."""
        return self.put(Blob(Descriptor(media_type, digest_of(data), len(data)), lambda out: out.write(data)))

    def name(self, data: bytes, media_type: str) -> int:
        """Write the last document and point the tag to it in ``index.json``; return the bytes written."""
        sent = self.put_document(data, media_type)
        annotations = {REF_NAME: self._tag} if self._tag else None
        entry = Descriptor(media_type, digest_of(data), len(data), annotations=annotations)
        # One process at a time reads and writes the index, so that no tag of another one is lost.
        with destination_errors(f"image `{self.where}`"), file_lock(self._folder / ".index.lock"):
            entries = [] if not self._index_file.exists() else self._index().manifests
            others = [other for other in entries if _tag_of(other) != (self._tag or "")]
            index = Index(schema_version=2, media_type=INDEX, manifests=[*others, entry])
            for path, text in (
                (self._folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
                (self._index_file, canonical(index)),
            ):
                with _atomic_write(path) as file:
                    file.write(text)
        return sent

    def close(self) -> None:
        """Do nothing: every file is closed where it is used."""

    @property
    def _index_file(self) -> Path:
        return self._folder / "index.json"

    def _index(self) -> Index:
        try:
            return msgspec.json.decode(self._index_file.read_bytes(), type=Index)
        except FileNotFoundError:
            where = f"image `{self.where}`"
            raise ImageNotFound(where, expected=f"`{self._index_file}`", found="no such file") from None
        except ValueError as error:
            where = f"`{self._index_file}`"
            raise ImageInvalid(where, expected="an index", found=f"other bytes ({error})") from error

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise ImageInvalid(f"image `{self.where}`", expected="a sha256 digest", found=f"`{digest}`")
        return self._folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def media_type_in(data: bytes, where: str) -> str:
    """Return the media type that a manifest or index states for itself. Raises `ImageInvalid`."""
    try:
        content = msgspec.json.decode(data, type=dict[str, Any])
    except ValueError as error:
        expected, actual = "a manifest or an index", f"other bytes ({error})"
        raise ImageInvalid(where, expected=expected, found=actual) from error
    return str(content.get("mediaType", ""))


def _is_intact(path: Path, digest: str) -> bool:
    """Return whether a blob exists and has its digest; a damaged one is written again."""
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at `path`, complete, when the block ends without an error."""
    # The random part keeps two processes that write the same blob apart.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            # Otherwise the new name may survive a power failure without the data.
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _tag_of(entry: Descriptor) -> str:
    return (entry.annotations or {}).get(REF_NAME, "")
