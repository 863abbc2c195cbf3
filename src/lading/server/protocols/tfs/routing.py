"""The version that a request addresses, over REST and gRPC alike: by name, by number, or by label.

Labels are the tags of a version. Refusals are worded as TensorFlow Serving words them.
"""

from __future__ import annotations

from lading.errors import InvalidReference, ModelNotFound, TagNotFound, VersionNotFound
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion

Address = tuple[str, int | None, str | None]
"""Name, version and label of a request; at most one of the last two is not None."""

# The labels in TensorFlow Serving's guides, and the tags that mean the same here.
_ALIASES = {"stable": "live", "canary": "candidate"}


def resolve(plane: DataPlane, address: Address) -> ServedVersion:
    """Return the addressed version if it answers."""
    name, version, label = address
    try:
        return plane.resolve(name, version, _tag(plane, name, label))
    except VersionNotFound:
        raise VersionNotFound(f"Servable not found for request: Specific({name}, {version})") from None
    except ModelNotFound:
        which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise ModelNotFound(f"Servable not found for request: {which}", model=name) from None
    except TagNotFound:
        raise InvalidReference(f"Unrecognized servable version label: {label}") from None


def versions_of(plane: DataPlane, address: Address) -> list[ServedVersion]:
    """Return the versions that a status request addresses, newest first, ready or not."""
    name, version, label = address
    try:
        if version is not None or label is not None:
            return [plane.find(name, version, _tag(plane, name, label))]
        return sorted(plane.versions(name), key=lambda served: served.version, reverse=True)
    except VersionNotFound:
        raise VersionNotFound(f"Could not find version {version} of model {name}") from None
    except ModelNotFound:
        raise ModelNotFound(f"Could not find any versions of model {name}", model=name) from None
    except TagNotFound:
        raise InvalidReference(f"Unrecognized servable version label: {label}") from None


def _tag(plane: DataPlane, name: str, label: str | None) -> str | None:
    if label not in _ALIASES:
        return label
    # A tag of the alias's own name wins over what it is an alias for.
    return label if plane.has_tag(name, label) else _ALIASES[label]
