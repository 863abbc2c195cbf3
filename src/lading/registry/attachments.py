"""What is attached to bundles and images outside their digests: attestations, SBOMs, scans.

Stores texts by the digest that they are about, and judges none of them: ``trust`` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from lading.errors import AttachmentTooLarge, InvalidReference
from lading.ref import is_digest
from lading.registry.records import Attachment, AttachmentKind

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog

MAX_BODY_BYTES = 16 * 2**20
"""The longest text that is stored: a row is read as a whole, by every server that loads the bundle."""


class Attachments:
    """The attachments in a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._rows = catalog.attachments

    def add(self, digest: str, kind: AttachmentKind, body: str, *, media_type: str, actor: str) -> Attachment:
        """Attach a text to a digest, once; return it with its id, the sha256 of its UTF-8 bytes.

        Raises `AttachmentTooLarge` for more than 16 MB, `InvalidReference` for what is no digest.
        """
        attachment = make_attachment(digest, kind, body, media_type=media_type, actor=actor)
        self._rows.add(attachment)
        return attachment

    def of(self, digest: str, kind: AttachmentKind | None = None) -> list[Attachment]:
        """Return the attachments of a digest in the order of adding, the first thousand."""
        return self._rows.of(digest, kind)

    def listed(self, digests: Collection[str]) -> list[Attachment]:
        """Return the attachments of many digests without their bodies, in the order of adding."""
        return self._rows.listed(digests)

    def remove(self, attachment: Attachment) -> bool:
        """Remove an attachment; return whether it existed."""
        return self._rows.remove(attachment.digest, attachment.kind, attachment.id)


def make_attachment(
    digest: str, kind: AttachmentKind, body: str, *, media_type: str, actor: str
) -> Attachment:
    """Return a text as an attachment of a digest; raises as `Attachments.add`."""
    if not is_digest(digest):
        raise InvalidReference(f"digest `{digest}`", expected="`sha256:` and 64 hexadecimal digits")
    data = body.encode()
    if len(data) > MAX_BODY_BYTES:
        raise AttachmentTooLarge(
            f"{kind} of `{digest}`",
            expected=f"at most {MAX_BODY_BYTES:,} bytes",
            found=f"{len(data):,} bytes",
        )
    identity = hashlib.sha256(data).hexdigest()
    return Attachment(digest=digest, kind=kind, id=identity, actor=actor, media_type=media_type, body=body)
