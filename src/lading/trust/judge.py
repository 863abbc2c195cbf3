"""Whether a policy lets a bundle in, by what keys have stated about it. Pure: reads no file and no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lading.bundle.manifest import Manifest
from lading.errors import (
    AttestationExpired,
    AttestationInvalid,
    LadingError,
    PolicyNotMet,
    PredicateUnknown,
)
from lading.registry.gate import Place
from lading.trust.attestation import Attestation, name_of, verify
from lading.trust.policy import Role, Rule, TrustedKey, TrustPolicy
from lading.trust.roles import assignment
from lading.trust.signing import check_evidence
from lading.trust.statement import APPROVAL, EVIDENCE, RELEASE, SHORT_NAMES, SIGNATURE, Statement

STATEMENT_OF: dict[Role, str] = {"packer": SIGNATURE, "approver": APPROVAL, "releaser": RELEASE}
"""What the owner of a key states in each role."""

_VERBS = {"push": "pushed", "load": "loaded", "image": "put into an image", "release": "released"}
_ALLOWED: dict[str, tuple[object, ...]] = {
    "none": (False,),
    "code": (False, "code"),
    "pickle": (False, "code", "pickle"),
}
# Clocks of machines differ a little.
_AHEAD_S = 300.0


@dataclass(frozen=True)
class Admitted:
    """A bundle that was let in: the statements that count, each with the name of its key."""

    signers: tuple[tuple[str, Attestation], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the keys, sorted."""
        return tuple(sorted({name for name, _ in self.signers}))


@dataclass(frozen=True)
class _Needs:
    signers: int
    roles: tuple[Role, ...]
    attested: tuple[str, ...]


def judge(
    policy: TrustPolicy,
    place: Place,
    bundle: tuple[Manifest, str],
    texts: Iterable[str],
    *,
    now_s: float,
) -> Admitted:
    """Return who vouches for a bundle, its manifest and its digest, by the attestations in `texts`.

    Raises the `TrustError` that keeps it out: of the one statement that does not count if none does, else
    `PolicyNotMet` with what is missing.
    """
    manifest, digest = bundle
    verb = _VERBS.get(place, "scored with")
    where = f"`{manifest.name}` (`{digest[:19]}…`) is not {verb}"
    rule = policy.rule_for(manifest.name)
    if rule is None:
        hint = 'a rule with `names = ["*"]` at the end is for all others'
        raise PolicyNotMet(where, expected="a rule for this model in the policy", found="none", hint=hint)
    # Before any statement is read: no signature lets code in that the rule does not allow.
    _check_code(rule, manifest, where)
    needs = _needs_at(place, rule)
    # Nothing is asked for, so nothing is verified, and a broken statement keeps nobody out.
    if needs == _Needs(0, (), ()):
        return Admitted(())
    valid, refused = _verified(rule, bundle, texts, now_s)
    missing = _missing(needs, valid)
    if not missing:
        return Admitted(tuple(valid))
    raise _refusal(where, missing, valid, refused)


def _check_code(rule: Rule, manifest: Manifest, where: str) -> None:
    if manifest.executes in _ALLOWED[rule.allow]:
        return
    hint = f'`allow = "{manifest.executes}"` in its rule lets it run, if you trust who packs it'
    expected = "a bundle that runs nothing of its own" if rule.allow == "none" else "code, and no pickle"
    raise PolicyNotMet(where, expected=expected, found=f"{manifest.executes_text} in it", hint=hint)


def _needs_at(place: Place, rule: Rule) -> _Needs:
    """Return what must be stated by then: at a push, nobody but the packer can have seen the bundle."""
    if place != "push":
        return _Needs(rule.signers, rule.roles, rule.attested)
    if rule.roles:
        roles: tuple[Role, ...] = tuple(role for role in rule.roles if role == "packer")
        return _Needs(0, roles, ())
    return _Needs(min(1, rule.signers), (), ())


def _verified(
    rule: Rule, bundle: tuple[Manifest, str], texts: Iterable[str], now_s: float
) -> tuple[list[tuple[str, Attestation]], list[LadingError]]:
    """Return the statements that count, each with the name of its key, and why others do not."""
    manifest, digest = bundle
    # Only keys of this rule: that the policy trusts a key for another model says nothing here.
    keys = {key.public.id: key for key in rule.keys}
    publics = [key.public for key in rule.keys]
    valid: list[tuple[str, Attestation]] = []
    refused: list[LadingError] = []
    for text in texts:
        try:
            attestation = verify(text, publics, digest, manifest)
            where = name_of(text)
            _check_age(rule, attestation.statement, where, now_s)
            _check_predicate(rule, attestation.statement, digest, where)
        # One bad text must not keep out what others vouch for: anyone may attach texts to a digest.
        except LadingError as error:
            refused.append(error)
        else:
            valid.append((keys[attestation.key.id].name, attestation))
    return [(name, each) for name, each in valid if _may_state(rule, name, each.statement)], refused


def _may_state(rule: Rule, name: str, statement: Statement) -> bool:
    """Return whether a key counts for a statement: what a role states, only one with this role states."""
    key = next(key for key in rule.keys if key.name == name)
    role = next((role for role, uri in STATEMENT_OF.items() if uri == statement.predicate_type), None)
    # A policy that gives nobody a role asks for signatures alone.
    return role is None or not rule.roles or _has_role(key, role)


def _has_role(key: TrustedKey, role: Role) -> bool:
    return role in key.roles


def _check_age(rule: Rule, statement: Statement, where: str, now_s: float) -> None:
    # Without this check a statement dated far ahead would never be too old.
    if statement.signed_at is not None and statement.signed_at > now_s + _AHEAD_S:
        hint = "the clock of the machine that signed it, or of this one, is wrong"
        raise AttestationInvalid(where, expected="a time that has passed", found="one to come", hint=hint)
    if rule.max_age_s is None:
        return
    expected = f"one of the last {rule.max_age_s / 86_400:g} days"
    if statement.signed_at is None:
        raise AttestationExpired(where, expected=expected, found="one without a time")
    age_s = now_s - statement.signed_at
    if age_s > rule.max_age_s:
        actual = f"one of {age_s / 86_400:.1f} days ago"
        raise AttestationExpired(where, expected=expected, found=actual, hint="have it stated again")


def _check_predicate(rule: Rule, statement: Statement, digest: str, where: str) -> None:
    known = (*SHORT_NAMES.values(), *rule.attested)
    if statement.predicate_type not in known:
        expected = "a predicate of lading's, or one that the policy names as `attested`"
        raise PredicateUnknown(where, expected=expected, found=f"`{statement.predicate_type}`")
    if statement.predicate_type == EVIDENCE:
        check_evidence(statement.predicate, digest, where)


def _missing(needs: _Needs, valid: Sequence[tuple[str, Attestation]]) -> str:
    """Return in words what the policy asks for and nobody has stated; empty if nothing is missing."""
    holders = {
        role: {name for name, each in valid if each.statement.predicate_type == STATEMENT_OF[role]}
        for role in needs.roles
    }
    if assignment(holders) is None:
        # Where every role has somebody, one person has two of them: then all are named.
        lacking = [role for role in needs.roles if not holders[role]] or list(needs.roles)
        words = " and ".join(_by_role(role) for role in lacking)
        return f"{words}, from different keys" if len(lacking) > 1 else words
    signers = {name for name, each in valid if each.statement.predicate_type in STATEMENT_OF.values()}
    if len(signers) < needs.signers:
        return "a signature" if needs.signers == 1 else f"signatures by {needs.signers} different keys"
    # Who has attested is no matter here: any key that counts for the model may have measured it.
    stated = {each.statement.predicate_type for _, each in valid}
    return " and ".join(f"`{_title(uri)}` attested" for uri in needs.attested if uri not in stated)


def _by_role(role: Role) -> str:
    title = _title(STATEMENT_OF[role])
    article = "an" if title[0] in "aeiou" else "a"
    return f"{article} {title} by a key that is `{role}`"


def _title(uri: str) -> str:
    return next((name for name, known in SHORT_NAMES.items() if known == uri), uri)


def _refusal(
    where: str,
    missing: str,
    valid: Sequence[tuple[str, Attestation]],
    refused: Sequence[LadingError],
) -> LadingError:
    if not valid and refused:
        # There is one thing wrong, and its sentence says more than that something is missing.
        first = refused[0]
        return type(first)(
            f"{where}, {first.where}",
            expected=first.expected,
            found=first.found,
            hint=first.hint or f"the policy asks for {missing}",
        )
    stated = "; ".join(f"{each.statement.title} by `{name}`" for name, each in valid)
    hint = "`lading sign` and `lading attest` state it"
    if refused:
        hint = f"{len(refused)} more do not count, the first: {refused[0].message}"
    return PolicyNotMet(where, expected=missing, found=stated or "none", hint=hint)
