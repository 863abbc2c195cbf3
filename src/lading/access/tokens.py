"""Tokens (JWT): checked against the keys of their issuer, then turned into callers by what they claim.

A token chooses nothing about how it is checked: the algorithms and the keys are the issuer's, whatever its
head says. `jku`, `x5u`, `jwk` and `x5c` in it are never looked at, and a `kid` is only compared with names
that are known.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lading.access import Caller, Grant
from lading.access.file import ClaimGrant, IssuerRules
from lading.access.issuers import IssuerKeys, check_keys
from lading.access.limits import slots_of
from lading.errors import CallerUnknown, missing_extra

PROVED_S = 300.0
"""How long a token that was proved is not proved again."""

# RFC 7515, section 2: base64url without padding. The length bounds what is decoded before it is proved.
_PART = re.compile(r"[A-Za-z0-9_-]{1,12288}")
_LONGEST_KID = 256
_LONGEST_NAME = 128
_HINT = "ask its issuer for another token"


class Tokens:
    """The issuers of one access file."""

    def __init__(self, issuers: Sequence[tuple[IssuerRules, IssuerKeys]], clock: Callable[[], float]) -> None:
        self._issuers = {rules.issuer: (rules, keys) for rules, keys in issuers}
        self._clock = clock
        self._taken: set[str] = set()

    def caller(self, token: str) -> Caller:
        """Return the caller of a token; raises `CallerUnknown`, `IssuerUnavailable`."""
        # Only to find out which issuer is meant: nothing is believed yet.
        header, claims = (_object(part) for part in token.split(".")[:2])
        issuer = claims.get("iss")
        rules, keys = self._issuers.get(issuer if isinstance(issuer, str) else "", (None, None))
        if rules is None or keys is None:
            raise _wrong("an issuer of the access file", "another one")
        algorithm, kid = header.get("alg"), header.get("kid")
        # RFC 8725, section 3.1: the verifier chooses the algorithms, or a forger would choose `none`.
        if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
            raise _wrong(f"a signature by {' or '.join(rules.algorithms)}", "another one")
        # RFC 7515, section 4.1.11: what is critical and not understood must be refused. `b64` is RFC 7797's.
        if "crit" in header or "b64" in header or "zip" in header:
            raise _wrong("no extension that has to be understood", "one")
        if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _LONGEST_KID):
            raise _wrong(f"a `kid` of at most {_LONGEST_KID} characters", "another value")
        key = keys.key(kid, algorithm)
        # The claims that were read above prove nothing; from here on those of the signed token count.
        return self._granted(rules, self._checked(rules, _verified(token, key, algorithm)))

    def take(self, rules: IssuerRules) -> IssuerKeys | None:
        """Return the keys of an issuer for another object to close, or None if its rules have changed."""
        own, keys = self._issuers.get(rules.issuer, (None, None))
        if own != rules:
            return None
        self._taken.add(rules.issuer)
        return keys

    def close(self) -> None:
        """End the threads that fetch keys."""
        for issuer, (_, keys) in self._issuers.items():
            if issuer not in self._taken:
                keys.close()

    def _checked(self, rules: IssuerRules, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        now, skew_s = self._clock(), rules.clock_skew_s
        # Once more, of the claims that were signed: those above chose the key alone.
        if claims.get("iss") != rules.issuer:
            raise _wrong("the issuer that has signed it", "another one")
        # RFC 7519, section 4.1.3: one text, or a list of them.
        audiences = claims.get("aud")
        listed = audiences if isinstance(audiences, list) else [audiences]
        if not any(audience in rules.audiences for audience in listed if isinstance(audience, str)):
            raise _wrong("an audience of this server", "another one")
        # RFC 7519, section 4.1.4: `exp` is optional, but a token without an end would hold for good.
        if _number(claims, "exp", required=True) + skew_s <= now:
            raise _wrong("one that holds", "that it has expired")
        if _number(claims, "nbf") - skew_s > now or _number(claims, "iat") - skew_s > now:
            raise _wrong("one that holds already", "that it begins later")
        return claims

    def _granted(self, rules: IssuerRules, claims: Mapping[str, Any]) -> Caller:
        name = claims.get(rules.name_claim)
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise _wrong(f"a name as `{rules.name_claim}`", "none that can be written down")
        granting = [grant for grant in rules.grants if _claims(claims, grant)]
        grants: tuple[Grant, ...] = tuple(grant.grant for grant in granting)
        limits = next((grant.limits for grant in granting if grant.limits), ())
        slots = slots_of("token", rules.issuer, name, count=len(limits))
        expires_at = float(claims["exp"]) + rules.clock_skew_s
        # A key that its issuer has withdrawn ends its tokens that soon, though they were proved before.
        until = min(expires_at, self._clock() + PROVED_S)
        return Caller(name, "token", grants, expires_at, until, limits, slots)


def open_tokens(
    issuers: Sequence[IssuerRules], clock: Callable[[], float] = time.time, before: Tokens | None = None
) -> Tokens:
    """Return what checks tokens of `issuers`, whose keys are fetched from now on, or are those of `before`.

    Raises `ExtraMissing` without the libraries of the extra `access`, `InvalidSetting` for a file of keys.
    """
    _require_library()
    # All are looked at before anything is taken over: a file that cannot be used changes nothing.
    for rules in issuers:
        check_keys(rules)
    opened = []
    for rules in issuers:
        # Those of an issuer with the same rules are known already. A file may differ: it is read again.
        kept = before.take(rules) if before is not None and not rules.jwks_file else None
        opened.append((rules, kept or IssuerKeys.open(rules)))
    return Tokens(opened, clock)


def check_issuers(issuers: Sequence[IssuerRules]) -> None:
    """Raise what `open_tokens` would raise, without a thread."""
    _require_library()
    for rules in issuers:
        check_keys(rules)


def _require_library() -> None:
    try:
        import joserfc  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra("`[[issuers]]` of the access file", "access", error) from None


def _verified(token: str, key: Any, algorithm: str) -> Mapping[str, Any]:
    """Return the claims of a token that `key` has signed."""
    from joserfc import jws
    from joserfc.errors import JoseError

    try:
        signed = jws.deserialize_compact(token, key, algorithms=[algorithm])
    except (JoseError, ValueError, TypeError):
        # Which of the checks failed helps nobody but who tries to forge one.
        raise _wrong("a signature of its issuer", "another one") from None
    return _parsed(signed.payload)


def _object(part: str) -> Mapping[str, Any]:
    if _PART.fullmatch(part) is None:
        raise _wrong("three parts in base64url", "another form")
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise _wrong("three parts in base64url", "another form") from None
    return _parsed(data)


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise _wrong("JSON in its parts", "another form") from None
    if not isinstance(value, dict):
        raise _wrong("objects in its parts", "another value")
    return value


def _number(claims: Mapping[str, Any], name: str, *, required: bool = False) -> float:
    value = claims.get(name)
    if value is None and not required:
        return float("-inf")
    # `True` is an int in Python. Beyond 2**53 a double no longer tells seconds apart.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise _wrong(f"a time as `{name}`", "none")
    return float(value)


def _claims(claims: Mapping[str, Any], grant: ClaimGrant) -> bool:
    value: Any = claims.get(grant.claim)
    if value is None:
        value = claims
        for name in grant.claim.split("."):
            value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str):
        # OAuth's `scope` is several words in one text.
        return grant.value == value or (grant.claim in ("scope", "scp") and grant.value in value.split())
    return isinstance(value, list) and grant.value in value


def _wrong(expected: str, actual: str) -> CallerUnknown:
    return CallerUnknown("the token", expected=expected, found=actual, hint=_HINT)
