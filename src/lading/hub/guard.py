"""What every answer of the hub carries, and which requests get none."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import PlainTextResponse

# Nothing is loaded from elsewhere, nothing is framed, nothing in a page runs but the hub's own files.
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Other sites learn nothing. Without any referrer, browsers hide the origin of the hub's own forms.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

# A name and perhaps a port; an address of IPv6 is in brackets.
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class WithHeaders:
    """Adds the headers of every answer, errors included, and refuses other hosts than those allowed.

    A page of elsewhere whose name was made to mean this address (DNS rebinding) could read the hub's pages.
    """

    def __init__(self, app: Any, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "http" and self._hosts:
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            # RFC 9112, section 3.2: exactly one; of two, a proxy may have looked at the other.
            if len(hosts) != 1 or _name_of(hosts[0]) not in self._hosts:
                # RFC 9110, section 15.5.20: 421, Misdirected Request.
                await PlainTextResponse("this is not the hub's host", 421)(scope, receive, send)
                return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                # What is on a page is nobody's business but the browser's that asked.
                own = dict(_HEADERS)
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    own["cache-control"] = "no-store"
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in own.items()),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _name_of(host: str) -> str:
    """Return the name in a ``Host``, or nothing for what is no name with a port."""
    match = _HOST.fullmatch(host)
    return match[1].lower() if match is not None else ""
