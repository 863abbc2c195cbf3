"""The keys of an issuer: from a file, from an address, or from where OpenID Connect says that they are.

A thread fetches them, every few minutes and soon after a token names a key that is not known; how often it
does the latter is limited, so that invented names cause no requests. No request of a caller waits for it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from lading.access.file import IssuerRules
from lading.blobs.retry import AnswerRefused
from lading.bounded_http import fetch, open_client
from lading.clock import back_off_s
from lading.errors import CallerUnknown, InvalidSetting, IssuerUnavailable, one_line

log = logging.getLogger("lading.access")

REFRESH_S = 300.0
"""How often the keys are fetched in any case."""

LEAST_PAUSE_S = 10.0
"""How long after one fetch an unknown name of a key may cause the next."""

_RETRY_S = 1.0
_MOST_KEYS = 100
_MOST_BYTES = 1 << 20
_FETCH_S = 10.0
_DISCOVERY = "/.well-known/openid-configuration"
# RFC 7518, section 3.1, and RFC 8037 for Ed25519: which kind of key makes which signatures.
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

Keys = Mapping[str, Any]
"""Public keys by their names; one without a name has an empty one."""


class IssuerKeys:
    """The present keys of one issuer. `find` fetches them; without it they never change."""

    def __init__(
        self,
        issuer: str,
        keys: Keys | None = None,
        find: Callable[[], Keys] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._find = find
        self._clock = clock
        self._wake = threading.Event()
        self._closed = False
        self._failures = 0
        self._tried_at = float("-inf")
        if find is not None:
            threading.Thread(target=self._follow, name="issuer keys", daemon=True).start()

    @classmethod
    def open(cls, rules: IssuerRules) -> IssuerKeys:
        """Begin to hold the keys of an issuer; raises `InvalidSetting` for a file of keys or an address."""
        keys = check_keys(rules)
        if keys is not None:
            return cls(rules.issuer, keys)
        return cls(rules.issuer, find=lambda: fetch_keys(rules))

    def key(self, kid: str | None, algorithm: str) -> Any:
        """Return the key of a token; raises `CallerUnknown`, or `IssuerUnavailable` while it is fetched."""
        keys = self._keys
        if keys is not None:
            key = keys.get(kid or "") if kid is not None or "" in keys else _only(keys, algorithm)
            if key is not None and _fits(key, algorithm):
                return key
            if key is not None or self._find is None or self._clock() - self._tried_at < LEAST_PAUSE_S:
                raise CallerUnknown("the token", expected="a key of its issuer", found="another one")
        if self._clock() - self._tried_at >= _RETRY_S:
            self._wake.set()
        raise IssuerUnavailable(
            f"issuer `{self._issuer}`",
            expected="the key that signed the token",
            found="none yet",
            hint="its keys are being fetched; try again in a second",
        )

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wake.set()

    def _follow(self) -> None:
        while not self._closed:
            # Before the fetch: a name that is unknown afterwards is so for a while.
            self._wake.clear()
            try:
                assert self._find is not None
                self._keys, self._failures = self._find(), 0
            except (InvalidSetting, httpx.HTTPError, AnswerRefused, OSError) as error:
                self._failures += 1
                log.warning("keys of issuer %s cannot be fetched: %s", self._issuer, one_line(error))
            self._tried_at = self._clock()
            pause_s = REFRESH_S
            if self._failures:
                pause_s = back_off_s(self._failures, first_s=_RETRY_S, most_s=60.0)
            self._wake.wait(pause_s)


def check_keys(rules: IssuerRules) -> Keys | None:
    """Return the keys of an issuer that has a file of them, None if they are at a safe address."""
    if rules.jwks_file:
        return _read(rules.jwks_file)
    url = rules.jwks_url or rules.issuer
    if not _is_safe(url):
        where = f"issuer `{rules.issuer}`"
        raise InvalidSetting(where, expected="an address with https", found=f"`{url}`")
    return None


def fetch_keys(rules: IssuerRules) -> Keys:
    """Fetch the keys of an issuer; raises `InvalidSetting`, and the errors of httpx."""
    with open_client(timeout=_FETCH_S) as client:
        url = rules.jwks_url
        if not url:
            found_at = rules.issuer.rstrip("/") + _DISCOVERY
            document = _document(client, found_at)
            # OpenID Connect Discovery, section 4.3: else one issuer could speak for another.
            if document.get("issuer") != rules.issuer:
                raise _wrong(found_at, f"the issuer `{rules.issuer}`", f"`{document.get('issuer')}`")
            stated = document.get("jwks_uri")
            if not isinstance(stated, str) or not _is_safe(stated):
                raise _wrong(found_at, "a `jwks_uri` with https", f"`{stated}`")
            url = stated
        return parse_keys(_document(client, url), url)


def parse_keys(document: Mapping[str, Any], where: str) -> Keys:
    """Return the public keys of a key set by name; what is no asymmetric signing key is left out."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise _wrong(where, f"a list of at most {_MOST_KEYS} `keys`", "another value")
    keys: dict[str, Any] = {}
    # RFC 7517, section 4.2: `use` is optional; a key that is for encryption signs no token.
    for entry in listed:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        # A secret among public keys would make who reads them able to sign.
        if entry.get("kty") not in ("RSA", "EC", "OKP") or not isinstance(entry.get("kid", ""), str):
            continue
        public = {name: value for name, value in entry.items() if name not in _PRIVATE}
        try:
            keys[entry.get("kid", "")] = JWKRegistry.import_key(public)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            log.warning("a key of %s cannot be read: %s", where, one_line(error))
    if not keys:
        raise _wrong(where, "a public key that signs", "none")
    return keys


# RFC 7518, section 6: the private members of keys. `x5c` and `x5u` are certificates that nobody checks.
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "x5c", "x5u")


def _document(client: httpx.Client, url: str) -> Mapping[str, Any]:
    request = client.build_request("GET", url, headers={"accept": "application/json"})
    answer = fetch(
        client, request, max_bytes=_MOST_BYTES, within_s=_FETCH_S, may_follow=lambda to: _is_safe(str(to.url))
    )
    if answer.status_code != httpx.codes.OK:
        raise _wrong(url, "200", f"{answer.status_code}")
    return _parsed(answer.content, url)


def _read(path: str) -> Keys:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        reason = f"{error.strerror or error}".lower()
        raise InvalidSetting(f"`{path}`", expected="a key set (JWKS)", found=reason) from None
    return parse_keys(_parsed(data, path), path)


def _parsed(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise _wrong(where, "JSON", "another form") from None
    if not isinstance(value, dict):
        raise _wrong(where, "an object", "another value")
    return value


def _only(keys: Keys, algorithm: str) -> Any:
    """Return the only key that can have signed a token that names none."""
    fitting = [key for key in keys.values() if _fits(key, algorithm)]
    return fitting[0] if len(fitting) == 1 else None


def _fits(key: Any, algorithm: str) -> bool:
    """Return whether a key is of the kind of an algorithm, and not stated to be for another."""
    stated = key.as_dict().get("alg")
    # RFC 7517, section 4.4: `alg` is optional, and binding where it is stated.
    return bool(key.key_type == _KINDS[algorithm[:2]] and stated in (None, algorithm))


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    # Who can change keys on their way can sign as anybody. On loopback nobody is on the way.
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _wrong(where: str, expected: str, actual: str) -> InvalidSetting:
    return InvalidSetting(f"`{where}`", expected=expected, found=actual)
