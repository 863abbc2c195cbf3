"""The current release of a model, as the commands ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading.errors import VersionNotFound

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.release import Release


def current_release(registry: Registry, name: str) -> Release:
    """Return the current release of a model. Raises `ModelNotFound`, `VersionNotFound`."""
    releases = registry.releases(name)
    if not releases:
        hint = f"`lading release {name}:1` releases version 1"
        raise VersionNotFound(f"releases of `{name}`", expected="at least one", found="none", hint=hint)
    return releases[0]  # The newest one is first.
