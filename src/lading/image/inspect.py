"""The contents of an image and the images of a repository. Reads manifests and configurations, no layers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from lading.errors import ImageInvalid, ImageNotFound
from lading.image import (
    CONFIG,
    OCI_TYPE,
    Source,
    environment_of,
    read_config,
    read_index,
    read_manifest,
)
from lading.image.build import IMAGE_VARIABLE, platform_name
from lading.image.labels import (
    BASE_DIGEST,
    BUNDLES,
    RUNTIME,
    BundleEntry,
    EnvironmentEntry,
    bundles_in,
    bundles_of,
    environments_in,
)
from lading.image.remote import RemoteImage
from lading.oci import Document, Repository

_PARALLEL_READS = 8


class ImageLayer(msgspec.Struct, frozen=True):
    """A layer of an image: its digests as stored and as unpacked, its size as stored, and what made it."""

    digest: str
    diff_id: str
    size_bytes: int
    what: str


class PlatformImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image for one platform. ``runtime`` is the id that its evidence is recorded under, or empty."""

    platform: str
    digest: str
    base: str
    runtime: str
    versions: dict[str, str]
    bundles: list[BundleEntry]
    environments: list[EnvironmentEntry]
    layers: list[ImageLayer]

    @property
    def size_bytes(self) -> int:
        """The size of all layers as stored."""
        return sum(layer.size_bytes for layer in self.layers)


class ImageContents(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of an image for each of its platforms."""

    image: str
    digest: str
    platforms: list[PlatformImage]


class ImageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An image of a repository: its tags, its bundles, and, if it is an index, the manifests in it."""

    digest: str
    tags: tuple[str, ...]
    bundles: list[BundleEntry]
    runtime: dict[str, str]
    size_bytes: int
    children: tuple[str, ...] = ()


def inspect(source: Source) -> ImageContents:
    """Return the contents of an image. Raises `ImageNotFound` and `ImageInvalid`."""
    root = source.root()
    index = read_index(root, source.where)
    if index is None:
        documents = [root]
    else:
        # The platform `unknown` marks attestations (docs.docker.com/build/metadata/attestations).
        images = [entry for entry in index.manifests if (entry.platform or {}).get("os") != "unknown"]
        documents = [source.document(entry.digest) for entry in images]
    platforms = [_platform_image(source, document) for document in documents]
    return ImageContents(image=source.where, digest=root.digest, platforms=platforms)


def list_images(repository: Repository) -> list[ImageSummary]:
    """List the images of a repository by their first tag; artifacts such as bundles are left out."""
    tags: dict[str, list[str]] = {}
    documents: dict[str, Document] = {}
    # Tags of lading's store, and those of cosign and of the fallback for referrers.
    names = [tag for tag in repository.tags() if not tag.startswith(("blob-", "sha256-"))]
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        for tag, document in zip(names, pool.map(repository.manifest, names), strict=True):
            if document is not None:  # It may have been removed since the tags were listed.
                tags.setdefault(document.digest, []).append(tag)
                documents[document.digest] = document
        by_tag = sorted(tags, key=lambda digest: tags[digest])
        summaries = pool.map(
            lambda digest: _summary(repository, documents[digest], tuple(tags[digest])), by_tag
        )
        return [summary for summary in summaries if summary is not None]


def _summary(repository: Repository, document: Document, tags: tuple[str, ...]) -> ImageSummary | None:
    source = RemoteImage(repository, document.digest)
    try:
        index = read_index(document, source.where)
        children = () if index is None else tuple(entry.digest for entry in index.manifests)
        manifest = read_manifest(document if index is None else source.document(children[0]), source.where)
    except (ImageInvalid, ImageNotFound, IndexError):
        return None  # Other tools store other things beside images.
    if OCI_TYPE.get(manifest.config.media_type, manifest.config.media_type) != CONFIG:
        return None
    labels = manifest.annotations or {}
    if BUNDLES not in labels:
        # An image that was built by a Dockerfile on lading's base has labels but no annotations.
        config = read_config(source, manifest)
        labels = {**((config.get("config") or {}).get("Labels") or {}), **labels}
    return ImageSummary(
        digest=document.digest,
        tags=tags,
        bundles=bundles_of(labels),
        runtime=_versions(labels),
        size_bytes=sum(layer.size for layer in manifest.layers),
        children=children,
    )


def _platform_image(source: Source, document: Document) -> PlatformImage:
    manifest = read_manifest(document, source.where)
    config = read_config(source, manifest)
    run_config = config.get("config") or {}
    labels = run_config.get("Labels") or {}
    bundles = bundles_in(config)
    environments = environments_in(config)
    descriptions = _layer_descriptions(config, bundles, environments)
    return PlatformImage(
        platform=platform_name(config),
        digest=document.digest,
        base=labels.get(BASE_DIGEST, ""),
        runtime=environment_of(run_config).get(IMAGE_VARIABLE, ""),
        versions=_versions(labels),
        bundles=bundles,
        environments=environments,
        layers=[
            ImageLayer(layer.digest, diff_id, layer.size, description)
            for layer, diff_id, description in zip(
                manifest.layers, config["rootfs"]["diff_ids"], descriptions, strict=True
            )
        ],
    )


def _layer_descriptions(
    config: dict[str, Any], bundles: list[BundleEntry], environments: list[EnvironmentEntry]
) -> list[str]:
    """Return a description of every layer: its environment or bundle, else its entry in the history."""
    titles = {entry.blob: f"environment {entry.lock[:19]}, Python {entry.python}" for entry in environments}
    titles |= {entry.blob: f"bundle {entry.name} {entry.version or ''}".strip() for entry in bundles}
    # Steps that only changed the configuration have no layer.
    steps = [step for step in config.get("history") or () if not step.get("empty_layer")]
    descriptions = []
    for number, diff_id in enumerate(config["rootfs"]["diff_ids"]):
        step = steps[number] if number < len(steps) else {}
        descriptions.append(titles.get(diff_id) or step.get("comment") or step.get("created_by", ""))
    return descriptions


def _versions(labels: dict[str, str]) -> dict[str, str]:
    try:
        return msgspec.json.decode(labels.get(RUNTIME, "{}"), type=dict[str, str])
    except ValueError:  # Anyone can write a label of that name.
        return {}
