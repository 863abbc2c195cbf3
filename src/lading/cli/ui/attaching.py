"""Attaches documents to digests in a registry, where that can be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lading.cli.ui import printing
from lading.cli.ui.parameters import current_actor
from lading.errors import RegistryUnavailable

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.trust.scan import Scan


def attach_sbom(registry: Registry, digests: Sequence[str], body: str, media_type: str) -> None:
    """Attach a document of CycloneDX to digests; where that is not possible, say so on stderr."""
    actor = current_actor(None)
    try:
        for digest in digests:
            registry.attachments.add(digest, "sbom", body, media_type=media_type, actor=actor)
    except RegistryUnavailable as error:
        printing.info(f"note: the document is not recorded: {error.message}")


def attach_scan(registry: Registry, digests: Sequence[str], scan: Scan) -> bool:
    """Attach a scan to digests, and return whether that was possible; where it is not, say so on stderr."""
    from lading.trust.records import record_scan

    try:
        record_scan(registry.attachments, digests, scan, actor=current_actor(None))
    except RegistryUnavailable as error:
        printing.info(f"note: the scan is not recorded: {error.message}")
        return False
    return True
