"""An image in a registry, to read from or write to. Uploads only what the registry lacks."""

from __future__ import annotations

import shutil
from typing import BinaryIO

from lading.errors import ImageNotFound, RegistryUnavailable
from lading.image import Blob, Descriptor, Origin
from lading.oci import Document, Repository, digest_of


class RemoteImage:
    """The image that a tag or digest names in a repository: a `Source` and a `Target`."""

    def __init__(self, repository: Repository, reference: str) -> None:
        self.repository = repository
        self._reference = reference

    @property
    def where(self) -> str:
        """Return the name to pull it by."""
        mark = "@" if self._reference.startswith("sha256:") else ":"
        return f"{self.repository.host}/{self.repository.name}{mark}{self._reference}"

    @property
    def origin(self) -> Origin:
        """Return the repository as the origin of its blobs."""
        return Origin(self.repository.host, self.repository.name)

    def root(self) -> Document:
        """Read the manifest or index. Raises `ImageNotFound`."""
        return self._document(self._reference)

    def document(self, digest: str) -> Document:
        """Read a manifest by its digest. Raises `ImageNotFound`."""
        return self._document(digest)

    def open(self, digest: str) -> BinaryIO:
        """Open a blob; its digest is checked at its end."""
        return self.repository.open_blob(digest)

    def blob(self, descriptor: Descriptor) -> Blob:
        """Return a blob to put elsewhere; within the same registry it is mounted, not copied."""

        def write(out: BinaryIO) -> None:
            with self.open(descriptor.digest) as source:
                shutil.copyfileobj(source, out, 1 << 20)

        return Blob(descriptor, write, self.origin)

    def put(self, blob: Blob) -> int:
        """Upload a blob unless the registry has it, here or in its origin; return the bytes sent."""
        descriptor, origin = blob.descriptor, blob.origin
        existing = self.repository.find_blob(descriptor.digest)
        # Not every registry states a size; one that differs is of an upload that broke off.
        if existing is not None and existing.may_have(descriptor.size):
            return 0
        # Cross-repository mount, https://github.com/opencontainers/distribution-spec/blob/main/spec.md
        mountable = origin is not None and origin.host == self.repository.host and origin != self.origin
        if mountable and origin is not None and self.repository.mount(descriptor.digest, origin.repository):
            return 0
        self.repository.upload_blob(blob.write, descriptor.digest, descriptor.size)
        return descriptor.size

    def put_document(self, data: bytes, media_type: str) -> int:
        """Write a manifest under its digest; return the bytes sent."""
        self.repository.put_manifest(digest_of(data), data, media_type)
        return len(data)

    def name(self, data: bytes, media_type: str) -> int:
        """Write the last document under the tag; return the bytes sent."""
        digest = self.repository.put_manifest(self._reference, data, media_type)
        if self._reference.startswith("sha256:") and self._reference != digest:
            where = f"image `{self.where}`"
            raise RegistryUnavailable(where, expected="a tag to write to", found="a digest")
        return len(data)

    def close(self) -> None:
        """Close all connections."""
        self.repository.close()

    def _document(self, reference: str) -> Document:
        document = self.repository.manifest(reference)
        if document is None:
            # Blobs under tags are those of bundles, which nobody pulls as an image.
            tags = ", ".join(f"`{tag}`" for tag in self.repository.tags()[:5] if not tag.startswith("blob-"))
            where = f"image `{self.where}`"
            raise ImageNotFound(where, expected="one in the registry", found=f"tags {tags or 'none'}")
        return document
