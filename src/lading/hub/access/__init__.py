"""Who may change releases: one key, the sessions of those who have it, and forms that only pages send.

Without a key nobody signs in, and the hub changes nothing. Who has the key may do all; `by_file` knows roles.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable

import msgspec
from itsdangerous import BadData, Signer, URLSafeSerializer

from lading.hub.access.attempts import Attempts

SESSION_S = 8 * 3600.0
"""So long a person stays signed in: a working day."""

VISIT_S = 3600.0
"""So long the form for signing in can be sent after it was read."""

_LONGEST_COOKIE = 2000
_SHA256 = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}


class Session(msgspec.Struct, frozen=True):
    """A browser: who is signed in, or an empty ``actor`` while nobody is. It ends at a Unix time."""

    id: str
    actor: str
    until: float


class Access:
    """Signs sessions and the tokens of their forms with keys made of the hub's key; None lets nobody in."""

    names_by_key = False
    """Whether a key says whose it is."""

    def __init__(self, key: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: dict[str, float] = {}
        self.attempts = Attempts(clock)
        self.has_key = key is not None
        # Without a key nothing that anybody signs is right: this one lives no longer than the process.
        secret = key if key is not None else secrets.token_hex(32)
        self._key = _digest(secret)
        self._sessions = URLSafeSerializer(secret, salt="lading.hub.session", signer_kwargs=_SHA256)
        self._forms = Signer(
            secret, salt="lading.hub.form", key_derivation="hmac", digest_method=hashlib.sha256
        )

    def may_act(self, actor: str, model: str) -> bool:  # noqa: ARG002 - of `FileAccess`
        """Return whether somebody may change the release of a model: all who have signed in may."""
        return bool(actor)

    def name_of(self, key: str) -> str | None:  # noqa: ARG002 - of `FileAccess`
        """Return the name of a key's owner, or None if people type it."""
        return None

    def is_key(self, text: str) -> bool:
        """Return whether a text is the key, in a time that does not depend on either."""
        # Digests have one length, so that not even that of the key can be measured.
        return hmac.compare_digest(_digest(text), self._key) and self.has_key

    def begin(self, actor: str = "") -> Session:
        """Return a new session; nobody can guess its id."""
        # Until somebody is signed in, a session only proves that the form comes from the browser's own page.
        lasts_s = SESSION_S if actor else VISIT_S
        return Session(secrets.token_urlsafe(16), actor, self._clock() + lasts_s)

    def cookie(self, session: Session) -> str:
        """Return the value of a session's cookie."""
        value: str | bytes = self._sessions.dumps(msgspec.to_builtins(session))
        return value.decode() if isinstance(value, bytes) else value

    def session(self, cookie: str) -> Session | None:
        """Return the session of a cookie, or None if it is forged, over, signed out, or of another key."""
        # What is read is bounded before anything is computed over it.
        if not self.has_key or not cookie or len(cookie) > _LONGEST_COOKIE:
            return None
        try:
            session = msgspec.convert(self._sessions.loads(cookie), Session)
        except (BadData, msgspec.ValidationError):
            return None
        with self._lock:
            is_ended = session.id in self._ended
        return None if is_ended or session.until <= self._clock() else session

    def end(self, session: Session) -> None:
        """End a session before its time: a copy of its cookie is worth nothing from now on."""
        with self._lock:
            # Those that are over by themselves need no memory.
            now = self._clock()
            self._ended = {id: until for id, until in self._ended.items() if until > now}
            self._ended[session.id] = session.until

    def token(self, session: Session) -> str:
        """Return what every form of a session carries, and no page of elsewhere knows; another each time.

        It is the signature of the session under a pad that is used once, behind that pad.
        """
        # Who sees the sizes of compressed pages that repeat a guess learns nothing: no two have one token.
        signature = self._forms.get_signature(session.id)
        pad = secrets.token_bytes(len(signature))
        return base64.urlsafe_b64encode(pad + _under(pad, signature)).decode()

    def has_token(self, session: Session, token: str) -> bool:
        """Return whether a token is one of a session."""
        try:
            masked = base64.b64decode(token, altchars=b"-_", validate=True)
        except ValueError:  # No base64, or characters beyond ASCII.
            return False
        half = len(masked) // 2
        signature = _under(masked[:half], masked[half:]) if len(masked) == 2 * half else b""
        return hmac.compare_digest(signature, self._forms.get_signature(session.id))


def _under(pad: bytes, text: bytes) -> bytes:
    """Return a text with a pad of its length laid over it, or without one that lies over it."""
    return bytes(byte ^ mask for byte, mask in zip(text, pad, strict=True))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
