"""How a view becomes an answer: a page for people, JSON or a file for programs, one error for each."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from lading.errors import (
    BodyInvalid,
    BodyTooLarge,
    ConflictError,
    DeadlineExceeded,
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
from lading.hub.words import LANGUAGES, language_of

log = logging.getLogger("lading.hub")

_LANGUAGE = "lading_language"
_YEAR_S = 31_536_000

View = Callable[[Request, Knowledge], tuple[Any, str]]
"""Makes what a page says, and why that is not newer, or nothing. May read the catalog."""


class Made(msgspec.Struct, frozen=True):
    """What a page says, when it was read, and why that is not newer, or nothing."""

    read_at: float
    stale: str
    data: Any


class Answering:
    """Answers requests with what views make of the follower's knowledge."""

    def __init__(self, follower: Follower, drawing: Drawing, access: Access) -> None:
        self.follower = follower
        self.access = access
        self._drawing = drawing

    def file(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a program with the file that a view makes; an error is JSON."""

        async def answer(request: Request) -> Response:
            try:
                response: Response = (await self._made(request, view)).data
            except LadingError as error:
                return error_answer(error)
            return response

        return answer

    def page(self, template: str, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a browser: the view in a template."""

        async def answer(request: Request) -> Response:
            try:
                made = await self._made(request, view)
            except LadingError as error:
                return self.refusal(request, error)
            # Dozens of charts take a tenth of a second, in which others would wait.
            return await run_in_threadpool(
                self.drawn, request, template, 200, view=made.data, failure=made.stale
            )

        return answer

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
            data, failure = await run_in_threadpool(view, request, known.knowledge)
        except LadingError:
            raise
        except Exception:
            # Quoted: a path may hold what a terminal obeys.
            log.exception("the page %r cannot be made", request.url.path)
            raise RunFailed("internal error", hint="the log of the hub has it") from None
        return Made(known.knowledge.read_at, failure or known.failure, data)

    async def on_error(self, request: Request, error: Exception) -> Response:
        """Answer what no route takes."""
        assert isinstance(error, HTTPException)
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
            response.set_cookie(_LANGUAGE, chosen, max_age=_YEAR_S, httponly=True, samesite="lax")
        return response

    def refusal(self, request: Request, error: LadingError) -> Response:
        """Answer a browser with an error."""
        return self.drawn(
            request, "error.html", status_of(error), message=error.message, hint=error.hint or ""
        )

    def drawn(self, request: Request, template: str, status: int, **values: Any) -> Response:
        """Answer a browser with a template, in its language and for the person who is signed in."""
        session = session_of(self.access, request)
        if session is not None:
            values.setdefault("person", session.actor)
            values.setdefault("token", self.access.token(session))
        values.setdefault("signs_in", self.access.has_key)
        chosen = request.cookies.get(_LANGUAGE, "")
        language = language_of(chosen, request.headers.get("accept-language", ""))
        known = self.follower.known
        values.setdefault("failure", known.failure)
        read_at = known.knowledge.read_at if known.knowledge is not None else 0.0
        path = request.url.path
        text = self._drawing.draw(template, language, path=path, read_at=read_at, **values)
        return Response(text, status, media_type="text/html")


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
