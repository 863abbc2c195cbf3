"""Bundles as layers of an image: one that is open here, or a version of the registry.

A version goes from the registry into an image unread, but for its manifest. One that runs in Python is
refused: images do not have its environment yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, cast

from lading.blobs.digest import NullSink
from lading.errors import NotSupported
from lading.image import Origin
from lading.image.build import BundleLayer
from lading.image.labels import BundleEntry
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle import Bundle, Manifest
    from lading.registry import Registry


def from_bundle(bundle: Bundle) -> BundleLayer:
    """Return the layer of a bundle that is open here; it has no version number. Raises `NotSupported`."""
    # The digest of the layer is only known once its tar has been written, so it is written twice.
    blob = bundle.write_tar(cast("BinaryIO", NullSink()))
    manifest = bundle.manifest
    _check_runtime(manifest)
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
    """Return the layer of a version of the registry; its bytes are only read if they have to be sent.

    Raises `NotSupported`.
    """
    version = registry.resolve(ref)
    _check_runtime(registry.manifest(version))
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
        registry.fetch(Ref(version.name, digest=version.digest)).write_tar(out)

    origin = None
    # A store in an OCI registry holds the layer's blob: that registry can mount it without an upload.
    if store is not None and store.startswith("oci://"):
        host, _, repository = store.removeprefix("oci://").partition("/")
        origin = Origin(host, repository.strip("/"))
    return BundleLayer(entry, version.size_bytes, write, origin)


def _check_runtime(manifest: Manifest) -> None:
    if manifest.runtime != "onnx":
        raise NotSupported(
            f"an image of `{manifest.name}`",
            expected="a bundle that ONNX Runtime runs",
            found="one in Python, whose environment images do not have yet",
            hint="let servers load it from the registry at their start",
        )
