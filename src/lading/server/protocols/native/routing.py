"""Which version a route means: by name, by number, by tag, or the default model at the root."""

from __future__ import annotations

from lading.errors import InvalidReference
from lading.ref import version_number
from lading.server.http.messages import Request
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion


def resolve(request: Request, plane: DataPlane) -> ServedVersion:
    """Return the version meant, if it answers; raises as `DataPlane.resolve` does."""
    params = request.params
    if "version" not in params and "tag" not in params:
        return plane.resolve(params.get("name"))
    return plane.resolve(params.get("name"), _number(request), params.get("tag"))


def find(request: Request, plane: DataPlane) -> ServedVersion:
    """Return the version meant, ready or not."""
    return plane.find(request.params.get("name"), _number(request), request.params.get("tag"))


def _number(request: Request) -> int | None:
    given = request.params.get("version")
    number = version_number(given) if given is not None else None
    if given is not None and number is None:
        raise InvalidReference(f"`{request.path}`", expected="a version number", found=f"`{given}`")
    return number
