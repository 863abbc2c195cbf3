"""Bundles as layers of an image: one that is open here, or a version of the registry.

A version goes from the registry into an image unread, but for its manifest. Of one that runs in Python, the
lock of its environment is read too. Nothing of a bundle is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, cast

from lading.blobs.digest import NullSink
from lading.image import Origin
from lading.image.build import BundleLayer
from lading.image.labels import BundleEntry
from lading.ref import Ref
from lading.registry.beside import read_beside

if TYPE_CHECKING:
    from lading.bundle import Bundle, Manifest
    from lading.bundle.environment_lock import EnvironmentLock
    from lading.registry import Registry


def from_bundle(bundle: Bundle) -> BundleLayer:
    """Return the layer of a bundle that is open here; it has no version number."""
    # The digest of the layer is only known once its tar has been written, so it is written twice.
    blob = bundle.write_tar(cast("BinaryIO", NullSink()))
    manifest = bundle.manifest
    lock = bundle.lock() if manifest.runtime == "python" else None
    entry = BundleEntry(
        name=manifest.name,
        version=0,
        digest=bundle.digest,
        blob=blob.digest,
        purpose=manifest.purpose,
        owner=manifest.owner,
        description=manifest.description,
        **_python_fields(manifest, lock),
    )
    attested = tuple(read_beside(bundle.path))
    return BundleLayer(entry, blob.size, bundle.write_tar, lock=lock, attested=attested)


def from_registry(ref: Ref, registry: Registry, store: str | None) -> BundleLayer:
    """Return the layer of a version of the registry; its bytes are only read if they have to be sent.

    Those of a bundle in Python are, for the lock of its environment.
    """
    version = registry.resolve(ref)
    manifest, lock = registry.manifest(version), None
    pinned = Ref(version.name, digest=version.digest)
    if manifest.runtime == "python":
        lock = registry.fetch(pinned).lock()
    entry = BundleEntry(
        name=version.name,
        version=version.version,
        digest=version.digest,
        blob=version.blob,
        purpose=version.purpose,
        owner=version.owner,
        description=version.description,
        **_python_fields(manifest, lock),
    )

    def write(out: BinaryIO) -> None:
        registry.fetch(pinned).write_tar(out)

    origin = None
    # A store in an OCI registry holds the layer's blob: that registry can mount it without an upload.
    if store is not None and store.startswith("oci://"):
        host, _, repository = store.removeprefix("oci://").partition("/")
        origin = Origin(host, repository.strip("/"))
    attested = tuple(row.body for row in registry.attachments.of(version.digest, "attestation"))
    return BundleLayer(entry, version.size_bytes, write, origin, lock, attested)


def _python_fields(manifest: Manifest, lock: EnvironmentLock | None) -> dict[str, str]:
    """Return what an image states about a bundle that runs in Python, nothing about any other."""
    if lock is None:
        return {}
    return {
        "environment": lock.digest,
        "python": manifest.python,
        "executes": manifest.executes_text,
    }
