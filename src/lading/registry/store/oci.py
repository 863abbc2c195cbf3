"""Blobs in a repository of an OCI registry: each one the layer of an artifact that other tools read too.

The tag ``blob-<64 hexadecimal digits>`` names the artifact of a blob; ``<name>-<version>`` names it as well
once the catalog has given the version its number (docs/reference/stores.md). The registry itself removes what
an interrupted upload left.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from lading.clock import iso_time, unix_time
from lading.errors import BlobNotFound, RegistryUnavailable
from lading.oci import MANIFEST, Document, Repository, digest_of
from lading.oci.referrers import attach, attestation, detach
from lading.registry.not_found import blob_not_found
from lading.registry.records import Removed, StoredBlob

if TYPE_CHECKING:
    from lading.registry.records import ModelVersion

# https://github.com/modelpack/model-spec/blob/main/docs/spec.md
ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
LAYER_TYPE = "application/vnd.cncf.model.weight.v1.tar"

CREATED = "org.opencontainers.image.created"
TITLE = "org.opencontainers.image.title"

_TAG = re.compile(r"blob-([0-9a-f]{64})")
_CONNECTIONS = 8


class OciStore:
    """A `Store` in a repository of an OCI registry. Safe among machines."""

    def __init__(self, repository: Repository, *, clock: Callable[[], float] = time.time) -> None:
        self._repository = repository
        self._clock = clock

    @property
    def where(self) -> str:
        """The store as a URL."""
        return f"oci://{self._repository.host}/{self._repository.name}"

    def put(self, write: Callable[[BinaryIO], object], digest: str, size_bytes: int) -> None:
        """Upload the blob unless it exists, then its artifact with the present time."""
        blob = self._repository.find_blob(digest)
        if blob is None or not blob.may_have(size_bytes):
            self._upload(write, digest, size_bytes, heal=blob is not None)
        old = self._artifact(digest)
        if old is None:
            config = _config(digest, {})
            stored = self._repository.put_blob(config)
            self._replace(None, _artifact(digest, size_bytes, stored, len(config), {}))
        else:
            self._replace(old, old.manifest)

    def label(self, version: ModelVersion) -> None:
        """Describe the version in the blob's artifact, and tag it ``<name>-<version>``."""
        old = self._artifact(version.blob)
        if old is None:
            raise blob_not_found(version.blob, expected=f"it in `{self.where}`")
        labels = _labels(version)
        # Pushed again, the bundle has kept its version: its artifact is described already.
        if labels.items() <= old.manifest["annotations"].items():
            return
        config = _config(version.blob, labels)
        stored = self._repository.put_blob(config)
        new = _artifact(version.blob, version.size_bytes, stored, len(config), labels)
        self._replace(old, new)

    def attach(self, version: ModelVersion, envelopes: Sequence[bytes]) -> None:
        """Attach attestations to the version's artifact: for cosign, and as referrers."""
        artifact = self._artifact(version.blob)
        if artifact is not None and envelopes:
            attach(self._repository, artifact.document, "att", [*map(attestation, envelopes)])

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading; its digest is checked at its end. Raises `BlobNotFound`."""
        return self._repository.open_blob(digest)

    def has(self, digest: str) -> bool:
        """Return whether the blob and its artifact exist."""
        return self._repository.find_blob(digest) is not None and self._artifact(digest) is not None

    def delete(self, digest: str) -> bool:
        """Remove artifact and blob; return whether either existed. The registry frees the bytes later."""
        artifact = self._artifact(digest)
        if artifact is not None:
            self._repository.delete_manifest(artifact.document.digest)
            detach(self._repository, artifact.document.digest)
        return self._repository.delete_blob(digest) or artifact is not None

    def blobs(self) -> Iterator[StoredBlob]:
        """List all blobs that have an artifact, in order of their digests."""
        tags = (_TAG.fullmatch(tag) for tag in self._repository.tags())
        digests = [f"sha256:{tag[1]}" for tag in tags if tag is not None]
        # One request per blob, and each waits for the network.
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            for artifact in pool.map(self._artifact, digests):
                # None: removed since the tags were listed.
                if artifact is not None:
                    yield artifact.stored()

    def sweep(self, before: float, *, dry_run: bool) -> list[Removed]:  # noqa: ARG002 - as Store says
        """Do nothing: a registry does not list uploads, and removes abandoned ones by itself."""
        return []

    def close(self) -> None:
        """Close all connections; they open again when used."""
        self._repository.close()

    def _upload(
        self, write: Callable[[BinaryIO], object], digest: str, size_bytes: int, *, heal: bool
    ) -> None:
        if heal:
            # A registry keeps the blob that it has under a digest, even if it is damaged.
            self._repository.delete_blob(digest)
        self._repository.upload_blob(write, digest, size_bytes)
        blob = self._repository.find_blob(digest)
        if blob is None or not blob.may_have(size_bytes):
            # None: a `gc` that had just seen that no version names it has removed it.
            kind = BlobNotFound if blob is None else RegistryUnavailable
            raise kind(
                f"store `{self.where}`",
                expected=f"blob `{digest}` of {size_bytes} bytes after its upload",
                found="none" if blob is None else f"{blob.size_bytes} bytes",
                hint="the registry's own storage is damaged: remove the blob there and collect its garbage",
            )

    def _artifact(self, digest: str) -> _Artifact | None:
        document = self._repository.manifest(_tag(digest))
        return None if document is None else _Artifact.read(document, digest, self.where)

    def _replace(self, old: _Artifact | None, manifest: dict[str, Any]) -> None:
        """Put `manifest`, with the present time, in the place of the old one."""
        annotations = {**manifest["annotations"], CREATED: iso_time(self._clock(), "microseconds")}
        data = msgspec.json.encode({**manifest, "annotations": annotations}, order="sorted")
        # The tag that makes the blob exist comes last.
        for tag in (*_version_tags(annotations), _tag(manifest["layers"][0]["digest"])):
            self._repository.put_manifest(tag, data, MANIFEST)
        if old is not None and old.document.digest != digest_of(data):
            # A registry that deletes nothing keeps it, untagged, until it collects its garbage.
            with contextlib.suppress(RegistryUnavailable):
                self._repository.delete_manifest(old.document.digest)
            detach(self._repository, old.document.digest)


class _Artifact(msgspec.Struct, frozen=True):
    document: Document
    digest: str
    manifest: dict[str, Any]
    size_bytes: int
    modified_at: float

    @classmethod
    def read(cls, document: Document, digest: str, where: str) -> _Artifact:
        """Read the manifest under a blob's tag. Raises `RegistryUnavailable` if lading did not write it."""
        try:
            manifest = msgspec.json.decode(document.data, type=dict[str, Any])
            (layer,) = manifest["layers"]
            modified_at = unix_time(manifest["annotations"][CREATED])
            if layer["digest"] != digest:
                raise ValueError(layer["digest"])
            return cls(document, digest, manifest, int(layer["size"]), modified_at)
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryUnavailable(
                f"store `{where}`",
                expected=f"an artifact of lading under the tag `{_tag(digest)}`",
                found=f"another manifest ({error})",
                hint="remove that tag and push the bundle again",
            ) from error

    def stored(self) -> StoredBlob:
        return StoredBlob(self.digest, self.size_bytes, self.modified_at)


def _tag(digest: str) -> str:
    return digest.replace("sha256:", "blob-")


def _version_tags(annotations: dict[str, str]) -> tuple[str, ...]:
    if "lading.version" not in annotations:
        return ()
    return (f"{annotations['lading.name']}-{annotations['lading.version']}",)


def _labels(version: ModelVersion) -> dict[str, str]:
    """Return the annotations that describe a version to people and to other tools."""
    # https://github.com/opencontainers/image-spec/blob/main/annotations.md
    return {
        TITLE: f"{version.name} {version.version}",
        "org.opencontainers.image.description": version.description,
        "org.opencontainers.image.authors": version.owner,
        "org.opencontainers.image.version": str(version.version),
        "lading.name": version.name,
        "lading.version": str(version.version),
        "lading.digest": version.digest,
        "lading.purpose": version.purpose,
        "lading.owner": version.owner,
    }


def _config(digest: str, labels: dict[str, str]) -> bytes:
    """Return the configuration of a model; with no labels, of a blob that no version names yet."""
    # https://github.com/modelpack/model-spec/blob/main/docs/config.md
    descriptor: dict[str, Any] = {}
    if labels:
        descriptor = {
            "name": labels["lading.name"],
            "version": labels["lading.version"],
            "description": labels["org.opencontainers.image.description"],
            "authors": [labels["lading.owner"]],
        }
    config = {
        "descriptor": descriptor,
        "config": {"format": "onnx"},
        "modelfs": {"type": "layers", "diffIds": [digest]},
    }
    return msgspec.json.encode(config, order="sorted")


def _artifact(
    digest: str, size_bytes: int, config: str, config_bytes: int, labels: dict[str, str]
) -> dict[str, Any]:
    name = f"{labels['lading.name']}-{labels['lading.version']}" if labels else digest[7:]
    file = f"{name}.bundle.tar"
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": config, "size": config_bytes},
        "layers": [
            {
                "mediaType": LAYER_TYPE,
                "digest": digest,
                "size": size_bytes,
                "annotations": {TITLE: file, "org.cncf.model.filepath": file},
            }
        ],
        "annotations": labels,
    }
