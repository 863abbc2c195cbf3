"""Access control of the server: the step that lets a request through, or refuses it, whatever its protocol.

Who callers are is `lading.access`; which rule holds is stated by each route and each RPC.
"""

from __future__ import annotations

from time import time

from lading.access import ANYBODY, SERVER_FACTS, Caller, Rule, may_at_all
from lading.access.gate import Gate, denied, digest_of
from lading.errors import CallerUnknown, LadingError
from lading.server.exchange import Exchange
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane

_AUTHORIZATION = b"authorization"
_FORWARDED = b"x-forwarded-for"


class RequestAccess:
    """Authorises exchanges by a gate; satisfies `AccessControl`."""

    def __init__(self, gate: Gate, plane: DataPlane, callers: Callers) -> None:
        self._gate = gate
        self._plane = plane
        self._callers = callers

    @property
    def takes_certificates(self) -> bool:
        """Whether callers can be known by the certificate of their connection."""
        return self._gate.takes_certificates

    def __call__(self, exchange: Exchange) -> None:
        """Set the caller of an exchange; raises `AccessError`, `RateExceeded`, `IssuerUnavailable`."""
        if exchange.caller is not None:
            return
        header = exchange.credential
        # The way of nearly all, which costs less than a microsecond: a known head, a caller seen before.
        if header is not None:
            caller = self._gate.remembered.get(digest_of(header).digest())
            rule = exchange.route.rule
            if caller is not None and rule.of_model and not caller.limits and caller.until > time():
                model = exchange.params.get("name") or self._plane.default_model
                if caller.known.get((rule.name, model)):
                    exchange.caller = caller
                    return
        self._authorise(exchange)

    def _authorise(self, exchange: Exchange) -> None:
        rule = exchange.route.rule
        if not rule.roles:
            if self._gate.open_health:
                exchange.caller = ANYBODY
                return
            rule = SERVER_FACTS
        caller = None
        try:
            caller = self._caller(exchange)
            self._allow(exchange, caller, rule)
        except LadingError as error:
            self._note(exchange, caller, error)
            raise
        exchange.caller = caller

    def admit(self, exchange: Exchange) -> None:
        """Refuse a caller who may not do what is asked on any model; the message is not read yet."""
        rule: Rule = exchange.route.rule
        if not rule.roles and self._gate.open_health:
            return
        caller = None
        try:
            caller = self._caller(exchange)
            if not may_at_all(caller, rule):
                raise denied(caller, rule, "any model")
        except LadingError as error:
            self._note(exchange, caller, error)
            raise

    def _allow(self, exchange: Exchange, caller: Caller, rule: Rule) -> None:
        models = exchange.models() if rule.of_model else ()
        # Each model is looked at, and the request counts once.
        for model in models[1:]:
            if not caller.may(rule, model or self._plane.default_model):
                raise denied(caller, rule, model)
        if models:
            self._gate.allow(caller, rule, models[0] or self._plane.default_model)
        else:
            self._gate.allow(caller, rule)

    def _caller(self, exchange: Exchange) -> Caller:
        header = exchange.credential or exchange.headers.get(_AUTHORIZATION)
        if header:
            return self._gate.of_credential(header)
        if exchange.certificate:
            caller = self._gate.of_certificate(exchange.certificate)
            if caller is not None:
                return caller
            where = f"certificate `{exchange.certificate[0]}`"
            raise CallerUnknown(where, expected="one of the access file", found="another one")
        hint = "send `authorization: Bearer KEY`"
        raise CallerUnknown("`authorization`", expected="a credential", found="none", hint=hint)

    def _note(self, exchange: Exchange, caller: Caller | None, error: LadingError) -> None:
        if not self._gate.audit.may_write():
            return
        method, path, _ = exchange.request_line()
        address = self._callers.address(exchange.address(), exchange.headers.get(_FORWARDED))
        name = caller.name if caller is not None else ""
        self._gate.audit.refused(type(error).__name__, name, address, (method, path))
