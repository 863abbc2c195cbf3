"""The version that a request addresses, over REST and gRPC alike: by name, by number, or by tag."""

from __future__ import annotations

from lading.ref import version_number
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion


def find(plane: DataPlane, name: str, version: str = "") -> ServedVersion:
    """Return the addressed version, ready or not; a `version` that is not a number is a tag."""
    # The protocol knows no tags; a version is any string, so a tag can be one.
    number = version_number(version)
    return plane.find(name, number, tag=(version or None) if number is None else None)


def resolve(plane: DataPlane, name: str, version: str = "") -> ServedVersion:
    """Return the addressed version if it answers; a `version` that is not a number is a tag."""
    number = version_number(version)
    return plane.resolve(name, number, tag=(version or None) if number is None else None)
