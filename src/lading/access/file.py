"""``access.toml``: keys, issuers of tokens and certificates, with their roles. Decides nothing, asks nobody.

[[keys]]
name = "scoring"
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
roles = ["predict"]
models = ["fraud", "iris*"]
expires = 2027-01-31
rate = "50/s"

[[issuers]]
issuer = "https://login.example.com"
audience = "lading"

[[issuers.grants]]
claim = "groups"
value = "ml-readers"
roles = ["read"]

[[certificates]]
name = "scorer"
subject = "CN=scorer,O=Example"
roles = ["predict"]
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import msgspec

from lading.access import ROLES, Grant, Limit, roles_of
from lading.errors import InvalidSetting, mid_sentence
from lading.gates import unknown_key

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519",
)  # fmt: skip
"""Signatures of tokens: asymmetric ones alone. With a shared secret, who checks a token could forge one."""

_TABLES = ("keys", "issuers", "certificates", "open_health")
_GRANT = ("roles", "models", "rate", "quota")
_KEY = ("name", "sha256", "expires", *_GRANT)
_CERTIFICATE = ("name", "subject", "expires", *_GRANT)
_ISSUER = ("issuer", "audience", "jwks_url", "jwks_file", "algorithms", "clock_skew", "name_claim", "grants")
_ISSUER_GRANT = ("claim", "value", *_GRANT)

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)")
_RATE = re.compile(r"(\d{1,9})/(s|m|h|d)")
_PATTERN = re.compile(r"[A-Za-z0-9_.*-]{1,128}")
_HASH = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 128
_MOST_BYTES = 4 << 20
_MOST_SKEW_S = 600.0


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whom the file names: a key by its hash, or a certificate by its subject.

    ``secret`` is the SHA-256 of the key in hex, or the subject.
    """

    name: str
    secret: str
    grant: Grant
    expires_at: float = float("inf")
    limits: tuple[Limit, ...] = ()


class ClaimGrant(msgspec.Struct, frozen=True, kw_only=True):
    """What a token is granted whose ``claim`` is ``value``, or a list with it.

    A claim ``a.b`` is ``b`` inside ``a``.
    """

    claim: str
    value: str
    grant: Grant
    limits: tuple[Limit, ...] = ()


class IssuerRules(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs tokens, how they are checked, and what they grant.

    Its keys are in ``jwks_file``, at ``jwks_url``, or where OpenID Connect has them if both are empty.
    """

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    clock_skew_s: float
    name_claim: str
    grants: tuple[ClaimGrant, ...]
    jwks_url: str = ""
    jwks_file: str = ""


class AccessFile(msgspec.Struct, frozen=True, kw_only=True):
    """What one file states. ``open_health`` says that probes are answered without a key."""

    keys: tuple[Entry, ...] = ()
    issuers: tuple[IssuerRules, ...] = ()
    certificates: tuple[Entry, ...] = ()
    open_health: bool = True

    @property
    def count(self) -> int:
        """How many keys, certificates and issuers it names."""
        return len(self.keys) + len(self.certificates) + len(self.issuers)

    @classmethod
    def read(cls, path: Path | str) -> AccessFile:
        """Read a file of TOML; raises `InvalidSetting`, which names the path and what is wrong there."""
        where = f"`{path}`"
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            reason = f"{error.strerror or error}".lower()
            hint = "name the access file, or leave the option out for no access control"
            raise InvalidSetting(where, expected="a TOML file", found=reason, hint=hint) from None
        if len(data) > _MOST_BYTES:
            raise InvalidSetting(where, expected=f"at most {_MOST_BYTES} bytes", found=f"{len(data)}")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            hint = "write the file in UTF-8"
            raise InvalidSetting(where, expected="TOML", found="bytes not in UTF-8", hint=hint) from None
        return cls.parse(text, where=where, folder=Path(path).parent)

    @classmethod
    def parse(cls, text: str, *, where: str = "`access.toml`", folder: Path | None = None) -> AccessFile:
        """Read TOML text; `where` names it in errors, and files that it names are relative to `folder`."""
        try:
            tables = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            reason = mid_sentence(str(error).replace("'", "`"))
            raise InvalidSetting(where, expected="TOML", found=f"another form: {reason}") from None
        for key in tables:
            if key not in _TABLES:
                raise unknown_key(where.strip("`"), key, _TABLES)
        opened = tables.get("open_health", True)
        if not isinstance(opened, bool):
            raise _wrong("open_health", where, "true or false", opened)
        made = cls(
            keys=tuple(_key(at, table) for at, table in _tables(where, "keys", tables)),
            issuers=tuple(_issuer(at, table, folder) for at, table in _tables(where, "issuers", tables)),
            certificates=tuple(_certificate(at, it) for at, it in _tables(where, "certificates", tables)),
            open_health=opened,
        )
        _refuse_twice(where, "name", [entry.name for entry in (*made.keys, *made.certificates)])
        _refuse_twice(where, "sha256", [entry.secret for entry in made.keys])
        _refuse_twice(where, "subject", [entry.secret for entry in made.certificates])
        _refuse_twice(where, "issuer", [issuer.issuer for issuer in made.issuers])
        if not (made.keys or made.issuers or made.certificates):
            hint = "`lading access key new` makes the first lines"
            raise InvalidSetting(where, expected="somebody who may do something", found="nobody", hint=hint)
        return made


def duration_s(text: str, what: str) -> float:
    """Return the seconds of a duration such as ``90d``; raises `InvalidSetting`, which names `what`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        expected = "a number and one of s, m, h, d, such as `90d`"
        raise InvalidSetting(what, expected=expected, found=f"`{text}`")
    return int(match[1]) * _UNITS_S[match[2]]


def check_models(what: str, models: Sequence[Any]) -> tuple[str, ...]:
    """Return patterns of models; raises `InvalidSetting` for one that no name can match."""
    for model in models:
        if not isinstance(model, str) or _PATTERN.fullmatch(model) is None:
            expected = "names of models, in which `*` stands for any characters"
            raise InvalidSetting(what, expected=expected, found=f"`{model}`")
    return tuple(models)


def check_caller_name(what: str, name: Any) -> str:
    """Return a name that may stand in logs and histories; raises `InvalidSetting`."""
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise InvalidSetting(
            what, expected=f"a text of 1 to {_LONGEST_NAME} printable characters", found=_kind(name)
        )
    return name


def _tables(where: str, name: str, tables: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    known = {"keys": _KEY, "issuers": _ISSUER, "certificates": _CERTIFICATE}[name]
    listed = tables.get(name, [])
    if not isinstance(listed, list) or not all(isinstance(table, dict) for table in listed):
        hint = f"each is written `[[{name}]]`, with its lines below"
        raise InvalidSetting(f"`{name}` in {where}", expected="tables", found=_kind(listed), hint=hint)
    for number, table in enumerate(listed, 1):
        at = f"{name}[{number}] in {where}"
        _refuse_unknown(at, table, known)
        yield at, table


def _key(at: str, table: Mapping[str, Any]) -> Entry:
    secret = table.get("sha256")
    if not isinstance(secret, str) or _HASH.fullmatch(secret) is None:
        # The value is not quoted: it might be the key itself, by mistake.
        hint = "the file never has the key itself; `lading access key new` prints this line"
        expected = "the SHA-256 of a key, 64 digits of hex in lower case"
        raise InvalidSetting(f"`sha256` of {at}", expected=expected, found=_kind(secret), hint=hint)
    return _entry(at, table, secret)


def _certificate(at: str, table: Mapping[str, Any]) -> Entry:
    subject = table.get("subject")
    if not isinstance(subject, str) or not subject:
        expected = 'a subject such as "CN=scorer,O=Example", or "URI:spiffe://…" or "DNS:…" for another name'
        raise InvalidSetting(f"`subject` of {at}", expected=expected, found=_kind(subject))
    return _entry(at, table, subject)


def _entry(at: str, table: Mapping[str, Any], secret: str) -> Entry:
    return Entry(
        name=check_caller_name(f"`name` of {at}", table.get("name")),
        secret=secret,
        grant=_grant(at, table),
        expires_at=_expiry(at, table.get("expires")),
        limits=_limits(at, table),
    )


def _grant(at: str, table: Mapping[str, Any]) -> Grant:
    roles = table.get("roles")
    if not isinstance(roles, list) or not roles or not all(isinstance(role, str) for role in roles):
        expected = "a list of " + ", ".join(f"`{role}`" for role in ROLES)
        raise InvalidSetting(f"`roles` of {at}", expected=expected, found=_kind(roles))
    for role in roles:
        if role not in ROLES:
            raise unknown_key(f"roles of {at.replace('`', '')}", role, tuple(ROLES))
    models = table.get("models", ["*"])
    if not isinstance(models, list) or not models:
        raise _wrong("models", at, "a list of names", models)
    return Grant(roles_of(tuple(roles)), check_models(f"`models` of {at}", models))


def _limits(at: str, table: Mapping[str, Any]) -> tuple[Limit, ...]:
    limits = []
    for name in ("rate", "quota"):
        text = table.get(name)
        if text is None:
            continue
        match = _RATE.fullmatch(text) if isinstance(text, str) else None
        if match is None or int(match[1]) == 0:
            raise _wrong(name, at, "requests by time, such as `50/s` or `100000/d`", text)
        count = float(match[1])
        # A rate lets a second's worth come at once, a quota all of it.
        burst = count if name == "quota" else max(1.0, count / _UNITS_S[match[2]])
        limits.append(Limit(count / _UNITS_S[match[2]], burst, f"{name} {text}"))
    return tuple(limits)


def _issuer(at: str, table: Mapping[str, Any], folder: Path | None) -> IssuerRules:
    issuer = table.get("issuer")
    if not isinstance(issuer, str) or not issuer:
        raise _wrong("issuer", at, "the address that tokens have as `iss`", issuer)
    algorithms = table.get("algorithms", ["RS256", "ES256"])
    if not isinstance(algorithms, list) or not algorithms:
        raise _wrong("algorithms", at, "a list", algorithms)
    for algorithm in algorithms:
        if algorithm not in ALGORITHMS:
            expected = "asymmetric ones of " + ", ".join(f"`{name}`" for name in ALGORITHMS)
            raise InvalidSetting(f"`algorithms` of {at}", expected=expected, found=f"`{algorithm}`")
    url, file = (_text(at, table, name, "") for name in ("jwks_url", "jwks_file"))
    if url and file:
        raise InvalidSetting(at, expected="one of `jwks_url` and `jwks_file`", found="both")
    if file and folder is not None:
        file = str(folder / file)
    skew = duration_s(_text(at, table, "clock_skew", "30s"), f"`clock_skew` of {at}")
    if skew > _MOST_SKEW_S:
        raise _wrong("clock_skew", at, f"at most {_MOST_SKEW_S:g} s", f"{skew:g} s")
    return IssuerRules(
        issuer=issuer,
        audiences=_audiences(at, table.get("audience")),
        algorithms=tuple(algorithms),
        clock_skew_s=skew,
        name_claim=_text(at, table, "name_claim", "sub"),
        grants=_claim_grants(at, table.get("grants")),
        jwks_url=url,
        jwks_file=file,
    )


def _audiences(at: str, value: Any) -> tuple[str, ...]:
    audiences = [value] if isinstance(value, str) else value
    if not isinstance(audiences, list) or not audiences or not all(isinstance(it, str) for it in audiences):
        # Without one, a token that was made for another service would be taken here.
        raise _wrong("audience", at, "what tokens for this server have as `aud`", value)
    return tuple(audiences)


def _claim_grants(at: str, value: Any) -> tuple[ClaimGrant, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(table, dict) for table in value):
        hint = 'write `[[issuers.grants]]` below it, with `claim = "groups"`, `value = "…"` and `roles`'
        raise InvalidSetting(f"`grants` of {at}", expected="tables", found=_kind(value), hint=hint)
    grants = []
    for number, table in enumerate(value, 1):
        inner = f"grants[{number}] of {at}"
        _refuse_unknown(inner, table, _ISSUER_GRANT)
        claim, wanted = (_text(inner, table, name, None) for name in ("claim", "value"))
        grants.append(
            ClaimGrant(claim=claim, value=wanted, grant=_grant(inner, table), limits=_limits(inner, table))
        )
    return tuple(grants)


def _expiry(at: str, value: Any) -> float:
    if value is None:
        return float("inf")
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()
    # A `datetime` is a `date` as well, and was taken above.
    if isinstance(value, date):  # It is good until that day ends.
        return datetime.combine(value, time.max, UTC).timestamp()
    raise _wrong("expires", at, "a date such as 2027-01-31, without quotes", value)


def _text(at: str, table: Mapping[str, Any], name: str, default: str | None) -> str:
    value = table.get(name, default)
    if not isinstance(value, str) or (default is None and not value):
        raise _wrong(name, at, "a text", value)
    return value


def _refuse_unknown(at: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise unknown_key(at.replace("`", ""), key, known)


def _refuse_twice(where: str, name: str, values: list[str]) -> None:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise InvalidSetting(where, expected=f"each `{name}` once", found=f"`{twice}` twice")


def _wrong(name: str, at: str, expected: str, value: Any) -> InvalidSetting:
    actual = f"`{value}`" if isinstance(value, str | int | float) else _kind(value)
    return InvalidSetting(f"`{name}` of {at}", expected=expected, found=actual)


def _kind(value: Any) -> str:
    return "none" if value is None else f"another value ({type(value).__name__})"
