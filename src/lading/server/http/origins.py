"""Which requests may change something here, by the page or the name that they come through.

A browser sends the requests of any page that its user opens, and a page whose name is made to resolve to this
server (DNS rebinding) is of one origin with it. Predictions change nothing and are not checked.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from lading.errors import InvalidSetting, OriginRefused
from lading.server.http.cors import Cors
from lading.server.http.messages import Deferred, Handler, Request, Response
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:\[\]/@]*)(:\d*)?", re.IGNORECASE)
_HINT = "`--cors-origins` allows the pages of an origin, `--allowed-hosts` a name of this server"


class Origins:
    """The origins and names of a server: `hosts` is the setting ``allowed_hosts``."""

    def __init__(self, hosts: str, cors: Cors | None) -> None:
        names = [name.strip() for name in hosts.split(",") if name.strip()]
        for name in names:
            if not _NAME.fullmatch(name):
                expected = "names like `ml.example.com`, without a port"
                raise InvalidSetting("`allowed_hosts`", expected=expected, found=f"`{name}`")
        self._named = frozenset(name.lower() for name in names)
        self._local = frozenset({"localhost", socket.gethostname().lower()})
        self._cors = cors

    def guarded(self, handler: Handler) -> Handler:
        """Return `handler` with the check before it."""

        def handle(request: Request, plane: DataPlane) -> Response | Job | Deferred:
            self.check(request)
            return handler(request, plane)

        return handle

    def check(self, request: Request) -> None:
        """Raise `OriginRefused` for a page of another site, and for a name that is not this server's.

        A client that is no browser sends no ``origin``; its ``host`` is looked at if names are set.
        """
        host = request.headers.get(b"host", b"").decode("latin-1").lower()
        origin = request.headers.get(b"origin")
        if origin is None:
            if self._named and not self._is_ours(_name_in(host)):
                raise _refused(request, "host", "a name of this server", host)
            return
        if self._cors is not None and self._cors.allows(origin):
            return
        text = origin.decode("latin-1").lower()
        authority = text.partition("://")[2]
        name = _name_in(authority)
        if name in self._named or (authority == host and self._is_ours(name)):
            return
        raise _refused(request, "origin", "none, or one that is allowed", text)

    def _is_ours(self, name: str) -> bool:
        # An address cannot be made to resolve to another.
        return name in self._named or name in self._local or _is_address(name)


def _name_in(authority: str) -> str:
    match = _AUTHORITY.fullmatch(authority)
    return match["name"] if match else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _refused(request: Request, header: str, expected: str, value: str) -> OriginRefused:
    where = f"`{header}` of a request that changes something (`{request.path}`)"
    return OriginRefused(where, expected=expected, found=f"`{value[:200]}`", hint=_HINT)
