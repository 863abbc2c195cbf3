"""What people do on pages: sign in and out, and act on releases through the functions of the commands.

A form is answered with a redirect to a fixed address, or with its page again: what was typed is not lost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lading.errors import (
    InvalidName,
    LadingError,
    NotFound,
    NotSupported,
    RegistryReadOnly,
    RegistryUnavailable,
    StaleRelease,
)
from lading.hub.access import SESSION_S, Session
from lading.hub.access.cookies import drop_session, keep_session, session_of
from lading.hub.access.forms import check_origin, check_token, read_form
from lading.hub.answering import Answering
from lading.hub.pages import Pages
from lading.hub.views.act import LONGEST_REASON, REASON_NEEDED, Act, Seen, blind_page
from lading.ref import check_name
from lading.registry import Registry
from lading.rollout import by_hand
from lading.rollout.by_hand import Meant

log = logging.getLogger("lading.hub")

_LONGEST_NAME = 80


class Acting:
    """Answers the forms of a hub."""

    def __init__(self, registry: Registry, pages: Pages, answering: Answering) -> None:
        self._registry = registry
        self._pages = pages
        self._answering = answering
        self._access = answering.access

    async def act(self, request: Request, act: Act) -> Response:
        """Do what the form of an act says, and go to the page of the release."""
        try:
            name = check_name(request.path_params["name"])
            session, fields = await self._sent(request)
            seen = Seen.of(fields)
        except LadingError as error:
            return self._answering.refusal(request, error)
        reason = fields.get("reason", "").strip()
        if session is None or not session.actor:
            return await self._again(request, act, name, seen, reason, (401, "signed out"))
        if problem := _reason_problem(act, reason):
            return await self._again(request, act, name, seen, reason, (400, problem))
        try:
            done = await run_in_threadpool(self._do, act, name, seen, session.actor, reason)
        except NotFound as error:
            return self._answering.refusal(request, error)
        except LadingError as error:
            log.info(
                "%s: %s of release %d of %s refused: %s",
                session.actor,
                act,
                seen.release,
                name,
                error.message,
            )
            return await self._again(request, act, name, seen, reason, _outcome(error), error.message)
        except Exception:
            log.exception("%s: %s of release %d of %s failed", session.actor, act, seen.release, name)
            return await self._again(request, act, name, seen, reason, (500, "defect"))
        if not done:
            return await self._again(request, act, name, seen, reason, (409, "meanwhile"))
        log.info("%s: %s of release %d of %s", session.actor, act, seen.release, name)
        # The name has passed its grammar, so that the address leads nowhere else.
        return _to(f"/models/{name}/release")

    async def sign_in_page(self, request: Request) -> Response:
        """Answer with the form for signing in."""
        return self._sign_in_form(request, 200)

    async def sign_in(self, request: Request) -> Response:
        """Sign a person in who has the key."""
        try:
            session, fields = await self._sent(request)
        except LadingError as error:
            return self._answering.refusal(request, error)
        name, model = fields.get("name", "").strip(), fields.get("model", "")
        if session is None:
            return self._sign_in_form(request, 401, "old page", name=name, model=model)
        address = request.client.host if request.client is not None else ""
        if wait_s := self._access.attempts.wait_s(address):
            response = self._sign_in_form(request, 429, "too soon", model=model, seconds=wait_s)
            response.headers["retry-after"] = str(wait_s)
            return response
        # Nothing waits between the look at the pause and the count: attempts sent at once are counted, too.
        if not self._access.is_key(fields.get("key", "")):
            count = self._access.attempts.failed(address)
            log.warning("wrong key number %d from %s", count, address)
            # Who has typed the key as a name does not want it on the page.
            kept = "" if self._access.is_key(name) else name
            return self._sign_in_form(request, 401, "wrong key", name=kept, model=model)
        self._access.attempts.succeeded(address)
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or self._access.is_key(name):
            return self._sign_in_form(request, 400, "no name", model=model)
        # A session of its own: one that somebody else has put into the browser is signed in nowhere.
        self._access.end(session)
        signed_in = self._access.begin(name)
        log.info("%s has signed in from %s", name, address)
        response = _to(_place(model))
        keep_session(response, self._access, signed_in, request)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session of a browser."""
        try:
            session, _ = await self._sent(request)
        except LadingError as error:
            return self._answering.refusal(request, error)
        if session is not None:
            self._access.end(session)
            log.info("%s has signed out", session.actor)
        response = _to("/")
        drop_session(response, request)
        return response

    async def _sent(self, request: Request) -> tuple[Session | None, Mapping[str, str]]:
        """Return the session and the fields of a form that a page of this hub has sent in that session.

        Without a session nothing may be done with them. Raises `LadingError` for every other form.
        """
        if not self._access.has_key:
            hint = "start it with `lading hub --key-file FILE`"
            raise NotSupported("this hub", expected="a key to change something", found="none", hint=hint)
        check_origin(request)
        fields = await read_form(request)
        session = session_of(self._access, request)
        if session is not None:
            check_token(self._access, session, fields)
        return session, fields

    def _do(self, act: Act, name: str, seen: Seen, actor: str, reason: str) -> bool:
        """Do it, and return whether anything was left to do."""
        meant, registry = Meant(seen.release, seen.change), self._registry
        if act == "promote":
            to = seen.to or None
            return by_hand.promote(registry, name, meant, to=to, actor=actor, reason=reason).changed
        if act == "rollback":
            return by_hand.roll_back(registry, name, seen.release, actor=actor, reason=reason).changed
        steer = {"pause": by_hand.pause, "resume": by_hand.resume, "abort": by_hand.abort}[act]
        return steer(registry, name, meant, actor=actor, reason=reason).changed

    async def _again(
        self,
        request: Request,
        act: Act,
        name: str,
        seen: Seen,
        reason: str,
        outcome: tuple[int, str],
        message: str = "",
    ) -> Response:
        """Answer with the form again, over the release as it stands by now."""
        status, problem = outcome
        try:
            view, failure = await run_in_threadpool(self._pages.act_now, name, act, seen)
        except RegistryUnavailable as error:
            view, failure = blind_page(act, name, seen), error.message
        except LadingError as error:
            return self._answering.refusal(request, error)
        values = {"reason": reason[: 2 * LONGEST_REASON], "problem": problem, "message": message}
        return self._answering.drawn(request, "act.html", status, view=view, failure=failure, **values)

    def _sign_in_form(self, request: Request, status: int, problem: str = "", **values: Any) -> Response:
        session = session_of(self._access, request)
        # A form needs a session before anybody is signed in: else other pages could sign people in.
        kept = session or self._access.begin()
        filled = {"name": "", "seconds": 0, "token": self._access.token(kept), **values}
        filled["model"] = _model(values.get("model", request.query_params.get("model", "")))
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


def _reason_problem(act: Act, reason: str) -> str:
    if not reason and act in REASON_NEEDED:
        return "no reason"
    if len(reason) > LONGEST_REASON:
        return "long reason"
    # Other control characters are kept as they are, and shown as escapes, as those of commands.
    return "unstorable reason" if "\0" in reason else ""


def _outcome(error: LadingError) -> tuple[int, str]:
    """Return the status for an act that was not done, and what to say of it."""
    if isinstance(error, RegistryReadOnly):
        return 503, "read-only"
    if isinstance(error, RegistryUnavailable):
        return 503, "unknown"
    return 409, "meanwhile" if isinstance(error, StaleRelease) else "not possible"


def _model(text: str) -> str:
    """Return the name of a model, or nothing for what cannot be one."""
    try:
        return check_name(text) if text else ""
    except InvalidName:
        return ""


def _place(model: str) -> str:
    # One of two addresses of this hub: whatever the form says, it leads nowhere else.
    known = _model(model)
    return f"/models/{known}/release" if known else "/"


def _to(path: str) -> Response:
    return Response(status_code=303, headers={"location": path})
