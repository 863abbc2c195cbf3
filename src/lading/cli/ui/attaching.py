"""Attaches documents to digests in a registry, where that can be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from lading.cli.ui import printing
from lading.cli.ui.parameters import current_actor
from lading.errors import RegistryUnavailable

if TYPE_CHECKING:
    from lading.registry import Registry


def attach(
    registry: Registry, digests: Sequence[str], kind: Literal["sbom", "scan"], body: str, media_type: str
) -> bool:
    """Attach a text to digests, and return whether that was possible; where it is not, say so on stderr."""
    try:
        for digest in digests:
            registry.attachments.add(digest, kind, body, media_type=media_type, actor=current_actor(None))
    except RegistryUnavailable as error:
        printing.info(f"note: the {kind} is not recorded: {error.message}")
        return False
    return True
