"""Scans as a registry keeps them: the last one of each digest. Scans nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from lading.trust.scan import SCAN_TYPE, Scan

if TYPE_CHECKING:
    from lading.registry.attachments import Attachments
    from lading.registry.records import Attachment


def record_scan(attachments: Attachments, digests: Collection[str], scan: Scan, *, actor: str) -> None:
    """Attach a scan to digests, in place of earlier ones: what they said of older feeds no longer counts."""
    body = msgspec.json.encode(scan).decode()
    for digest in digests:
        added = attachments.add(digest, "scan", body, media_type=SCAN_TYPE, actor=actor)
        for earlier in attachments.of(digest, "scan"):
            if earlier.media_type == SCAN_TYPE and earlier.id != added.id:
                attachments.remove(earlier)


def last_scan(attachments: Attachments, digest: str) -> Scan | None:
    """Return the last scan of a digest, or None without one that this version reads."""
    scans = [scan for each in attachments.of(digest, "scan") if (scan := _read(each)) is not None]
    return max(scans, key=lambda scan: scan.scanned_at, default=None)


def last_scans(attachments: Attachments, digests: Collection[str]) -> dict[str, Scan]:
    """Return the last scan of each digest that has one."""
    # Without their bodies first: most digests have none.
    scanned = {each.digest for each in attachments.listed(digests) if each.kind == "scan"}
    scans = {digest: last_scan(attachments, digest) for digest in sorted(scanned)}
    return {digest: scan for digest, scan in scans.items() if scan is not None}


def _read(attachment: Attachment) -> Scan | None:
    if attachment.media_type != SCAN_TYPE:
        return None  # Scans of other programs may be attached, too.
    try:
        return msgspec.json.decode(attachment.body, type=Scan)
    except msgspec.DecodeError:
        return None
