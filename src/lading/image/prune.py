"""Which images of a repository nobody needs any more, and their removal. Bundles stay where they are.

What is needed is read from the registry of the models: an image of a model that it does not know is never
touched, nor is one without a bundle, such as a runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from lading.errors import NotFound
from lading.image.inspect import ImageSummary, list_images
from lading.oci import Repository

if TYPE_CHECKING:
    from lading.registry import Registry

KEPT = 10
"""Versions and releases of each model whose images stay."""


class PruneDecision(msgspec.Struct, frozen=True, kw_only=True):
    """An image and why it stays; it goes where nothing keeps it."""

    image: ImageSummary
    kept_by: tuple[str, ...]


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What `prune` removed, or would with ``dry_run``, and what it kept."""

    removed: tuple[ImageSummary, ...]
    kept: tuple[PruneDecision, ...]


def prune(repository: Repository, registry: Registry, *, keep: int = KEPT, dry_run: bool = False) -> Pruned:
    """Remove the images that no release, none of the last `keep` versions and no live replica names.

    Raises `RegistryUnavailable` where the repository's registry deletes nothing.
    """
    images = list_images(repository)
    reasons = needed(registry, {one.name for image in images for one in image.bundles}, keep=keep)
    judged = judge(images, reasons)
    removed = tuple(one.image for one in judged if not one.kept_by)
    kept = tuple(one for one in judged if one.kept_by)
    if not dry_run:
        shared = {child for one in kept for child in (one.image.digest, *one.image.children)}
        for image in removed:
            for digest in (image.digest, *image.children):
                if digest not in shared:
                    repository.delete_manifest(digest)
    return Pruned(removed=removed, kept=kept)


def needed(registry: Registry, names: set[str], *, keep: int) -> dict[str, dict[str, list[str]]]:
    """Return by model and bundle digest why it is needed; a model that the registry does not know is absent."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in names:
        try:
            versions = registry.versions(name)
        except NotFound:
            continue
        reasons: dict[str, list[str]] = {}
        digests = {one.version: one.digest for one in versions}
        for one in versions[len(versions) - keep :] if keep else ():
            reasons.setdefault(one.digest, []).append(f"one of the last {keep} versions")
        for release in registry.releases(name)[: max(keep, 1)]:
            for version in {release.live, release.candidate, release.replaces} & digests.keys():
                if version is not None:
                    reasons.setdefault(digests[version], []).append(f"release {release.number}")
        found[name] = reasons
    for replica in registry.fleet.replicas():
        for model in replica.models:
            if model.name in found and not replica.gone:
                found[model.name].setdefault(model.digest, []).append(f"replica `{replica.id}`")
    return found


def judge(
    images: Sequence[ImageSummary], needed: Mapping[str, Mapping[str, Sequence[str]]]
) -> list[PruneDecision]:
    """Say of every image what keeps it. An image of several bundles stays while one of them is needed."""
    judged = []
    for image in images:
        reasons = [] if image.bundles else ["it holds no bundle"]
        for one in image.bundles:
            known = needed.get(one.name)
            if known is None:
                reasons.append(f"`{one.name}` is no model of this registry")
            else:
                reasons += known.get(one.digest, ())
        judged.append(PruneDecision(image=image, kept_by=tuple(dict.fromkeys(reasons))))
    return judged
