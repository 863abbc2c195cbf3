"""The versions of a registry: their numbers, tags and evidence. Knows no bytes of bundles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lading.errors import UsageError
from lading.ref import RELEASE_TAGS, Ref, check_tag
from lading.registry.not_found import not_found, still_used

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.registry.catalog import Catalog
    from lading.registry.records import ModelVersion

# Versions that a model's last releases name cannot be removed: one can go back to them.
KEPT_RELEASES = 10


class Versions:
    """The versions in a catalog; called with a model's name, it returns those of the model."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __call__(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model, lowest first; `name` is no reference. Raises `ModelNotFound`."""
        versions = self._catalog.versions.of(name)
        if not versions:
            ref = as_ref(name)
            if not is_bare(ref):
                hint = f"`{ref.name}` names all of its versions"
                raise UsageError("versions", expected="a model's name", found=f"reference `{ref}`", hint=hint)
            raise not_found(self._catalog, ref)
        return versions

    def models(self) -> list[str]:
        """Return the names of all models."""
        return self._catalog.versions.models()

    def newest(self) -> list[ModelVersion]:
        """Return the highest version of every model, by name, without its tags: one query for all."""
        return self._catalog.versions.newest()

    def page(self, name: str, *, below: int | None = None, limit: int = 50) -> list[ModelVersion]:
        """Return at most `limit` versions of a model, highest first, of those numbered below `below`.

        Raises `ModelNotFound` if there is none at all.
        """
        versions = self._catalog.versions.page(name, below, limit)
        if not versions and below is None:
            raise not_found(self._catalog, Ref(name))
        return versions

    def resolve(self, ref: Ref | str) -> ModelVersion:
        """Return the version that `ref` means; a bare name means the tag `live`, else the highest version.

        Raises `ModelNotFound`, `VersionNotFound` or `TagNotFound`, with a hint at what is similar.
        """
        ref = as_ref(ref)
        live = self._catalog.versions.find(Ref(ref.name, tag="live")) if is_bare(ref) else None
        version = live or self._catalog.versions.find(ref)
        if version is None:
            raise not_found(self._catalog, ref)
        return version

    def tag(self, ref: Ref | str, tag: str, *, release: bool = False) -> ModelVersion:
        """Move a tag to a version. `live` and `candidate` need `release`, which only a release passes."""
        check_tag(tag) if release else check_free(tag)
        while True:
            version = self.resolve(ref)
            tagged = self._catalog.versions.tag(version.name, version.version, tag)
            # None: the version was removed since. Then `resolve` finds another or raises.
            if tagged is not None:
                return tagged

    def untag(self, name: str, tag: str, *, release: bool = False) -> None:
        """Remove a tag. Raises `TagNotFound`; `live` and `candidate` need `release`."""
        check_tag(tag) if release else check_free(tag)
        if not self._catalog.versions.untag(name, tag):
            raise not_found(self._catalog, Ref(as_ref(name).name, tag=tag))

    def remove(self, ref: Ref | str) -> None:
        """Remove a version, named by number or digest; its number is never used again.

        `gc` frees its bytes. Raises `StillInUse` if a tag, one of the model's last releases or a running
        replica names it.
        """
        ref = as_ref(ref)
        # By its number alone: what a tag names may have changed since somebody looked.
        if ref.version is None and ref.digest is None:
            raise UsageError("remove", expected=f"a version, as in `{ref.name}:3`", found=f"`{ref}`")
        version = self.resolve(ref)
        uses = self._catalog.versions.remove(version.name, version.version, keep_releases=KEPT_RELEASES)
        if uses is None:
            raise not_found(self._catalog, ref)
        if uses:
            raise still_used(version, uses)

    def record(self, evidence: Evidence) -> None:
        """Store evidence about a bundle, pushed or not; the last per bundle and fingerprint counts."""
        for key, number in evidence.numbers.items():
            # JSON has no NaN and no infinity.
            if not math.isfinite(number):
                where = f"evidence of `{evidence.name}`, `{key}`"
                raise UsageError(where, expected="a finite number", found=f"`{number}`")
        self._catalog.versions.record(evidence)

    def evidence(self, digest: str | None = None, *, history: bool = False) -> list[Evidence]:
        """Return the last evidence per bundle and fingerprint, or all of it; of one bundle or of all."""
        return self._catalog.versions.evidence(digest, history=history)


def as_ref(ref: Ref | str) -> Ref:
    """Return a reference as an object; raises `InvalidReference`."""
    return ref if isinstance(ref, Ref) else Ref.parse(ref)


def is_bare(ref: Ref) -> bool:
    """Return whether a reference is a model's name alone."""
    return ref.version is None and ref.tag is None and ref.digest is None


def check_free(tag: str) -> None:
    """Raise `UsageError` for a tag that only releases move, or that is no tag."""
    if check_tag(tag) in RELEASE_TAGS:
        raise UsageError(
            f"tag `{tag}`",
            expected="a tag that is not a release's own",
            found=f"`{tag}`",
            hint="`lading release` moves `live` and `candidate`",
        )
