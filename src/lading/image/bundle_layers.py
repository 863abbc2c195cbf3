"""Bundles as layers of an image: from a directory, or from the registry that stores their blobs."""

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
    """Return the layer of the bundle in a directory, which is checked; it has no version number."""
    # Imported here, because it loads numpy: a version from the registry goes into an image unread.
    from lading.bundle import Bundle

    bundle = Bundle.open(path)
    # The digest of the layer is only known once its tar has been written, so it is written twice.
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
    """Return the layer of a version of the registry; its bytes are only read if they have to be sent."""
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
    # A store in an OCI registry holds the layer's blob: that registry can mount it without an upload.
    if store is not None and store.startswith("oci://"):
        host, _, repository = store.removeprefix("oci://").partition("/")
        origin = Origin(host, repository.strip("/"))
    return BundleLayer(entry, version.size_bytes, write, origin)
