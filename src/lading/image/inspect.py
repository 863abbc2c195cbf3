"""What is in an image, and which images a repository has. Reads manifests and configurations, no layers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from lading.errors import ImageInvalid, ImageNotFound
from lading.image import CONFIG, OCI_TYPE, Source, read_config, read_index, read_manifest
from lading.image.build import IMAGE_VARIABLE, platform_of
from lading.image.labels import BASE_DIGEST, BUNDLES, RUNTIME, BundleEntry, bundles_in, bundles_of
from lading.image.remote import RemoteImage
from lading.oci import Document, Repository

_AT_ONCE = 8


class LayerIn(msgspec.Struct, frozen=True):
    """A layer of an image: its digests as it is kept and unpacked, its size as it is kept, what made it."""

    digest: str
    diff_id: str
    size_bytes: int
    what: str


class ImageIn(msgspec.Struct, frozen=True, kw_only=True):
    """An image for one platform. ``runtime`` is what its evidence is kept under; empty: it does not say."""

    platform: str
    digest: str
    base: str
    runtime: str
    versions: dict[str, str]
    bundles: list[BundleEntry]
    layers: list[LayerIn]

    @property
    def size_bytes(self) -> int:
        """The size of all layers as they are kept."""
        return sum(layer.size_bytes for layer in self.layers)


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """An image and what it holds, for each of its platforms."""

    image: str
    digest: str
    platforms: list[ImageIn]


class ImageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An image of a repository: its tags, what it holds, and the manifests below it."""

    digest: str
    tags: tuple[str, ...]
    bundles: list[BundleEntry]
    runtime: dict[str, str]
    size_bytes: int
    children: tuple[str, ...] = ()


def inspect(source: Source) -> Contents:
    """Read what an image holds. Raises `ImageNotFound` and `ImageInvalid`."""
    root = source.root()
    index = read_index(root, source.where)
    if index is None:
        documents = [root]
    else:
        images = [one for one in index.manifests if (one.platform or {}).get("os") != "unknown"]
        documents = [source.document(one.digest) for one in images]
    platforms = [_image(source, one) for one in documents]
    return Contents(image=source.where, digest=root.digest, platforms=platforms)


def list_images(repository: Repository) -> list[ImageSummary]:
    """List the images of a repository, by their first tag; artifacts such as bundles are left out."""
    tags: dict[str, list[str]] = {}
    documents: dict[str, Document] = {}
    names = [tag for tag in repository.tags() if not tag.startswith(("blob-", "sha256-"))]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for tag, document in zip(names, pool.map(repository.manifest, names), strict=True):
            if document is not None:  # removed since the tags were listed
                tags.setdefault(document.digest, []).append(tag)
                documents[document.digest] = document
        found = pool.map(lambda one: _listed(repository, one[0], tuple(one[1])), _pairs(documents, tags))
        return [one for one in found if one is not None]


def _pairs(documents: dict[str, Document], tags: dict[str, list[str]]) -> list[tuple[Document, list[str]]]:
    return sorted(((documents[digest], names) for digest, names in tags.items()), key=lambda one: one[1])


def _listed(repository: Repository, document: Document, tags: tuple[str, ...]) -> ImageSummary | None:
    source = RemoteImage(repository, document.digest)
    try:
        index = read_index(document, source.where)
        children = () if index is None else tuple(one.digest for one in index.manifests)
        of = document if index is None else source.document(children[0])
        manifest = read_manifest(of, source.where)
    except (ImageInvalid, ImageNotFound, IndexError):
        return None  # Other tools keep other things beside images.
    if OCI_TYPE.get(manifest.config.media_type, manifest.config.media_type) != CONFIG:
        return None
    said = manifest.annotations or {}
    if BUNDLES not in said:
        config = read_config(source, manifest)
        said = {**((config.get("config") or {}).get("Labels") or {}), **said}
    return ImageSummary(
        digest=document.digest,
        tags=tags,
        bundles=bundles_of(said),
        runtime=_versions(said),
        size_bytes=sum(layer.size for layer in manifest.layers),
        children=children,
    )


def _image(source: Source, document: Document) -> ImageIn:
    manifest = read_manifest(document, source.where)
    config = read_config(source, manifest)
    ran = config.get("config") or {}
    labels = ran.get("Labels") or {}
    environment = dict(one.partition("=")[::2] for one in ran.get("Env") or ())
    bundles = bundles_in(config)
    return ImageIn(
        platform=platform_of(config),
        digest=document.digest,
        base=labels.get(BASE_DIGEST, ""),
        runtime=environment.get(IMAGE_VARIABLE, ""),
        versions=_versions(labels),
        bundles=bundles,
        layers=[
            LayerIn(layer.digest, diff_id, layer.size, what)
            for layer, diff_id, what in zip(
                manifest.layers, config["rootfs"]["diff_ids"], _whats(config, bundles), strict=True
            )
        ],
    )


def _whats(config: dict[str, Any], bundles: list[BundleEntry]) -> list[str]:
    """Say of every layer what it is: the bundle, else what the history says."""
    named = {one.blob: f"bundle {one.name} {one.version or ''}".strip() for one in bundles}
    steps = [one for one in config.get("history") or () if not one.get("empty_layer")]
    whats = []
    for at, diff_id in enumerate(config["rootfs"]["diff_ids"]):
        step = steps[at] if at < len(steps) else {}
        whats.append(named.get(diff_id) or step.get("comment") or step.get("created_by", ""))
    return whats


def _versions(labels: dict[str, str]) -> dict[str, str]:
    try:
        return msgspec.json.decode(labels.get(RUNTIME, "{}"), type=dict[str, str])
    except ValueError:  # a label of that name is anybody's to write
        return {}
