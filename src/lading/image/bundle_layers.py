"""Bundles on their way into an image: from a directory or from the registry, where their blobs lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from lading.blobs.digest import NullSink
from lading.image import Origin
from lading.image.build import BundleLayer
from lading.image.labels import BundleEntry

if TYPE_CHECKING:
    from lading.ref import Ref
    from lading.registry import Registry


def from_directory(path: Path) -> BundleLayer:
    """Take a bundle from its directory, checked; it has no version number."""
    # Imported here: a version from the registry goes into an image unread, and numpy need not be loaded.
    from lading.bundle import Bundle

    bundle = Bundle.open(path)
    blob = bundle.write_tar(cast("BinaryIO", NullSink()))
    manifest = bundle.manifest
    entry = BundleEntry(
        name=manifest.name,
        version=0,
        digest=bundle.digest,
        blob=blob.digest,
        purpose=manifest.purpose,
        owner=manifest.owner,
        description=manifest.description,
    )
    return BundleLayer(entry, blob.size, bundle.write_tar)


def from_registry(ref: Ref, registry: Registry, store: str | None) -> BundleLayer:
    """Take a version from the registry; its bytes are only read if they must be sent."""
    version = registry.resolve(ref)
    entry = BundleEntry(
        name=version.name,
        version=version.version,
        digest=version.digest,
        blob=version.blob,
        purpose=version.purpose,
        owner=version.owner,
        description=version.description,
    )

    def write(out: BinaryIO) -> None:
        from lading.ref import Ref as Reference

        registry.fetch(Reference(version.name, digest=version.digest)).write_tar(out)

    origin = None
    if store is not None and store.startswith("oci://"):
        host, _, repository = store.removeprefix("oci://").partition("/")
        origin = Origin(host, repository.strip("/"))
    return BundleLayer(entry, version.size_bytes, write, origin)
