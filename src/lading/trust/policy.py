"""``trust.toml``: whose statements count for which models, and what must be stated. Decides nothing.

[key.ci]
file = "keys/ci.pub"
roles = ["packer"]

[key.release]
file = "keys/release.pub"
roles = ["approver"]

[[model]]
names = ["fraud", "credit-*"]
roles = ["packer", "approver"]
allow = "none"
attested = ["evidence"]
max_age_days = 90
"""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from lading.errors import InvalidSetting, UsageError, mid_sentence
from lading.trust.keys import PublicKey, read_public_key
from lading.trust.roles import assignment
from lading.trust.statement import predicate_uri

Role = Literal["packer", "approver", "releaser"]
ROLES: tuple[Role, ...] = get_args(Role)

Allowed = Literal["none", "code", "pickle"]

_TABLES = ("key", "model")
_KEY_KEYS = ("file", "roles")
_MODEL_KEYS = ("names", "keys", "signers", "roles", "allow", "attested", "max_age_days")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class TrustedKey:
    """A public key by the name that the policy gives it, and the roles that its owner has."""

    name: str
    roles: tuple[Role, ...]
    public: PublicKey


@dataclass(frozen=True)
class Rule:
    """What models with one of these ``names``, patterns as a shell has them, must have.

    ``signers`` is how many different keys must have signed, of those in ``keys``. Each of the ``roles`` must
    be filled by another key. ``attested`` are types of predicates.
    """

    names: tuple[str, ...]
    keys: tuple[TrustedKey, ...]
    signers: int
    roles: tuple[Role, ...]
    allow: Allowed
    attested: tuple[str, ...]
    max_age_s: float | None


@dataclass(frozen=True)
class TrustPolicy:
    """One file: its keys, its rules in their order, and ``digest``, which also covers the keys."""

    keys: tuple[TrustedKey, ...]
    rules: tuple[Rule, ...]
    digest: str

    def rule_for(self, name: str) -> Rule | None:
        """Return the first rule that names a model, or None: without a rule nothing is let in."""
        for rule in self.rules:
            # Not `fnmatch.fnmatch`, which ignores case on some systems: a policy must mean one thing.
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in rule.names):
                return rule
        return None

    @classmethod
    def read(cls, path: Path | str) -> TrustPolicy:
        """Read a file and the keys that it names, relative to its folder.

        Raises `InvalidSetting` naming the file and what is wrong in it, and `KeyInvalid` for a key.
        """
        path = Path(path)
        where = f"`{path}`"
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            reason = f"{error.strerror or error}".lower()
            hint = "name the file of the trust policy, or leave it out for none"
            raise InvalidSetting(where, expected="a TOML file", found=reason, hint=hint) from None
        if len(data) > _MOST_BYTES:
            raise InvalidSetting(where, expected=f"at most {_MOST_BYTES:,} bytes", found="more")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise InvalidSetting(where, expected="TOML", found="bytes not in UTF-8") from None
        return cls.parse(text, path.parent, where)

    @classmethod
    def parse(cls, text: str, folder: Path, where: str = "`trust.toml`") -> TrustPolicy:
        """Read TOML text; the files of keys are looked for in `folder`. Raises as `read`."""
        try:
            tables = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            reason = mid_sentence(str(error).replace("'", "`"))
            raise InvalidSetting(where, expected="TOML", found=f"another form: {reason}") from None
        # A misspelled key would be a condition that nobody checks.
        _refuse_unknown(tables, _TABLES, where)
        keys = _keys(tables.get("key", {}), folder, where)
        models = tables.get("model", [])
        if not isinstance(models, list) or not models or not all(isinstance(each, dict) for each in models):
            hint = 'a rule is written `[[model]]`, with `names = ["fraud"]` below; `*` names every model'
            raise InvalidSetting(f"`model` in {where}", expected="rules", found="none", hint=hint)
        rules = tuple(
            _rule(table, keys, f"`model` {number} in {where}") for number, table in enumerate(models, 1)
        )
        # The text names files of keys: a key that is replaced under its name is another policy.
        content = "\n".join([text, *(key.public.pem for key in keys.values())])
        return cls(tuple(keys.values()), rules, f"sha256:{hashlib.sha256(content.encode()).hexdigest()}")


def _keys(tables: Any, folder: Path, where: str) -> dict[str, TrustedKey]:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        hint = 'a key is written `[key.ci]`, with `file = "ci.pub"` below'
        raise InvalidSetting(f"`key` in {where}", expected="tables", found="another value", hint=hint)
    keys: dict[str, TrustedKey] = {}
    for name, table in tables.items():
        key = _key(name, table, folder, f"key `{name}` in {where}")
        same = next((other for other in keys.values() if other.public.id == key.public.id), None)
        if same is not None:
            # Under two names, one person would be two.
            raise InvalidSetting(
                f"key `{name}` in {where}", expected="another key", found=f"that of `{same.name}` again"
            )
        keys[name] = key
    return keys


def _key(name: str, table: Mapping[str, Any], folder: Path, where: str) -> TrustedKey:
    _refuse_unknown(table, _KEY_KEYS, where)
    file = table.get("file")
    if not isinstance(file, str) or not file:
        raise InvalidSetting(where, expected="`file`, the path of a public key", found=_shown(file))
    if "\0" in file:
        raise InvalidSetting(f"`file` of {where}", expected="a path", found="a NUL character")
    roles = _words(table, "roles", where, choices=ROLES)
    return TrustedKey(name, roles, read_public_key(folder / Path(file).expanduser()))  # type: ignore[arg-type]


def _rule(table: Mapping[str, Any], keys: Mapping[str, TrustedKey], where: str) -> Rule:
    _refuse_unknown(table, _MODEL_KEYS, where)
    names = _words(table, "names", where)
    if not names:
        hint = 'as in `names = ["fraud", "credit-*"]`; `*` names every model'
        raise InvalidSetting(where, expected="`names`, which models it is about", found="none", hint=hint)
    named = _words(table, "keys", where, choices=tuple(keys)) if "keys" in table else tuple(keys)
    roles: tuple[Role, ...] = _words(table, "roles", where, choices=ROLES)  # type: ignore[assignment]
    # What is not stated is the strictest: a model that runs its own code needs a word for it.
    allow = table.get("allow", "none")
    if allow not in get_args(Allowed):
        expected = "`none`, `code` or `pickle`"
        raise InvalidSetting(f"`allow` of {where}", expected=expected, found=_shown(allow))
    rule = Rule(
        names=names,
        keys=tuple(keys[name] for name in named),
        signers=_signers(table, roles, where),
        roles=roles,
        allow=allow,
        attested=tuple(_predicate(word, where) for word in _words(table, "attested", where)),
        max_age_s=_age(table, where),
    )
    _check_possible(rule, where)
    return rule


def _signers(table: Mapping[str, Any], roles: Collection[Role], where: str) -> int:
    signers = table.get("signers", max(1, len(roles)))
    # In Python `True` is a whole number, and `signers = true` would ask for one key.
    if isinstance(signers, bool) or not isinstance(signers, int) or signers < 0:
        expected = "a whole number of keys, 0 for none"
        raise InvalidSetting(f"`signers` of {where}", expected=expected, found=_shown(signers))
    return signers


def _age(table: Mapping[str, Any], where: str) -> float | None:
    if "max_age_days" not in table:
        return None
    days = table["max_age_days"]
    # TOML has `inf` and `nan` as numbers; neither is an age.
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days < math.inf:
        expected = "a number of days above 0"
        raise InvalidSetting(f"`max_age_days` of {where}", expected=expected, found=_shown(days))
    return float(days) * 86_400


def _check_possible(rule: Rule, where: str) -> None:
    """Raise `InvalidSetting` for a rule that no bundle could ever meet."""
    if len(rule.keys) < rule.signers:
        actual = f"{len(rule.keys)} that count"
        hint = "each key counts once, and `signers = 0` asks for none"
        raise InvalidSetting(where, expected=f"{rule.signers} keys or more", found=actual, hint=hint)
    holders = {role: {key.name for key in rule.keys if role in key.roles} for role in rule.roles}
    if assignment(holders) is None:
        hint = "each role is filled by another key, as the rule of two people asks for"
        words = ", ".join(f"`{role}`" for role in rule.roles)
        actual = "; ".join(
            f"`{role}`: {', '.join(sorted(names)) or 'none'}" for role, names in holders.items()
        )
        raise InvalidSetting(where, expected=f"different keys for {words}", found=actual, hint=hint)
    if rule.attested and not rule.keys:
        raise InvalidSetting(where, expected="a key that may attest", found="none")


def _words(
    table: Mapping[str, Any], key: str, where: str, *, choices: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Return a list of different texts, each one of the `choices` if there are any."""
    words = table.get(key, [])
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise InvalidSetting(f"`{key}` of {where}", expected="a list of texts", found=_shown(words))
    if len(set(words)) != len(words):
        raise InvalidSetting(f"`{key}` of {where}", expected="each text once", found=_shown(words))
    for word in words:
        if choices is not None and word not in choices:
            known = ", ".join(f"`{choice}`" for choice in choices) or "a key, and the file has none"
            raise InvalidSetting(
                f"`{key}` of {where}", expected=known, found=f"`{word}`", hint=_near(word, choices)
            )
    return tuple(words)


def _predicate(word: str, where: str) -> str:
    try:
        return predicate_uri(word)
    except UsageError as error:
        raise InvalidSetting(
            f"`attested` of {where}", expected=error.expected, found=error.found, hint=error.hint
        ) from None


def _refuse_unknown(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            expected = ", ".join(f"`{name}`" for name in known)
            raise InvalidSetting(where, expected=expected, found=f"`{key}`", hint=_near(key, known))


def _near(word: str, known: Collection[str]) -> str | None:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean `{near[0]}`?" if near else None


def _shown(value: Any) -> str:
    return "none" if value is None else f"`{value}`"
