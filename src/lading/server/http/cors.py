"""Cross-origin requests: which pages of other sites may call this server from a browser. Off by default.

Credentials are never allowed: no answer here depends on a cookie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lading.errors import InvalidSetting
from lading.server.exchange import Exchange
from lading.server.http.messages import Response, json_response

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s,*]+", re.IGNORECASE)
_TOKENS = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]*")
_EXPOSED = (
    b"x-request-id, x-lading-model, x-lading-digest, inference-header-content-length, retry-after, "
    b"x-lading-input-warnings, location, preference-applied"
)
_SECONDS_CACHED = b"600"
_REQUESTED_METHOD, _REQUESTED_HEADERS = b"access-control-request-method", b"access-control-request-headers"


class Cors:
    """The origins that may call; `origins` is the setting."""

    def __init__(self, origins: str) -> None:
        names = [name.strip() for name in origins.split(",") if name.strip()]
        for name in names:
            if name != "*" and not _ORIGIN.fullmatch(name):
                expected = "origins like `https://example.com`, or `*`"
                raise InvalidSetting("`cors_origins`", expected=expected, found=f"`{name}`")
        self._any = "*" in names
        self._origins = frozenset(name.lower().encode() for name in names)
        self._names = origins

    def is_preflight(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a browser asks what it may send."""
        return method == "OPTIONS" and b"origin" in headers and _REQUESTED_METHOD in headers

    def preflight(self, headers: Mapping[bytes, bytes]) -> Response:
        """Answer what a browser may send."""
        allowed = self._allowed(headers)
        if not allowed:
            origin = headers.get(b"origin", b"").decode("latin-1")
            return json_response(
                {"error": f"`origin`: expected one of `{self._names}`, found `{origin}`"}, 403
            )
        asked = headers.get(_REQUESTED_HEADERS, b"")
        return Response(
            status=204,
            headers=(
                *allowed,
                (b"access-control-allow-methods", b"GET, POST"),
                (b"access-control-allow-headers", asked if _TOKENS.fullmatch(asked) else b""),
                (b"access-control-max-age", _SECONDS_CACHED),
            ),
        )

    def allow(self, exchange: Exchange) -> None:
        """Add to an answer that the page which asked may read it: a step of the pipeline."""
        allowed = self._allowed(exchange.headers)
        if allowed:
            exposed = (b"access-control-expose-headers", _EXPOSED)
            exchange.answer_headers = (*exchange.answer_headers, *allowed, exposed)

    def allows(self, origin: bytes) -> bool:
        """Return whether pages of `origin` may call this server."""
        return self._any or origin.lower() in self._origins

    def _allowed(self, headers: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
        origin = headers.get(b"origin")
        if origin is None:
            return ()
        if self._any:
            return ((b"access-control-allow-origin", b"*"),)
        if self.allows(origin):
            # Caches must not give this answer to a page of another origin.
            return ((b"access-control-allow-origin", origin), (b"vary", b"origin"))
        return ()
