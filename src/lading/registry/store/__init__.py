"""The contract of stores: blobs by digest, in a folder, in an OCI registry or in a bucket of S3.

Holds the contract alone: each kind is a module, which ``places`` imports when a URL asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from lading.registry.records import ModelVersion, Removed, StoredBlob


class Store(Protocol):
    """Blobs by digest (``sha256:…``). A blob that can be seen is whole. Raises `RegistryUnavailable`."""

    @property
    def where(self) -> str:
        """What a message calls it: a folder or URL."""

    def put(self, write: Callable[[BinaryIO], object], digest: str, size_bytes: int) -> None:
        """Keep what `write` writes, all or nothing; a blob that is there and whole is only made young again.

        `write` may be called again after a fault, or not at all. Raises `SizeMismatch` or `DigestMismatch`
        if it writes something else, and then keeps nothing; `BlobNotFound` if somebody removed it meanwhile.
        """

    def label(self, version: ModelVersion) -> None:
        """Say beside the blob which version it is, where people look without the catalog; or do nothing."""

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading; its bytes need not be checked. Raises `BlobNotFound`."""

    def has(self, digest: str) -> bool:
        """Return whether the blob is there."""

    def delete(self, digest: str) -> bool:
        """Remove the blob; return whether there was one."""

    def blobs(self) -> Iterator[StoredBlob]:
        """List all blobs in order of their digests."""

    def sweep(self, before: float, *, dry_run: bool) -> list[Removed]:
        """Remove what broken-off writes left before the Unix time `before`; never a write under way."""

    def close(self) -> None:
        """Let go of all connections; they open again when used."""
