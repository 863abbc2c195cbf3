"""The files that pages load, each under an address with the hash of its content: browsers may keep them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
# RFC 8246: browsers do not even ask again; another content has another address.
_FOREVER = "public, max-age=31536000, immutable"
_HASH_DIGITS = 12

PACKED = "packed"
"""The folder of what `scripts/assets` packed from npm. Without it, pages have the server's charts alone."""


class Assets:
    """The files of the package's `static` folder, read once."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}
        addresses: dict[str, str] = {}
        root = files("lading.hub").joinpath("static")
        for folder in (root, root.joinpath(PACKED)):
            for file in folder.iterdir() if folder.is_dir() else ():
                name, _, kind = file.name.rpartition(".")
                if file.is_file() and kind in _TYPES:
                    content = file.read_bytes()
                    digest = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
                    self._files[f"{name}.{digest}.{kind}"] = (content, _TYPES[kind])
                    addresses[file.name] = f"/static/{name}.{digest}.{kind}"
        self.addresses: Mapping[str, str] = addresses

    async def answer(self, request: Request) -> Any:
        """Answer with a file; an address with another hash is of another lading, and has none."""
        known = self._files.get(request.path_params["file"])
        if known is None:
            raise HTTPException(404)
        content, kind = known
        return Response(content, media_type=kind, headers={"cache-control": _FOREVER})
