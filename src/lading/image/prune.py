"""Removes the images of a repository that are no longer needed. Bundles stay where they are.

The registry of the models decides what is needed: an image of a model that it does not know is never removed,
nor is one without a bundle, such as a runtime.
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

DEFAULT_KEEP = 10
"""The number of versions and releases of each model whose images stay."""


class PruneDecision(msgspec.Struct, frozen=True, kw_only=True):
    """An image and the reasons to keep it; without any, it is removed."""

    image: ImageSummary
    kept_by: tuple[str, ...]


class PruneResult(msgspec.Struct, frozen=True, kw_only=True):
    """The images that `prune` removed, or would without ``dry_run``, and those that it kept."""

    removed: tuple[ImageSummary, ...]
    kept: tuple[PruneDecision, ...]


def prune(
    repository: Repository, registry: Registry, *, keep: int = DEFAULT_KEEP, dry_run: bool = False
) -> PruneResult:
    """Remove the images that no release, none of the last `keep` versions and no live replica refers to.

    Raises `RegistryUnavailable` if the repository's registry does not allow deletion.
    """
    images = list_images(repository)
    models = {entry.name for image in images for entry in image.bundles}
    reasons = reasons_to_keep(registry, models, keep=keep)
    decisions = decide(images, reasons)
    removed = tuple(decision.image for decision in decisions if not decision.kept_by)
    kept = tuple(decision for decision in decisions if decision.kept_by)
    if not dry_run:
        # An index that goes may share the manifest of a platform with one that stays.
        shared = {digest for decision in kept for digest in (decision.image.digest, *decision.image.children)}
        for image in removed:
            for digest in (image.digest, *image.children):
                if digest not in shared:
                    repository.delete_manifest(digest)
    return PruneResult(removed=removed, kept=kept)


def reasons_to_keep(registry: Registry, names: set[str], *, keep: int) -> dict[str, dict[str, list[str]]]:
    """Return the reasons to keep a bundle, by model and digest; unknown models are absent."""
    by_model: dict[str, dict[str, list[str]]] = {}
    for name in names:
        try:
            versions = registry.versions(name)
        except NotFound:
            continue
        reasons: dict[str, list[str]] = {}
        digests = {version.version: version.digest for version in versions}
        for version in versions[len(versions) - keep :] if keep else ():
            reasons.setdefault(version.digest, []).append(f"one of the last {keep} versions")
        # The newest release even with `keep` 0: it is what servers serve.
        for release in registry.releases(name)[: max(keep, 1)]:
            for number in {release.live, release.candidate, release.replaces} & digests.keys():
                if number is not None:
                    reasons.setdefault(digests[number], []).append(f"release {release.number}")
        by_model[name] = reasons
    for replica in registry.fleet.replicas():
        for model in replica.models:
            # By digest: a replica may serve a version that is older than all that are kept.
            if model.name in by_model and not replica.gone:
                by_model[model.name].setdefault(model.digest, []).append(f"replica `{replica.id}`")
    return by_model


def decide(
    images: Sequence[ImageSummary], reasons: Mapping[str, Mapping[str, Sequence[str]]]
) -> list[PruneDecision]:
    """Return for every image what keeps it; one with several bundles is kept while any of them is needed."""
    decisions = []
    for image in images:
        kept_by = [] if image.bundles else ["it holds no bundle"]
        for entry in image.bundles:
            of_model = reasons.get(entry.name)
            if of_model is None:
                kept_by.append(f"`{entry.name}` is not a model of this registry")
            else:
                kept_by += of_model.get(entry.digest, ())
        # Two bundles of an image may be kept by the same thing, which is listed once.
        decisions.append(PruneDecision(image=image, kept_by=tuple(dict.fromkeys(kept_by))))
    return decisions
