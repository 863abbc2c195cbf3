"""Errors about what a registry does not have, with a hint at what is similar; and about what is in use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lading.errors import (
    BlobNotFound,
    LadingError,
    ModelNotFound,
    StillInUse,
    TagNotFound,
    VersionNotFound,
)
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog
    from lading.registry.records import ModelVersion

_SHOWN = 8


def not_found(catalog: Catalog, ref: Ref) -> LadingError:
    """Return the error that `ref` names nothing in a catalog."""
    versions = catalog.versions.of(ref.name)
    # A model exists as long as it has a version.
    if not versions:
        hint = _similar(ref.name, catalog.versions.models()) or "push a bundle with `lading push DIR`"
        expected = f"a model of registry `{catalog.where}`"
        where = f"model `{ref.name}`"
        return ModelNotFound(where, expected=expected, found="no such model", hint=hint, model=ref.name)
    if ref.tag is not None:
        tags = sorted({tag for version in versions for tag in version.tags})
        hint = _similar(ref.tag, tags) or f"`lading tag {ref.name}:{versions[-1].version} {ref.tag}` sets it"
        return TagNotFound(f"model `{ref.name}`", expected=f"tag `{ref.tag}`", found=_listed(tags), hint=hint)
    expected = f"bundle `{ref.digest}`" if ref.digest is not None else f"version `{ref.version}`"
    present = _listed(version.version for version in versions)
    plural = "" if len(versions) == 1 else "s"
    return VersionNotFound(f"model `{ref.name}`", expected=expected, found=f"version{plural} {present}")


def blob_not_found(digest: str, *, expected: str) -> BlobNotFound:
    """Return the error that a store has no blob of a digest; `expected` says where it was looked for."""
    hint = "push the bundle again: it gets its old version and its blob back"
    return BlobNotFound(f"blob `{digest}`", expected=expected, found="none", hint=hint)


def still_used(version: ModelVersion, uses: Sequence[str]) -> StillInUse:
    """Return the error that a version cannot be removed; `uses` are what names it, as in ``tag `good```."""
    tagged = all(use.startswith("tag ") for use in uses)
    return StillInUse(
        f"version `{version.ref}`",
        expected="nothing that refers to it",
        found=", ".join(uses[-_SHOWN:]),
        hint="move them to another version first" if tagged else "release another version first",
    )


def _similar(name: str, names: Sequence[str]) -> str | None:
    # Imported here: every command imports this module, and few meet an error.
    from difflib import get_close_matches

    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"there are {_listed(names)}" if len(names) > 1 else f"there is `{names[0]}`" if names else None


def _listed(values: Iterable[object]) -> str:
    # The last of them are the newest where they are versions.
    words = [f"`{value}`" for value in values]
    if not words:
        return "none"
    return ", ".join(words if len(words) <= _SHOWN else ["…", *words[-_SHOWN:]])
