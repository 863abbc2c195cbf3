"""Requests, responses and routes as handlers see them, independent of the server. Reads no sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lading.access import ADMIN, Caller, Rule
from lading.errors import LadingError
from lading.ref import version_number
from lading.server.exchange import Exchange
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.loaded import LoadedModel
from lading.server.observe.request_record import RequestLine

JSON = b"application/json"


@dataclass(eq=False)
class Request(Exchange):
    """One whole HTTP request on its way to its response.

    Header names are lower case; ``params`` are the parts of the route. ``waiter`` is the host's own.
    ``client`` is the other end of the connection, None for a Unix socket.
    ``is_slow`` is whether only a quick reader may read the body here, ``is_elsewhere`` whether `LargeBodies`
    or `DeferredAnswers` have the request, ``is_gone`` whether its client has closed the connection meanwhile.
    ``refusal`` is why its body was not received; ``refused_with`` and ``refused_why`` are the class and the
    sentence of the error that it was answered with.
    """

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    query: bytes = b""
    params: Mapping[str, str] = field(default_factory=dict)
    route: Route | None = None
    # Set here, in this order, and not later: objects whose attributes come in any order are slower.
    credential: bytes | None = None
    caller: Caller | None = field(default=None, init=False)
    response: Response | None = field(default=None, init=False)
    refusal: LadingError | None = field(default=None, init=False)
    waiter: Any = field(default=None, init=False)
    client: tuple[str, int] | None = field(default=None, init=False)
    # Defaults on the class: most requests are small.
    is_slow = False
    is_elsewhere = False
    is_gone = False
    refused_with: type[LadingError] | None = None
    refused_why = ""

    def leave_loop(self) -> None:
        """Raise `ReadElsewhere` if the body is too large for a reader in Python on the event loop.

        Handlers call this before they begin to read a body in any way but the quickest.
        """
        if self.is_slow:
            raise ReadElsewhere

    def address(self) -> str:
        """Return the address at the other end of the connection, empty for a Unix socket."""
        return self.client[0] if self.client is not None else ""

    def target(self) -> tuple[str | None, int | None, str | None] | None:
        """Return the model, version and tag in the path; the default model if a fast route names none."""
        route, params = self.route, self.params
        if route is None or not (route.fast or "name" in params):
            return None
        return (
            params.get("name"),
            version_number(params.get("version", "")),
            params.get("tag", params.get("label")),
        )

    def models(self) -> tuple[str, ...]:
        """Return the model in the path; an empty name for a route of the default model."""
        return (self.params.get("name", ""),)

    def request_line(self) -> RequestLine:
        """Return the method, the path without its query, and the pattern of the route."""
        return RequestLine(self.method, self.path, self.route.pattern if self.route is not None else "")


@dataclass(eq=False)
class Response:
    """One whole HTTP response.

    Its length and the common headers (the ``model`` that answered, the request's id) are the host's to add.
    """

    body: bytes = b""
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    model: LoadedModel | None = field(default=None, init=False)
    request_id: bytes = field(default=b"", init=False)

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """Return every header but those of the transport itself."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            *self.headers,
        ]
        if self.model is not None:
            headers += self.model.headers
        headers.append((b"x-request-id", self.request_id))
        return headers


class ReadElsewhere(Exception):
    """The body is to be read in another process; see `LargeBodies`."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """An answer that has to wait for something slow, such as the catalog: `act` makes it in another thread.

    `act` may raise `LadingError` to refuse the request.
    """

    act: Callable[[], Response]


UNRULED = Rule("unruled", ADMIN, of_all=True)
"""What a route needs that states no rule: nothing becomes open because somebody forgot it."""

Handler = Callable[[Request, DataPlane], "Response | Job | Deferred"]
Refuse = Callable[[LadingError], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path pattern (``/models/{name}/predict``), what answers, and how refusals look.

    A ``fast`` route is one that clients call for predictions: it is answered without an ASGI task. Bodies
    are JSON, unless the route takes ``any_type`` and its handler looks at the content type itself.
    ``any_case`` routes take their path in upper and lower case alike. Routes that
    ``changes_state`` are only for origins that are allowed (`origins`). ``rule`` is who may call it, where
    access is controlled; a test holds that every route states one.
    """

    method: str
    pattern: str
    handler: Handler
    refuse: Refuse
    protocol: str
    summary: str = ""
    fast: bool = False
    any_case: bool = False
    any_type: bool = False
    changes_state: bool = False
    rule: Rule = UNRULED


def json_response(value: Any, status: int = 200) -> Response:
    """Encode a plain value as JSON."""
    return Response(msgspec.json.encode(value), status)
