"""What people do to releases on pages, through the functions of the commands.

A form is answered with a redirect to the page of the release, or with its own page again: what was typed is
not lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lading.errors import (
    InvalidSetting,
    LadingError,
    NotFound,
    RegistryReadOnly,
    RegistryUnavailable,
    StaleRelease,
    UsageError,
)
from lading.hub.access.forms import signed_form
from lading.hub.answering import Answering, see_other
from lading.hub.pages import Pages
from lading.hub.views.act import LONGEST_REASON, REASON_NEEDED, Act, Seen, blind_page
from lading.hub.views.begin import begin_wish
from lading.ref import Ref, check_name
from lading.registry import Registry
from lading.rollout import by_hand
from lading.rollout.begin_by_hand import begin_by_hand
from lading.rollout.by_hand import Meant
from lading.rollout.preflight import proved_already

log = logging.getLogger("lading.hub")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A form: about which model, by whom (empty if nobody is signed in), and what its page displayed."""

    name: str
    actor: str
    seen: Seen
    fields: Mapping[str, str]

    @property
    def reason(self) -> str:
        return self.fields.get("reason", "").strip()


class Acting:
    """Answers the forms that change releases."""

    def __init__(self, registry: Registry, pages: Pages, answering: Answering) -> None:
        self._registry = registry
        self._pages = pages
        self._answering = answering

    async def act(self, request: Request, act: Act) -> Response:
        """Do what the form of an act says, and go to the page of the release."""

        def page(sent: _Sent) -> tuple[Any, str]:
            try:
                return self._pages.act_now(sent.name, act, sent.seen)
            except RegistryUnavailable as error:
                return blind_page(act, sent.name, sent.seen), error.message

        needs_reason = act in REASON_NEEDED
        return await self._carry_out(request, act, lambda sent: self._do(act, sent), page, needs_reason)

    async def begin(self, request: Request) -> Response:
        """Release the version of a page as its form says, and go to the page of the release."""
        version = request.path_params["version"]

        def do(sent: _Sent) -> bool:
            known = self._registry.resolve(Ref(sent.name, version=version))
            wish = begin_wish(known, sent.fields, actor=sent.actor, reason=sent.reason)
            meant = Meant(sent.seen.release, sent.seen.change)
            # The hub runs no model: what nobody has verified is verified elsewhere.
            begun = begin_by_hand(
                self._registry, wish, lambda version: proved_already(self._registry, version), meant
            )
            if begun.evidence is None:
                where = f"release of `{known.ref}`"
                raise UsageError(where, expected="another one than the current release", found="the same")
            return True

        def page(sent: _Sent) -> tuple[Any, str]:
            return self._pages.begin_now(sent.name, version, sent.seen)

        return await self._carry_out(request, "begin", do, page)

    def _do(self, act: Act, sent: _Sent) -> bool:
        """Do it, and return whether anything was left to do."""
        registry, name, seen = self._registry, sent.name, sent.seen
        meant = Meant(seen.release, seen.change)
        actor, reason = sent.actor, sent.reason
        if act == "promote":
            to = seen.to or None
            return by_hand.promote(registry, name, meant, to=to, actor=actor, reason=reason).changed
        if act == "rollback":
            # Of the release that the page displayed: two people who roll back go back once.
            return by_hand.roll_back(registry, name, seen.release, actor=actor, reason=reason).changed
        steer = {"pause": by_hand.pause, "resume": by_hand.resume, "abort": by_hand.abort}[act]
        return steer(registry, name, meant, actor=actor, reason=reason).changed

    async def _carry_out(
        self,
        request: Request,
        what: str,
        do: Callable[[_Sent], bool],
        page: Callable[[_Sent], tuple[Any, str]],
        needs_reason: bool = False,
    ) -> Response:
        """Do what a form says, in a thread; `page` makes the view of its page, for when it was not done."""
        try:
            sent = await self._sent(request)
        except LadingError as error:
            return self._answering.refusal(request, error)
        # What is said next says nothing about a release: who is not signed in learns what pages show anyway.
        if unfit := self._unfit(sent, what, needs_reason=needs_reason):
            return await self._again(request, what, sent, page, unfit)
        line = f"{sent.actor}: {what} of release {sent.seen.release} of {sent.name}"
        try:
            done = await run_in_threadpool(do, sent)
        except NotFound as error:
            return self._answering.refusal(request, error)
        except LadingError as error:
            log.info("%s refused: %s", line, error.message)
            return await self._again(request, what, sent, page, _outcome(error), error)
        # The edge of a request: what was typed must not be lost by a defect of ours.
        except Exception:
            log.exception("%s failed", line)
            return await self._again(request, what, sent, page, (500, "defect"))
        # Somebody else has done it meanwhile, which is no error but has to be seen.
        if not done:
            return await self._again(request, what, sent, page, (409, "meanwhile"))
        log.info("%s", line)
        # The name has passed its grammar, so that the address leads nowhere else.
        return see_other(f"/models/{sent.name}/release")

    def _unfit(self, sent: _Sent, what: str, *, needs_reason: bool) -> tuple[int, str] | None:
        """Return the status and the problem of a form that nothing is done with, or None."""
        if not sent.actor:
            return 401, "signed out"
        if not self._answering.access.may_act(sent.actor, sent.name):
            log.warning("%s may not change releases of %s: %s refused", sent.actor, sent.name, what)
            return 403, "not granted"
        problem = _reason_problem(sent.reason, needs_reason)
        return (400, problem) if problem else None

    async def _sent(self, request: Request) -> _Sent:
        name = check_name(request.path_params["name"])
        session, fields = await signed_form(self._answering.access, request)
        return _Sent(name, session.actor if session is not None else "", Seen.of(fields), fields)

    async def _again(
        self,
        request: Request,
        what: str,
        sent: _Sent,
        page: Callable[[_Sent], tuple[Any, str]],
        outcome: tuple[int, str],
        error: LadingError | None = None,
    ) -> Response:
        """Answer with the form again, over the release as it stands by now."""
        status, problem = outcome
        # Over the present state: who sends the form once more means what he sees now.
        try:
            view, failure = await run_in_threadpool(page, sent)
        except LadingError as unread:
            return self._answering.refusal(request, unread)
        template = "begin.html" if what == "begin" else "act.html"
        values = {
            "reason": sent.reason[: 2 * LONGEST_REASON],
            "problem": problem,
            "message": error.message if error is not None else "",
            "hint": (error.hint or "") if error is not None else "",
            "fields": sent.fields,
        }
        return self._answering.drawn(request, template, status, view=view, failure=failure, **values)


def _reason_problem(reason: str, needs_reason: bool) -> str:
    if needs_reason and not reason:
        return "no reason"
    if len(reason) > LONGEST_REASON:
        return "long reason"
    # Other control characters are kept as they are, and shown as escapes, as those of commands.
    return "unstorable reason" if "\0" in reason else ""


def _outcome(error: LadingError) -> tuple[int, str]:
    """Return the status for what was not done, and what to say of it."""
    if isinstance(error, RegistryReadOnly):
        return 503, "read-only"
    if isinstance(error, RegistryUnavailable):
        return 503, "unknown"
    if isinstance(error, InvalidSetting):
        return 400, "not possible"
    return 409, "meanwhile" if isinstance(error, StaleRelease) else "not possible"
