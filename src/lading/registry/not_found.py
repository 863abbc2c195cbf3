"""The words for what is not in a registry, and what is near instead. Looks nothing up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lading.errors import LadingError, ModelNotFound, StillInUse, TagNotFound, VersionNotFound
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.registry.records import ModelVersion

_SHOWN = 8


def missing(ref: Ref, models: Sequence[str], versions: Sequence[ModelVersion], where: str) -> LadingError:
    """Say that `ref` is not there, given all models and the versions of its own."""
    if not versions:
        hint = _near(ref.name, models) or "push a bundle with `lading push DIR`"
        return ModelNotFound(
            f"model `{ref.name}`",
            expected=f"a model of registry `{where}`",
            found="no such model",
            hint=hint,
            model=ref.name,
        )
    if ref.tag is not None:
        tags = sorted({tag for version in versions for tag in version.tags})
        hint = _near(ref.tag, tags) or f"`lading tag {ref.name}:{versions[-1].version} {ref.tag}` sets it"
        return TagNotFound(f"model `{ref.name}`", expected=f"tag `{ref.tag}`", found=_listed(tags), hint=hint)
    wanted = f"bundle `{ref.digest}`" if ref.digest is not None else f"version `{ref.version}`"
    found = _listed(version.version for version in versions)
    plural = "" if len(versions) == 1 else "s"
    return VersionNotFound(f"model `{ref.name}`", expected=wanted, found=f"version{plural} {found}")


def still_used(version: ModelVersion, uses: Sequence[str]) -> StillInUse:
    """Say what keeps a version."""
    tagged = all(use.startswith("tag ") for use in uses)
    return StillInUse(
        f"version `{version.ref}`",
        expected="nothing that names it",
        found=", ".join(uses[-_SHOWN:]),
        hint="move them to another version first" if tagged else "release another version first",
    )


def _near(name: str, names: Sequence[str]) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"there are {_listed(names)}" if len(names) > 1 else f"there is `{names[0]}`" if names else None


def _listed(values: Iterable[object]) -> str:
    """List the last few of `values`, which are the newest where they are versions."""
    words = [f"`{value}`" for value in values]
    if not words:
        return "none"
    return ", ".join(words if len(words) <= _SHOWN else ["…", *words[-_SHOWN:]])
