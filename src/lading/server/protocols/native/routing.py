"""The version that a native route addresses: by name, by number, by tag, or the default model at the root."""

from __future__ import annotations

from lading.errors import InvalidReference
from lading.ref import version_number
from lading.server.http.messages import Request
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion


def resolve(request: Request, plane: DataPlane) -> ServedVersion:
    """Return the addressed version if it answers; raises as `DataPlane.resolve` does."""
    params = request.params
    # Most requests name neither; this path is as short as it can be.
    if "version" not in params and "tag" not in params:
        return plane.resolve(params.get("name"))
    return plane.resolve(params.get("name"), _number(request), params.get("tag"))


def find(request: Request, plane: DataPlane) -> ServedVersion:
    """Return the addressed version, ready or not."""
    return plane.find(request.params.get("name"), _number(request), request.params.get("tag"))


def _number(request: Request) -> int | None:
    text = request.params.get("version")
    number = version_number(text) if text is not None else None
    if text is not None and number is None:
        raise InvalidReference(f"`{request.path}`", expected="a version number", found=f"`{text}`")
    return number
