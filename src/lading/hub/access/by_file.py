"""The hub with an access file: API keys sign people in under their own names, and roles say what they may do.

Reading needs the role `read` on all models, acting the role `release` on the model. What a new file no longer
grants ends with the next request: a session is a name, and what the name may do is looked up each time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from lading.access import READ_ALL, RELEASE, Caller, Rule
from lading.access.gate import Gate
from lading.errors import AccessDenied, AccessError, CallerUnknown, LadingError
from lading.hub.access import Access, Session
from lading.hub.access.cookies import session_of

ACTING = Rule("release", RELEASE, of_model=True)
"""What somebody needs to change the release of a model."""

_OPEN = ("/sign-in", "/sign-out", "/health")
_OPEN_BELOW = ("/static/", "/language/")


class FileAccess(Access):
    """Sessions of people whom an access file names. They end with the process, whose secret signs them."""

    names_by_key = True

    def __init__(self, gate: Gate, clock: Callable[[], float] = time.time) -> None:
        super().__init__(None, clock)
        self.has_key = True
        self.gate = gate

    def is_key(self, text: str) -> bool:
        """Return whether a text is a key of the file that holds."""
        return self.name_of(text) is not None

    def name_of(self, key: str) -> str | None:
        """Return the name of a key's owner, or None if it is none."""
        try:
            caller = self.gate.of_key(key)
        except LadingError:
            return None
        # A token would name somebody whom the file does not, and cannot take back.
        return caller.name if caller.kind == "key" else None

    def session(self, cookie: str) -> Session | None:
        """Return the session of a cookie, or None if it is not good, or its person is in the file no more."""
        session = super().session(cookie)
        if session is None or not session.actor:
            return session
        return session if self.gate.named(session.actor) is not None else None

    def may_act(self, actor: str, model: str) -> bool:
        """Return whether somebody may change the release of a model."""
        caller = self.gate.named(actor)
        return caller is not None and caller.may(ACTING, model)

    def reader(self, request: Request) -> Caller:
        """Return who reads, by a session or a key; raises `AccessError`, `IssuerUnavailable`."""
        header = request.headers.get("authorization", "")
        if header:
            caller: Caller | None = self.gate.of_credential(header.encode("latin-1", "replace"))
        else:
            session = session_of(self, request)
            caller = self.gate.named(session.actor) if session is not None and session.actor else None
        if caller is None:
            raise CallerUnknown("this hub", expected="somebody who has signed in", found="nobody")
        if not caller.may(READ_ALL):
            raise AccessDenied(
                f"`{caller.name}`", expected="a caller who may read on all models", found="another grant"
            )
        return caller


class ForReaders:
    """Answers those alone who may read; browsers are led to the page for signing in."""

    def __init__(self, app: Any, access: FileAccess) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "http" and not _is_open(scope["path"]):
            request = Request(scope)
            try:
                self._access.reader(request)
            except LadingError as error:
                await self._refusal(request, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, request: Request, error: LadingError) -> Response:
        status = 401 if isinstance(error, CallerUnknown) else 403 if isinstance(error, AccessError) else 503
        address = request.client.host if request.client is not None else ""
        line = (request.method, request.url.path)
        is_program = request.url.path.startswith("/api") or "authorization" in request.headers
        if status == 401 and not is_program and request.method in ("GET", "HEAD"):
            return Response(status_code=303, headers={"location": "/sign-in"})
        audit = self._access.gate.audit
        if audit.may_write():
            audit.refused(type(error).__name__, "", address, line)
        if not is_program:
            return PlainTextResponse(error.message, status)
        body = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        headers = {"www-authenticate": 'Bearer realm="lading"'} if status == 401 else {}
        return Response(json.dumps(body), status, headers, "application/json")


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_BELOW)
