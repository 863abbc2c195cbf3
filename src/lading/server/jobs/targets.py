"""Which servers may run a job: those where its route finds a version that is ready.

A job does not pin a version: its route means at run time what it would mean to a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from lading.errors import LadingError
from lading.ref import version_number
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import State


def target_of(params: Mapping[str, str], plane: DataPlane) -> tuple[str, str]:
    """Return the model that the parameters of a route name, and what a server needs to have to answer it."""
    name = params.get("name")
    if name is None:
        # Another server may have another default model, and answers for that at the root.
        return plane.default_model, f"/{plane.default_model}"
    version, tag = params.get("version"), params.get("tag", params.get("label"))
    if version and version_number(version) is None:
        version, tag = None, version  # The Open Inference Protocol writes a tag as a version.
    if version:
        return name, f"{name}/versions/{version_number(version)}"
    return name, f"{name}/tags/{tag}" if tag else name


def targets_of(plane: DataPlane) -> list[str]:
    """List what jobs may ask of this server now."""
    targets = []
    for name, versions in plane.models.items():
        # A model that is still loading, or has failed, answers no request: it takes no job either.
        with suppress(LadingError):
            if plane.find(name).state is State.READY:
                targets.append(name)
                if name == plane.default_model:
                    targets.append(f"/{name}")
        for served in versions:
            if served.state is State.READY:
                targets.append(f"{name}/versions/{served.version}")
                targets += (f"{name}/tags/{tag}" for tag in served.tags)
    return targets
