"""Signing in and out on pages: a name for the history, and the key of the hub."""

from __future__ import annotations

import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lading.errors import InvalidName, LadingError
from lading.hub.access import SESSION_S
from lading.hub.access.cookies import drop_session, keep_session, session_of
from lading.hub.access.forms import signed_form
from lading.hub.answering import Answering, see_other
from lading.ref import check_name

log = logging.getLogger("lading.hub")

_LONGEST_NAME = 80


class Signing:
    """Answers the forms for signing in and out."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._access = answering.access

    async def sign_in_page(self, request: Request) -> Response:
        """Answer with the form for signing in."""
        return self._sign_in_form(request, 200)

    async def sign_in(self, request: Request) -> Response:
        """Sign a person in who has the key."""
        try:
            session, fields = await signed_form(self._access, request)
        except LadingError as error:
            return self._answering.refusal(request, error)
        key = fields.get("key", "")
        name = self._access.name_of(key) or fields.get("name", "").strip()
        model = {each: fields.get(each, "") for each in ("model", "version")}
        if session is None:
            return self._sign_in_form(request, 401, "old page", name=name, **model)
        address = request.client.host if request.client is not None else ""
        if wait_s := self._access.attempts.wait_s(address):
            response = self._sign_in_form(request, 429, "too soon", **model, seconds=wait_s)
            response.headers["retry-after"] = str(wait_s)
            return response
        # Nothing waits between the look at the pause and the count: attempts sent at once are counted, too.
        if not self._access.is_key(key):
            count = self._access.attempts.failed(address)
            log.warning("wrong key number %d from %s", count, address)
            # Who has typed the key as a name does not want it on the page.
            kept = "" if self._access.is_key(name) else name
            return self._sign_in_form(request, 401, "wrong key", name=kept, **model)
        # The right key ends the pause, also if the name beside it has to be typed once more.
        self._access.attempts.succeeded(address)
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or self._access.is_key(name):
            return self._sign_in_form(request, 400, "no name", **model)
        # A session of its own: one that somebody else has put into the browser is signed in nowhere.
        self._access.end(session)
        signed_in = self._access.begin(name)
        log.info("%s has signed in from %s", name, address)
        response = see_other(_place(**model))
        keep_session(response, self._access, signed_in, request)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session of a browser."""
        try:
            session, _ = await signed_form(self._access, request)
        except LadingError as error:
            return self._answering.refusal(request, error)
        if session is not None:
            self._access.end(session)
            log.info("%s has signed out", session.actor)
        response = see_other("/")
        drop_session(response, request)
        return response

    def _sign_in_form(self, request: Request, status: int, problem: str = "", **values: Any) -> Response:
        session = session_of(self._access, request)
        # A form needs a session before anybody is signed in: else other pages could sign people in.
        kept = session or self._access.begin()
        filled = {"name": "", "seconds": 0, "token": self._access.token(kept), **values}
        asked = request.query_params
        filled["model"] = _model(values.get("model", asked.get("model", "")))
        filled["version"] = _number(values.get("version", asked.get("version", "")))
        response = self._answering.drawn(
            request,
            "sign_in.html",
            status,
            problem=problem,
            most_name=_LONGEST_NAME,
            hours=int(SESSION_S / 3600),
            **filled,
        )
        if session is None and self._access.has_key:
            keep_session(response, self._access, kept, request)
        return response


def _model(text: str) -> str:
    """Return the name of a model, or nothing for what cannot be one."""
    try:
        return check_name(text) if text else ""
    except InvalidName:
        return ""


def _number(text: str) -> str:
    """Return the number of a version, or nothing for what cannot be one."""
    return text if text.isascii() and text.isdigit() and len(text) < 10 else ""


def _place(model: str, version: str) -> str:
    # One of three addresses of this hub: whatever the form says, it leads nowhere else.
    known, number = _model(model), _number(version)
    if known and number:
        return f"/models/{known}/{number}/release"
    return f"/models/{known}/release" if known else "/"
