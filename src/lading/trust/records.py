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
        # Added before earlier ones are removed: a reader in between has two scans, and never none.
        added = attachments.add(digest, "scan", body, media_type=SCAN_TYPE, actor=actor)
        for earlier in attachments.of(digest, "scan"):
            if earlier.media_type == SCAN_TYPE and earlier.id != added.id:
                attachments.remove(earlier)


def last_scan(attachments: Attachments, digest: str) -> Scan | None:
    """Return the last scan of a digest, or None without one that this version reads."""
    scans = [scan for each in attachments.of(digest, "scan") if (scan := _read(each)) is not None]
    return max(scans, key=lambda scan: scan.scanned_at, default=None)


class LastScans:
    """The last scans of digests, read again and again: a body is read once. Used by one thread."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments
        # By digest: the ids of its scans, and the last one.
        self._known: dict[str, tuple[frozenset[str], Scan | None]] = {}

    def read(self, digests: Collection[str]) -> dict[str, Scan]:
        """Return the last scan of each digest that has one; one query where nothing has changed."""
        if not digests:
            return {}
        ids: dict[str, set[str]] = {}
        for each in self._attachments.listed(digests):
            if each.kind == "scan":
                ids.setdefault(each.digest, set()).add(each.id)
        known = {}
        for digest, present in ids.items():
            before = self._known.get(digest)
            is_same = before is not None and before[0] == present
            last = before[1] if is_same and before else last_scan(self._attachments, digest)
            known[digest] = (frozenset(present), last)
        self._known = known
        return {digest: last for digest, (_, last) in known.items() if last is not None}


def last_scans(attachments: Attachments, digests: Collection[str]) -> dict[str, Scan]:
    """Return the last scan of each digest that has one."""
    return LastScans(attachments).read(digests)


def _read(attachment: Attachment) -> Scan | None:
    if attachment.media_type != SCAN_TYPE:
        return None  # Scans of other programs may be attached, too.
    try:
        return msgspec.json.decode(attachment.body, type=Scan)
    except msgspec.DecodeError:
        return None
