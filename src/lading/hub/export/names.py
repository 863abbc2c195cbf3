"""Which file an address of the hub becomes. The same address is always the same file, on every system.

Names of models are tame; ids of replicas are anybody's. What is no plain name becomes its beginning and a
hash: no file is outside of the folder, none differs from another only by its case, none is one that Windows
reserves, and none is longer than file systems take.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
_OTHER = re.compile(r"[^a-z0-9_-]+")
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))}
)
_BEGINNING = 40
_DIGITS = 16


class Address(msgspec.Struct, frozen=True):
    """A path, each part of it percent-encoded in one way, and its query, sorted."""

    path: str
    query: str = ""

    @classmethod
    def of(cls, href: str, page: Address | None = None) -> Address | None:
        """Return what a link of a `page` leads to, or None if that is no address of the hub."""
        try:
            parts = urlsplit(href)
        except ValueError:
            return None
        if parts.scheme or parts.netloc or not (parts.path.startswith("/") or (page and not parts.path)):
            return None
        path = parts.path or (page.path if page else "/")
        encoded = "/".join(quote(unquote(part), safe="") for part in path.split("/"))
        return cls(encoded, urlencode(sorted(parse_qsl(parts.query))))

    @property
    def parts(self) -> list[str]:
        """The parts of the path as they are meant, without those that are empty."""
        return [unquote(part) for part in self.path.split("/") if part]

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the query."""
        return dict(parse_qsl(self.query))


def file_of(address: Address) -> str:
    """Return the path of an address's file within the folder, without its suffix."""
    parts = [_safe(part) for part in address.parts] or ["home"]
    if address.query:
        # Two of these are in no part of a path, so a page of a table is no other page's file.
        text = "_".join(f"{name}-{value}" for name, value in parse_qsl(address.query))
        parts[-1] += f"~~{text if _PLAIN.fullmatch(text) else _hash(address.query)}"
    return "/".join(parts)


def relative(target: str, file: str) -> str:
    """Return the link that leads from one file of the folder to another."""
    # Names have no character that a link would have to encode.
    return "../" * file.count("/") + target


def _safe(part: str) -> str:
    if _PLAIN.fullmatch(part) and part not in _RESERVED:
        return part
    beginning = _OTHER.sub("-", part.lower())[:_BEGINNING].strip("-")
    # No plain name has this character.
    return f"{beginning}~{_hash(part)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
