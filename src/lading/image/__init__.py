"""Container images, built and read without a container engine.

This file holds the documents of an image and the two contracts: a `Source` to read an image from and a
`Target` to write one to. ``remote`` (a registry), ``layout`` (an OCI layout) and ``docker`` (an archive)
implement them, and ``references`` chooses one. Knows nothing of bundles; ``build`` puts them into images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import msgspec

from lading.errors import ImageInvalid
from lading.oci import DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST, Document

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"

OCI_TYPE = {
    DOCKER_LIST: INDEX,
    DOCKER_MANIFEST: MANIFEST,
    "application/vnd.docker.container.image.v1+json": CONFIG,
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar.zstd": LAYER_ZSTD,
}
"""The OCI names of Docker's media types; the bytes are the same."""

# The largest configuration of an image that is read.
MAX_CONFIG_BYTES = 8 << 20
EPOCH = "1970-01-01T00:00:00Z"


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a manifest or index states about a document or layer that it refers to."""

    media_type: str
    digest: str
    size: int
    platform: dict[str, Any] | None = None
    annotations: dict[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """The manifest of an image for one platform."""

    schema_version: int
    media_type: str = ""
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A list of manifests, one for each platform."""

    schema_version: int
    media_type: str = ""
    manifests: list[Descriptor]
    annotations: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """A repository that holds a blob already, so that its registry can mount it from there."""

    host: str
    repository: str


@dataclass(frozen=True, slots=True)
class Blob:
    """A layer or configuration, with a function that writes its bytes (called again if an upload fails)."""

    descriptor: Descriptor
    write: Callable[[BinaryIO], object]
    origin: Origin | None = None


class Source(Protocol):
    """An image to read. Raises `ImageNotFound`, `ImageInvalid` and `RegistryUnavailable`."""

    @property
    def where(self) -> str:
        """The name to use in messages."""

    def root(self) -> Document:
        """Read the manifest or index that the reference names."""

    def document(self, digest: str) -> Document:
        """Read a manifest by its digest."""

    def open(self, digest: str) -> BinaryIO:
        """Open a layer or configuration; its digest is checked by the end at the latest."""

    def blob(self, descriptor: Descriptor) -> Blob:
        """Return a layer or configuration to put into a target."""

    def close(self) -> None:
        """Close connections."""


class Target(Protocol):
    """A place to write an image to. A name never refers to an image that lacks a part."""

    @property
    def where(self) -> str:
        """The name to use in messages."""

    def put(self, blob: Blob) -> int:
        """Store a layer or configuration, checked by its digest, unless it exists; return the bytes sent."""

    def put_document(self, data: bytes, media_type: str) -> int:
        """Store a manifest under its digest; return the bytes sent."""

    def name(self, data: bytes, media_type: str) -> int:
        """Store the last document and point the reference to it; return the bytes sent."""

    def close(self) -> None:
        """Close connections and remove temporary files."""


def canonical(value: object) -> bytes:
    """Return a document as JSON: equal values give equal bytes, and so the same digest."""
    return msgspec.json.encode(value, order="sorted")


def read_manifest(document: Document, where: str) -> Manifest:
    """Parse the manifest of one platform. Raises `ImageInvalid`."""
    try:
        return msgspec.json.decode(document.data, type=Manifest)
    except ValueError as error:
        actual = f"{document.media_type or 'other bytes'} ({error})"
        raise ImageInvalid(f"image `{where}`", expected="an image's manifest", found=actual) from error


def read_index(document: Document, where: str) -> Index | None:
    """Parse an index, or return None if the document is the manifest of one platform.

    Raises `ImageInvalid`.
    """
    try:
        # By its keys, because the media type in the document is optional.
        content = msgspec.json.decode(document.data, type=dict[str, Any])
        if "manifests" not in content:
            return None
        return msgspec.convert(content, Index)
    except ValueError as error:
        actual = f"other bytes ({error})"
        raise ImageInvalid(f"image `{where}`", expected="a manifest or an index", found=actual) from error


def read_config(source: Source, manifest: Manifest) -> dict[str, Any]:
    """Return the configuration of an image: what it runs, and the digests of its unpacked layers.

    Raises `ImageInvalid` if it is not what the manifest describes.
    """
    if manifest.config.size > MAX_CONFIG_BYTES:
        expected, actual = f"at most {MAX_CONFIG_BYTES >> 20} MiB", f"{manifest.config.size} bytes"
        raise ImageInvalid(f"configuration of `{source.where}`", expected=expected, found=actual)
    with source.open(manifest.config.digest) as file:
        # One more than there should be: the digest is checked at the end of the blob.
        data = file.read(manifest.config.size + 1)
    if len(data) != manifest.config.size:
        where, expected = f"configuration of `{source.where}`", f"{manifest.config.size} bytes"
        raise ImageInvalid(where, expected=f"{expected}, as the manifest says", found=str(len(data)))
    try:
        config = msgspec.json.decode(data, type=dict[str, Any])
    except ValueError as error:
        where, actual = f"configuration of `{source.where}`", f"other bytes ({error})"
        raise ImageInvalid(where, expected="JSON", found=actual) from error
    layers = config.get("rootfs", {}).get("diff_ids", [])
    if len(layers) != len(manifest.layers):
        raise ImageInvalid(
            f"configuration of `{source.where}`",
            expected=f"{len(manifest.layers)} layers, as the manifest says",
            found=str(len(layers)),
            hint="an artifact, such as a bundle in a store, is not an image: name the runtime image",
        )
    return config


def oci_type(media_type: str, where: str) -> str:
    """Return the OCI name of a media type. Raises `ImageInvalid` for layers that are stored elsewhere."""
    known = OCI_TYPE.get(media_type, media_type)
    if known not in {INDEX, MANIFEST, CONFIG, LAYER, LAYER_GZIP, LAYER_ZSTD}:
        raise ImageInvalid(f"image `{where}`", expected="layers as tar files", found=f"`{media_type}`")
    return known


def environment_of(run_config: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables of an image's run configuration."""
    return dict(variable.partition("=")[::2] for variable in run_config.get("Env") or ())
