"""What a moved tag means for those who use it: where it was, and in what the two versions differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading.cli.ui.difference_view import difference_line
from lading.errors import BlobNotFound, BundleError, NotFound
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.registry import ModelVersion, Registry


def tagged(registry: Registry, name: str, tag: str) -> ModelVersion | None:
    """Return the version that has a tag, or None."""
    try:
        return registry.resolve(Ref(name, tag=tag))
    except NotFound:
        return None


def moved_tag(registry: Registry, tag: str, before: ModelVersion | None, now: ModelVersion) -> list[str]:
    """Return what to say of a tag that was at `before`; what callers may notice is on a line of its own."""
    name = f"`{now.name}:{tag}`"
    if before is None:
        return [f"{name} is now `{now.ref}`"]
    if before.version == now.version:
        return [f"{name} is `{now.ref}` already"]
    lines = [f"{name} is now `{now.ref}`; it was `{before.ref}`"]
    try:
        changes = registry.differences(before, now)
    except (BundleError, BlobNotFound) as error:
        return [*lines, f"not compared with `{before.ref}`: {error.message}"]
    breaking = [change for change in changes if change.breaks]
    if breaking:
        line = difference_line(str(before.ref), str(now.ref), breaking)
        lines.append(f"warning: callers of {name} may notice it: {line}")
    return lines
