"""The ``content-type`` of a body that a handler reads as JSON: refused where it declares something else."""

from __future__ import annotations

from lading.errors import MediaTypeRefused
from lading.server.http.messages import JSON

# Types by which a client declares nothing: those of curl, aiohttp and browsers where it states none itself,
# and the one of tensors behind JSON.
_UNDECLARED = (b"application/x-www-form-urlencoded", b"application/octet-stream", b"text/plain", b"")
_JSON = (JSON, b"text/json")
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii", b"ascii")


def is_json(header: bytes) -> bool:
    """Return whether a body with this content type may be read as JSON in UTF-8."""
    if header == JSON:
        return True
    kind, *options = (part.strip().lower() for part in header.split(b";"))
    if kind not in _JSON and kind not in _UNDECLARED and not kind.endswith(b"+json"):
        return False
    charsets = [option[8:].strip(b'" ') for option in options if option.startswith(b"charset=")]
    return all(charset in _CHARSETS for charset in charsets)


def require_json(header: bytes) -> None:
    """Raise `MediaTypeRefused` unless a body with this content type may be read as JSON in UTF-8."""
    if not is_json(header):
        kind = f"`{header.decode('latin-1')}`"
        raise MediaTypeRefused("`content-type`", expected="`application/json`, in UTF-8", found=kind)
