"""Decides about one request: who asks, whether that caller may do what is asked, and how often.

    credential ─▶ (seen before?) ─▶ key | token ─▶ Caller ─▶ rule of the action ─▶ limits

What was proved once is remembered by the hash of the credential, for as long as it holds: no credential is
kept in memory. Wrong credentials are not remembered, so that nobody can fill the memory with them.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lading.access import Caller, Rule
from lading.access.audit import Audit
from lading.access.file import AccessFile, Entry
from lading.access.keys import LENGTH, PREFIX
from lading.access.limits import Limits, slots_of
from lading.errors import AccessDenied, CallerUnknown, LadingError

if TYPE_CHECKING:
    from lading.access.tokens import Tokens

log = logging.getLogger("lading.access")

digest_of = hashlib.blake2s
"""The hash by which credentials are remembered: as strong as SHA-256, and quicker for short texts."""

_BEARER = b"bearer "
_LONGEST = 16 * 1024
_MOST_REMEMBERED = 8192
_NO_KEY: tuple[bytes, Caller | None] = (bytes(32), None)
_HINT = "send `authorization: Bearer KEY`"


class Gate:
    """The callers of one access file; `replace` puts another file in its place."""

    def __init__(
        self,
        file: AccessFile,
        limits: Limits | None = None,
        *,
        audit: Audit | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._limits = limits or Limits()
        self.audit = audit or Audit()
        self._changing = threading.Lock()
        self._tokens: Tokens | None = None
        self._set(file)

    def _set(self, file: AccessFile) -> None:
        tokens = None
        if file.issuers:
            # Imported here: it brings cryptography, which keys alone do not need.
            from lading.access.tokens import open_tokens

            tokens = open_tokens(file.issuers, self._clock, self._tokens)
        # From here on nothing can fail: a file that cannot be used has left the present one as it was.
        before, self._tokens = self._tokens, tokens
        self._file = file
        self.open_health = file.open_health
        secrets = ((bytes.fromhex(key.secret), key) for key in file.keys)
        self._keys = {secret: (secret, _caller(key, "key")) for secret, key in secrets}
        self._named = {caller.name: caller for _, caller in self._keys.values()}
        self._certificates = {each.secret: _caller(each, "certificate") for each in file.certificates}
        # A dict of its own, last: a thread that still looks at the old callers remembers them there.
        self.remembered: dict[bytes, Caller] = {}
        # Last, because its threads may have handed their keys on to the tokens of the new file.
        if before is not None:
            before.close()

    def replace(self, file: AccessFile) -> None:
        """Put another file in the place of the present one: what it no longer grants ends with this call."""
        with self._changing:
            self._set(file)

    def close(self) -> None:
        """End the threads that fetch the keys of issuers."""
        if self._tokens is not None:
            self._tokens.close()

    @property
    def takes_certificates(self) -> bool:
        """Whether callers can be known by the certificate of their connection."""
        return bool(self._certificates)

    def of_credential(self, header: bytes) -> Caller:
        """Return the caller of an ``authorization`` header; raises `CallerUnknown`, `IssuerUnavailable`."""
        digest = digest_of(header).digest()
        # Looked up once: `replace` may put another dict there while this credential is proved.
        remembered = self.remembered
        caller = remembered.get(digest)
        if caller is None or caller.until <= self._clock():
            caller = self._prove(header)
            if caller.expires_at <= self._clock():
                remembered.pop(digest, None)
                raise CallerUnknown(
                    f"the credential of `{caller.name}`",
                    expected="one that holds",
                    found="that it has expired",
                )
            # All at once: the cost is one more proof for each caller, and no list of ages has to be kept.
            if len(remembered) >= _MOST_REMEMBERED:
                remembered.clear()
            remembered[digest] = caller
        return caller

    def of_key(self, key: str) -> Caller:
        """Return the caller of an API key, such as somebody types it; raises `CallerUnknown`."""
        return self.of_credential(b"Bearer " + key.encode("utf-8", "replace"))

    def named(self, name: str) -> Caller | None:
        """Return who has a key by its name, or None if nobody has, or it has expired."""
        caller = self._named.get(name)
        return None if caller is None or caller.expires_at <= self._clock() else caller

    def of_certificate(self, names: tuple[str, ...]) -> Caller | None:
        """Return the caller of a certificate that has the `names`, or None if the file has none of them."""
        caller = next((self._certificates[name] for name in names if name in self._certificates), None)
        return None if caller is None or caller.expires_at <= self._clock() else caller

    def allow(self, caller: Caller, rule: Rule, model: str = "") -> None:
        """Count a request of a caller; raises `AccessDenied`, `RateExceeded`."""
        if not caller.may(rule, model):
            raise denied(caller, rule, model)
        if caller.limits:
            self._limits.take(caller)

    def _prove(self, header: bytes) -> Caller:
        if len(header) > _LONGEST:
            expected = f"at most {_LONGEST} bytes"
            raise CallerUnknown("`authorization`", expected=expected, found=f"{len(header)}", hint=_HINT)
        # RFC 9110, section 11.1: the name of the scheme is case-insensitive.
        if header[: len(_BEARER)].lower() != _BEARER:
            raise CallerUnknown("`authorization`", expected="a bearer", found="another scheme", hint=_HINT)
        # Latin-1 decodes any byte: what is no ASCII is no key, and is refused as one that nobody has.
        text = header[len(_BEARER) :].strip(b" \t").decode("latin-1")
        if text.startswith(PREFIX):
            return self._of_key(text)
        # RFC 7515, section 7.1: the compact form is three parts with two dots between them.
        if self._tokens is not None and text.count(".") == 2:
            return self._tokens.caller(text)
        expected = "a key of this server" if self._tokens is None else "a key or a token of this server"
        raise CallerUnknown("`authorization`", expected=expected, found="another text", hint=_HINT)

    def _of_key(self, text: str) -> Caller:
        # The checksum is for scanners: to compute it here would cost more than the hash.
        caller = self._known(text) if len(text) == LENGTH else None
        if caller is None:
            raise CallerUnknown(
                "`authorization`", expected="a key of this server", found="another one", hint=_HINT
            )
        return caller

    def _known(self, text: str) -> Caller | None:
        """Return the caller of a key, None for a wrong one, in the same time."""
        digest = hashlib.sha256(text.encode()).digest()
        # Where the digests of a wrong and of a right key begin to differ says nothing about the right key.
        known, caller = self._keys.get(digest, _NO_KEY)
        return caller if hmac.compare_digest(known, digest) else None


def denied(caller: Caller, rule: Rule, model: str) -> LadingError:
    """Return the refusal of what a caller may not do; it names no other model."""
    on = f" on `{model}`" if rule.of_model else " on all models" if rule.of_all else ""
    return AccessDenied(
        f"`{caller.name}`", expected=f"a caller who may {_act(rule)}{on}", found="another grant"
    )


def _act(rule: Rule) -> str:
    return {"predict": "predict", "job": "predict", "load": "load", "load all": "load"}.get(rule.name, "read")


def _caller(entry: Entry, kind: str) -> Caller:
    slots = slots_of(kind, entry.name, count=len(entry.limits))
    grants, expires_at = (entry.grant,), entry.expires_at
    return Caller(entry.name, kind, grants, expires_at, expires_at, entry.limits, slots)
