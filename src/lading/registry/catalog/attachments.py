"""The contract of a catalog's rows about what is attached to digests: attestations, SBOMs, scans."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lading.registry.records import Attachment, AttachmentKind

MOST_READ = 1000
"""How many attachments of a digest are read, the first that were added: nobody can crowd these out."""


class AttachmentCatalog(Protocol):
    """Texts about bundles and images, by the digest that each is about. Added and removed, never changed."""

    def add(self, attachment: Attachment) -> bool:
        """Store an attachment, dated by the catalog's clock; return False if the digest has it already."""

    def of(self, digest: str, kind: AttachmentKind | None) -> list[Attachment]:
        """Return the attachments of a digest, of one kind or of all, in the order of adding."""

    def listed(self, digests: Collection[str]) -> list[Attachment]:
        """Return the attachments of many digests without their bodies, in the order of adding."""

    def remove(self, digest: str, kind: AttachmentKind, id: str) -> bool:
        """Remove an attachment; return whether it existed."""
