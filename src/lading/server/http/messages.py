"""Requests, responses and routes as handlers see them; bound to no server. Reads no sockets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from lading.errors import LadingError, MethodRefused, RouteNotFound

if TYPE_CHECKING:
    from lading.server.inference.dataplane import DataPlane
    from lading.server.inference.job import Job
    from lading.server.inference.version import ServedVersion

JSON = b"application/json"
LONGEST_REMEMBERED = 512
"""Longest path that is remembered with its route: else paths that nobody asks again would fill the memory."""


@dataclass(eq=False)
class Request:
    """One whole HTTP request, and how far its answer is.

    Header names are lower case; ``params`` are the parts of the route. What follows them is the
    application's, and ``waiter`` the host's.
    """

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    query: bytes = b""
    params: Mapping[str, str] = field(default_factory=dict)
    route: Route | None = None
    request_id: bytes = field(default=b"", init=False)
    began: float = field(default=0.0, init=False)
    job: Job | None = field(default=None, init=False)
    response: Response | None = field(default=None, init=False)
    waiter: Any = field(default=None, init=False)


@dataclass(eq=False)
class Response:
    """One whole HTTP response.

    Its length and the common headers (the version that answered, the request's id) are the host's to add.
    """

    body: bytes = b""
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    served: ServedVersion | None = field(default=None, init=False)
    request_id: bytes = field(default=b"", init=False)

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """Return every header but those of the transport itself."""
        given = [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            *self.headers,
        ]
        if self.served is not None:
            given += self.served.headers
        given.append((b"x-request-id", self.request_id))
        return given


Handler = Callable[[Request, "DataPlane"], "Response | Job"]
Refuse = Callable[[LadingError], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path pattern (``/models/{name}/predict``), who answers, and how refusals look.

    A ``hot`` route is one that clients call for predictions; the fast lane answers it.
    ``any_case`` routes take their path in upper and lower case alike.
    """

    method: str
    pattern: str
    handler: Handler
    refuse: Refuse
    protocol: str
    summary: str = ""
    hot: bool = False
    any_case: bool = False


class Router:
    """Finds the route of a request; remembers what it found, up to a limit.

    ``beyond`` are routes whose pattern is only a prefix: they take, in any method, what no other route of
    that prefix takes, so that a protocol can refuse it in its own words.
    """

    _REMEMBERED = 4096

    def __init__(self, routes: Iterable[Route], refuse: Refuse, beyond: Iterable[Route] = ()) -> None:
        self.routes = tuple(routes)
        self.refuse = refuse
        self.beyond = tuple(beyond)
        self._compiled = [(_compile(route), route) for route in self.routes]
        self._found: dict[tuple[str, str], tuple[Route, Mapping[str, str]]] = {}

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Return the route and its parameters; raises `RouteNotFound` or `MethodRefused`."""
        key = (method, path)
        found = self._found.get(key)
        if found is None:
            found = self._search("GET" if method == "HEAD" else method, path)
            if len(path) <= LONGEST_REMEMBERED:
                if len(self._found) >= self._REMEMBERED:
                    self._found.clear()
                self._found[key] = found
        return found

    def refusing(self, path: str) -> Refuse:
        """Return who words a refusal of `path`: the protocol that has it, in whatever method."""
        having = (route for pattern, route in self._compiled if pattern.fullmatch(path))
        route = next(having, None)
        return route.refuse if route is not None else self.refuse

    def _search(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        allowed = []
        for pattern, route in self._compiled:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if route.method == method:
                return route, {name: unquote(part) for name, part in match.groupdict().items()}
            allowed.append(route.method)
        for route in self.beyond:
            if path[: len(route.pattern)].lower() == route.pattern:
                return route, {}
        if not allowed:
            raise RouteNotFound(
                f"`{path}`", expected="a route of this server", found="none", hint="see `/docs`"
            )
        methods = tuple(sorted(set(allowed)))
        raise MethodRefused(f"`{path}`", expected=" or ".join(methods), found=method, allowed=methods)


def _compile(route: Route) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", route.pattern)
    text = "".join(f"(?P<{part}>[^/:]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return re.compile(text, re.IGNORECASE if route.any_case else 0)


def json_response(value: Any, status: int = 200) -> Response:
    """Encode a plain value as JSON."""
    return Response(msgspec.json.encode(value), status)
