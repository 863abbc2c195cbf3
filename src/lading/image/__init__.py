"""Container images made and read without a container engine.

This file holds the words and the two contracts: a `Source` to read an image from and a `Target` to write one
to; ``remote`` (a registry), ``layout`` (an OCI layout) and ``docker`` (a docker archive) implement them, and
``places`` chooses. Nothing of a bundle is in here: ``build`` puts bundles into images.
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
"""What Docker's media types are called by OCI: the bytes are the same."""

EPOCH = "1970-01-01T00:00:00Z"


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a manifest or index says of a document or layer that it names."""

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
    """A repository in which a blob lies already, so that its registry can take it over from there."""

    host: str
    repository: str


@dataclass(frozen=True, slots=True)
class Blob:
    """A layer or configuration: what it is, and what writes its bytes (called once more after a fault)."""

    descriptor: Descriptor
    write: Callable[[BinaryIO], object]
    origin: Origin | None = None


class Source(Protocol):
    """An image to read. Raises `ImageNotFound`, `ImageInvalid` and `RegistryUnavailable`."""

    @property
    def where(self) -> str:
        """What a message calls it."""

    def root(self) -> Document:
        """Read the manifest or index that the reference names."""

    def document(self, digest: str) -> Document:
        """Read a manifest by its digest."""

    def open(self, digest: str) -> BinaryIO:
        """Open a layer or configuration; its digest is checked at its end at the latest."""

    def blob(self, descriptor: Descriptor) -> Blob:
        """Return a layer or configuration to put into a target."""


class Target(Protocol):
    """A place to write an image to. A name never leads to an image of which a part is missing."""

    @property
    def where(self) -> str:
        """What a message calls it."""

    def put(self, blob: Blob) -> int:
        """Keep a layer or configuration, checked by its digest, if it is not there; return the bytes sent."""

    def put_document(self, data: bytes, media_type: str) -> int:
        """Keep a manifest under its digest; return the bytes sent."""

    def name(self, data: bytes, media_type: str) -> int:
        """Keep the last document, and make it what the reference names; return the bytes sent."""

    def close(self) -> None:
        """Let go of connections and temporary files."""


def canonical(value: object) -> bytes:
    """Write a document's JSON: the same value gives the same bytes, and so the same digest."""
    return msgspec.json.encode(value, order="sorted")


def read_manifest(document: Document, where: str) -> Manifest:
    """Read the manifest of one platform. Raises `ImageInvalid`."""
    try:
        return msgspec.json.decode(document.data, type=Manifest)
    except ValueError as error:
        found = f"{document.media_type or 'other bytes'} ({error})"
        raise ImageInvalid(f"image `{where}`", expected="an image's manifest", found=found) from error


def read_index(document: Document, where: str) -> Index | None:
    """Read an index; None if the document is the manifest of one platform. Raises `ImageInvalid`."""
    try:
        said = msgspec.json.decode(document.data, type=dict[str, Any])
        if "manifests" not in said:
            return None
        return msgspec.convert(said, Index)
    except ValueError as error:
        found = f"other bytes ({error})"
        raise ImageInvalid(f"image `{where}`", expected="a manifest or an index", found=found) from error


def read_config(source: Source, manifest: Manifest) -> dict[str, Any]:
    """Read the configuration of an image: what it runs, and the digests of its unpacked layers.

    Raises `ImageInvalid` for other bytes than the manifest names.
    """
    with source.open(manifest.config.digest) as file:
        data = file.read()
    if len(data) != manifest.config.size:
        where, expected = f"configuration of `{source.where}`", f"{manifest.config.size} bytes"
        raise ImageInvalid(where, expected=f"{expected}, as the manifest says", found=str(len(data)))
    try:
        config = msgspec.json.decode(data, type=dict[str, Any])
    except ValueError as error:
        where, found = f"configuration of `{source.where}`", f"other bytes ({error})"
        raise ImageInvalid(where, expected="JSON", found=found) from error
    layers = config.get("rootfs", {}).get("diff_ids", [])
    if len(layers) != len(manifest.layers):
        raise ImageInvalid(
            f"configuration of `{source.where}`",
            expected=f"{len(manifest.layers)} layers, as the manifest says",
            found=str(len(layers)),
            hint="an artifact, such as a bundle in a store, is no image: name the runtime image",
        )
    return config


def oci_type(media_type: str, where: str) -> str:
    """Return the OCI name of a media type. Raises `ImageInvalid` for layers that are kept elsewhere."""
    known = OCI_TYPE.get(media_type, media_type)
    if known not in {INDEX, MANIFEST, CONFIG, LAYER, LAYER_GZIP, LAYER_ZSTD}:
        raise ImageInvalid(f"image `{where}`", expected="layers as tar files", found=f"`{media_type}`")
    return known
