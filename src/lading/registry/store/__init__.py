"""The contract of stores: blobs by digest, in a folder, in an OCI registry or in a bucket of S3.

Holds the contract alone: each kind is a module, which ``registry.open`` imports when a URL asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from lading.registry.records import ModelVersion, Removed, StoredBlob


class Store(Protocol):
    """Blobs by digest (``sha256:…``). A blob that exists is complete. Raises `RegistryUnavailable`."""

    @property
    def where(self) -> str:
        """The name of the store in messages: a folder or URL."""

    def put(self, write: Callable[[BinaryIO], object], digest: str, size_bytes: int) -> None:
        """Store what `write` writes, all or nothing; a complete blob that exists only gets a new time.

        `write` may be called again after a fault, or not at all. Raises `SizeMismatch` or `DigestMismatch`,
        with nothing stored, if it writes something else; `BlobNotFound` if the blob was removed meanwhile.
        """

    def label(self, version: ModelVersion) -> None:
        """Name the version beside its blob, for people who look there without the catalog; or do nothing."""

    def attach(self, version: ModelVersion, envelopes: Sequence[bytes]) -> None:
        """Keep attestations beside the blob, for tools that look there without the catalog; or do nothing."""

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading; its bytes need not be checked. Raises `BlobNotFound`."""

    def has(self, digest: str) -> bool:
        """Return whether the blob exists."""

    def delete(self, digest: str) -> bool:
        """Remove the blob; return whether it existed."""

    def blobs(self) -> Iterator[StoredBlob]:
        """List all blobs in order of their digests."""

    def sweep(self, before: float, *, dry_run: bool) -> list[Removed]:
        """Remove what abandoned writes left before the Unix time `before`; never a write under way."""

    def close(self) -> None:
        """Close all connections; they open again when used."""
