"""How a view becomes an answer: a page for people, JSON or a file for programs, one error for each."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.to_thread
import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route

from lading.errors import (
    AccessError,
    BodyInvalid,
    BodyTooLarge,
    CallerUnknown,
    ConflictError,
    DeadlineExceeded,
    IssuerUnavailable,
    LadingError,
    MediaTypeRefused,
    NotFound,
    NotSupported,
    OriginRefused,
    RegistryUnavailable,
    RunFailed,
    UsageError,
)
from lading.hub.access import Access
from lading.hub.access.cookies import session_of
from lading.hub.drawing import Drawing
from lading.hub.follower import Follower
from lading.hub.knowledge import Knowledge
from lading.hub.live import Content, Live, Watch
from lading.hub.words import LANGUAGES, language_of

log = logging.getLogger("lading.hub")

_LANGUAGE = "lading_language"
_YEAR_S = 31_536_000
_LIVE = "lading-live"
_LONGEST_ADDRESS = 4000
# Longer than the follower takes to notice that the catalog is silent: then a page is made of what was known.
_PATIENCE_S = 8.0
# What differs each time that a view is made, although nothing has changed.
_MOVING = frozenset({"read_at", "age_s", "until"})

View = Callable[[Request, Knowledge], tuple[Any, str]]
"""Makes what a page says, and why that is not newer, or nothing. May read the catalog."""


class Made(msgspec.Struct, frozen=True):
    """What a page says, when it was read, and why that is not newer, or nothing."""

    read_at: float
    stale: str
    data: Any


class Answering:
    """Answers requests with what views make of the follower's knowledge."""

    def __init__(self, follower: Follower, drawing: Drawing, access: Access, live: Live) -> None:
        self.follower = follower
        self.access = access
        self.live = live
        self._drawing = drawing
        self._pages: list[tuple[Route, str, View]] = []

    def file(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a program with the file that a view makes; an error is JSON."""

        async def answer(request: Request) -> Response:
            try:
                response: Response = (await self._made(request, view)).data
            except LadingError as error:
                return error_answer(error)
            return response

        return answer

    def page(
        self, template: str, view: View, *, is_live: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a browser: the view in a template. One that is live is kept up to date."""

        async def answer(request: Request) -> Response:
            if _LIVE in request.headers:
                # The script of a page that is open: its stream has announced something new.
                key = (self._language(request), request.headers.get("cookie", ""))
                shared: Response | None = await self.live.page(_address(request), request, key)
                if shared is not None:
                    # A copy, because compressing changes the headers of the response that is sent.
                    return Response(shared.body, shared.status_code, media_type="text/html")
            content = await self._content(request, view)
            return await self._page(request, template, content, is_live=is_live)

        return answer

    def route(self, path: str, template: str, view: View) -> Route:
        """Return the route of a page, which streams of live updates can name from now on."""
        route = Route(path, self.page(template, view, is_live=True))
        self._pages.append((route, template, view))
        return route

    async def stream(self, request: Request) -> Response:
        """Answer with the live updates of the page in the parameters."""
        # A page of elsewhere cannot read them, but it could open all that there may be.
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return PlainTextResponse("live updates are for the hub's own pages", 403)
        path, _, query = request.query_params.get("page", "")[:_LONGEST_ADDRESS].partition("?")
        scope = {
            "type": "http",
            "method": "GET",
            "path": unquote(path),
            "root_path": "",
            "headers": [],
            "query_string": query.encode(),
        }
        for route, template, view in self._pages:
            match, changes = route.matches(scope)
            if match == Match.FULL:
                of = Request({**scope, **changes})
                last_id = request.headers.get("last-event-id") or request.query_params.get("id", "")
                return self.live.open(_address(of), partial(self._watch, of, template, view), last_id)
        return PlainTextResponse("`page`: expected the address of a page of the hub", 404)

    def _watch(self, of: Request, template: str, view: View) -> Watch:
        async def make(request: Request) -> tuple[Content, float]:
            cost_s = 0.0

            def timed(request: Request, knowledge: Knowledge) -> tuple[Any, str]:
                nonlocal cost_s
                began = time.thread_time()
                try:
                    return view(request, knowledge)
                finally:
                    cost_s = time.thread_time() - began

            return await self._content(request, timed), cost_s

        async def draw(request: Request, content: Content) -> Response:
            return await self._page(request, template, content)

        return Watch(of, make, draw)

    async def _content(self, request: Request, view: View) -> Content:
        made: Made | LadingError
        try:
            made = await self._made(request, view)
        except LadingError as error:
            made = error
        return await run_in_threadpool(_content_of, made)

    async def _page(
        self, request: Request, template: str, content: Content, *, is_live: bool = True
    ) -> Response:
        made, id = content.made, content.id if is_live else ""
        if isinstance(made, LadingError):
            return self.refusal(request, made, live=id)
        # Dozens of charts take a tenth of a second, in which others would wait.
        return await run_in_threadpool(
            self.drawn, request, template, 200, view=made.data, failure=made.stale, live=id
        )

    def data(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a program: the view as JSON, with when it was read and why it is not newer."""

        async def answer(request: Request) -> Response:
            try:
                return json_answer(await self._made(request, view), 200)
            except LadingError as error:
                return error_answer(error)

        return answer

    async def _made(self, request: Request, view: View) -> Made:
        """Make what a page says. Raises `LadingError`, `RunFailed` for a defect of ours."""
        # Looked at once: it is replaced while a page is made.
        known = self.follower.known
        if known.knowledge is None:
            reason = known.failure or "none yet"
            raise RegistryUnavailable("the registry", expected="an answer", found=reason)
        try:
            data, failure = await _in_time(view, request, known.knowledge)
        except LadingError:
            raise
        except Exception:
            # Quoted: a path may hold what a terminal obeys.
            log.exception("the page %r cannot be made", request.url.path)
            raise RunFailed("internal error", hint="the log of the hub has it") from None
        return Made(known.knowledge.read_at, failure or self.follower.known.failure, data)

    async def on_error(self, request: Request, error: Exception) -> Response:
        """Answer what no route takes."""
        assert isinstance(error, HTTPException)
        # Programs parse what they get: a page in HTML would only confuse them.
        if request.url.path.startswith("/api/"):
            return json_answer(
                {"error": "NotFound", "message": error.detail, "hint": None}, error.status_code
            )
        return self.drawn(request, "error.html", error.status_code, message=error.detail, hint="")

    async def health(self, _request: Request) -> Response:
        """Answer whether pages can be made: from what is known, however old that is."""
        known = self.follower.known
        return PlainTextResponse("ok" if known.knowledge else "no catalog", 200 if known.knowledge else 503)

    async def language(self, request: Request) -> Response:
        """Remember the language that a person has chosen, and go back to the first page."""
        chosen = request.path_params["language"]
        response = Response(status_code=303, headers={"location": "/"})
        # Always to the first page: an address to go back to could lead anywhere.
        if chosen in LANGUAGES:
            # `lax`, so that a link from a chat opens in the language that was chosen.
            response.set_cookie(_LANGUAGE, chosen, max_age=_YEAR_S, httponly=True, samesite="lax")
        return response

    def refusal(self, request: Request, error: LadingError, live: str = "") -> Response:
        """Answer a browser with an error; `live` is the id of the content, if the page is kept up to date."""
        return self.drawn(
            request, "error.html", status_of(error), message=error.message, hint=error.hint or "", live=live
        )

    def _language(self, request: Request) -> str:
        chosen = request.cookies.get(_LANGUAGE, "")
        return language_of(chosen, request.headers.get("accept-language", ""))

    def drawn(self, request: Request, template: str, status: int, **values: Any) -> Response:
        """Answer a browser with a template, in its language and for the person who is signed in."""
        session = session_of(self.access, request)
        if session is not None:
            values.setdefault("person", session.actor)
            values.setdefault("token", self.access.token(session))
        values.setdefault("signs_in", self.access.has_key)
        values.setdefault("names_by_key", self.access.names_by_key)
        language = self._language(request)
        known = self.follower.known
        values.setdefault("failure", known.failure)
        read_at = known.knowledge.read_at if known.knowledge is not None else 0.0
        path = request.url.path
        text = self._drawing.draw(template, language, path=path, read_at=read_at, **values)
        return Response(text, status, media_type="text/html")


async def _in_time(view: View, request: Request, knowledge: Knowledge) -> tuple[Any, str]:
    """Make a view; where it takes long, a second time: the catalog is then known to be silent."""
    for _ in range(2):
        with anyio.move_on_after(_PATIENCE_S):
            # The thread goes on by itself: what it waits for ends at some time, and nobody waits with it.
            return await anyio.to_thread.run_sync(view, request, knowledge, abandon_on_cancel=True)
    raise RegistryUnavailable(
        "the registry", expected=f"an answer within {2 * _PATIENCE_S:g} s", found="none"
    )


def _address(request: Request) -> str:
    return f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"


def _content_of(made: Made | LadingError) -> Content:
    """Return content with an id that is equal for what displays alike."""
    if isinstance(made, LadingError):
        content: Any = (type(made).__name__, made.message, made.hint)
    else:
        content = (made.stale, made.data)
        if isinstance(made.data, msgspec.Struct):
            names = (name for name in made.data.__struct_fields__ if name not in _MOVING)
            content = (made.stale, {name: getattr(made.data, name) for name in names})
    return Content(made, hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:16])


def restated(content: Content, failure: str) -> Content:
    """Return the same content with why it is not newer; an error stays as it is."""
    if isinstance(content.made, LadingError):
        return content
    return _content_of(msgspec.structs.replace(content.made, stale=failure))


def see_other(path: str) -> Response:
    """Return the answer that leads from a form to a page of this hub."""
    return Response(status_code=303, headers={"location": path})


def json_answer(value: Any, status: int) -> Response:
    """Return an answer for a program."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def error_answer(error: LadingError) -> Response:
    """Return an error for a program: what it is called, what it says, and what helps."""
    value = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    return json_answer(value, status_of(error))


_STATUSES: Mapping[type[LadingError], int] = {
    NotFound: 404,
    CallerUnknown: 401,
    AccessError: 403,
    IssuerUnavailable: 503,
    UsageError: 400,
    BodyInvalid: 400,
    OriginRefused: 403,
    NotSupported: 403,
    DeadlineExceeded: 408,
    ConflictError: 409,
    BodyTooLarge: 413,
    MediaTypeRefused: 415,
    RegistryUnavailable: 503,
}


def status_of(error: LadingError) -> int:
    """Return the status of an answer: that of the error's class, or of the nearest one above it."""
    return next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 500)
