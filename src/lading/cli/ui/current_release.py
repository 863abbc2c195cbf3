"""The current release of a model, as commands ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading.errors import VersionNotFound

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.release import Release


def current(registry: Registry, name: str) -> Release:
    """Return the current release of a model. Raises `ModelNotFound`, `VersionNotFound`."""
    found = registry.releases(name)
    if not found:
        hint = f"`lading release {name}:1` releases version 1"
        raise VersionNotFound(f"releases of `{name}`", expected="at least one", found="none", hint=hint)
    return found[0]
