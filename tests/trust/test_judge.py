"""Whether a policy lets a bundle in: by keys, roles, ages, predicates and what the bundle runs of its own."""

from __future__ import annotations

import time

import msgspec
import pytest

from lading.errors import (
    AttestationExpired,
    AttestationInvalid,
    PolicyNotMet,
    PredicateUnknown,
    SignerUnknown,
)
from lading.evidence import Check, Evidence
from lading.trust.judge import judge
from lading.trust.policy import TrustPolicy
from lading.trust.statement import APPROVAL, EVIDENCE, RELEASE
from support.recorded_evidence import ELSEWHERE
from support.signing import (
    author,
    payload,
    plain_payload,
    policy_file,
    sealed,
    signature,
    statement,
)

TWO = '[[model]]\nnames = ["*"]\nroles = ["packer", "approver"]\n'


@pytest.fixture
def judged(tmp_path, bundle):
    def judged(rules: str, *texts: str, place: str = "load", executes: object = False, **options):
        policy = TrustPolicy.read(policy_file(tmp_path, rules, **options))
        manifest = msgspec.structs.replace(bundle.manifest, executes=executes)
        return judge(policy, place, (manifest, bundle.digest), texts, now_s=time.time()).names

    return judged


def evidence(bundle, **changes) -> dict:
    checks = changes.pop("checks", (Check("golden", "passed"),))
    made = Evidence(
        bundle=changes.pop("digest", bundle.digest),
        name="iris",
        fingerprint=ELSEWHERE,
        checks=checks,
        numbers={},
        measured_at="2026-11-20T08:00:00+00:00",
    )
    return msgspec.to_builtins(made)


def test_one_signature_is_enough_where_nothing_else_is_asked_for(judged, bundle):
    assert judged('[[model]]\nnames = ["*"]', signature(bundle)) == ("ci",)


def test_without_a_signature_nothing_is_let_in(judged):
    with pytest.raises(PolicyNotMet, match=r"`iris` .* is not loaded: expected a signature, found none"):
        judged('[[model]]\nnames = ["*"]')


def test_a_model_without_a_rule_is_not_let_in(judged, bundle):
    with pytest.raises(PolicyNotMet, match="expected a rule for this model in the policy, found none"):
        judged('[[model]]\nnames = ["fraud"]', signature(bundle))


def test_a_key_that_does_not_count_for_a_model_is_as_good_as_none(judged, bundle):
    with pytest.raises(SignerUnknown, match="expected a signature by one key that counts here"):
        judged('[[model]]\nnames = ["*"]\nkeys = ["ann"]', signature(bundle))


def test_nothing_need_be_signed_where_none_is_asked_for(judged):
    assert judged('[[model]]\nnames = ["*"]\nsigners = 0') == ()


def test_two_people_are_two_keys_each_in_its_role(judged, bundle):
    packed, approved = signature(bundle), statement(bundle)
    assert judged(TWO, packed, approved) == ("ann", "ci")
    with pytest.raises(PolicyNotMet, match="expected an approval by a key that is `approver`, found"):
        judged(TWO, packed)
    with pytest.raises(PolicyNotMet, match=r"expected a signature by a key that is `packer`, found approval"):
        judged(TWO, approved)
    # One who has both roles is still one person.
    both = {"keys": "ci:packer,approver ann:approver"}
    with pytest.raises(PolicyNotMet, match="from different keys, found signature by `ci`; approval by `ci`"):
        judged(TWO, packed, statement(bundle, name="ci"), **both)
    assert judged(TWO, packed, statement(bundle, name="ci"), approved, **both) == ("ann", "ci")


def test_what_somebody_states_without_the_role_for_it_does_not_count(judged, bundle):
    with pytest.raises(PolicyNotMet, match="expected an approval"):
        judged(TWO, signature(bundle), statement(bundle, name="ci"))


def test_a_number_of_signers_is_one_of_different_keys(judged, bundle):
    rules = '[[model]]\nnames = ["*"]\nsigners = 2'
    with pytest.raises(PolicyNotMet, match="expected signatures by 2 different keys, found signature"):
        judged(rules, signature(bundle), signature(bundle, days_ago=1))
    assert judged(rules, signature(bundle), signature(bundle, "ann")) == ("ann", "ci")


def test_a_push_asks_for_the_packer_alone(judged, bundle):
    assert judged(TWO, signature(bundle), place="push") == ("ci",)
    with pytest.raises(PolicyNotMet, match=r"is not pushed: expected a signature by a key that is `packer`"):
        judged(TWO, statement(bundle), place="push")
    with pytest.raises(PolicyNotMet, match="is not pushed: expected a signature"):
        judged('[[model]]\nnames = ["*"]\nsigners = 2', place="push")
    assert judged('[[model]]\nnames = ["*"]\nsigners = 2', signature(bundle), place="push") == ("ci",)
    assert judged('[[model]]\nnames = ["*"]\nroles = ["approver"]', place="push") == ()


@pytest.mark.parametrize(
    ("place", "verb"),
    [
        ("load", "loaded"),
        ("release", "released"),
        ("image", "put into an image"),
        ("batch", "scored with"),
        ("push", "pushed"),
    ],
)
def test_the_sentence_says_what_is_not_done(judged, place, verb):
    with pytest.raises(PolicyNotMet, match=f"is not {verb}"):
        judged('[[model]]\nnames = ["*"]', place=place)


def test_a_releaser_states_that_it_may_go_live(judged, bundle):
    rules = '[[model]]\nnames = ["*"]\nroles = ["packer", "releaser"]'
    keys = {"keys": "ci:packer rita:releaser"}
    with pytest.raises(PolicyNotMet, match="expected a release by a key that is `releaser`"):
        judged(rules, signature(bundle), statement(bundle, name="rita"), **keys)
    assert judged(rules, signature(bundle), statement(bundle, RELEASE, "rita"), **keys) == ("ci", "rita")


@pytest.mark.parametrize(
    ("allow", "executes", "words"),
    [
        ("none", "code", "expected a bundle that runs nothing of its own, found code in it"),
        ("none", "pickle", "expected a bundle that runs nothing of its own, found pickle in it"),
        ("code", "pickle", "expected code, and no pickle, found pickle in it"),
    ],
)
def test_what_a_bundle_runs_of_its_own_must_be_allowed_however_well_it_is_signed(
    judged, bundle, allow, executes, words
):
    rules = f'[[model]]\nnames = ["*"]\nallow = "{allow}"'
    for place in ("push", "load"):
        with pytest.raises(PolicyNotMet, match=words):
            judged(rules, signature(bundle), place=place, executes=executes)


def test_a_statement_that_is_too_old_does_not_count(judged, bundle):
    rules = '[[model]]\nnames = ["*"]\nmax_age_days = 30'
    assert judged(rules, signature(bundle, days_ago=29)) == ("ci",)
    with pytest.raises(AttestationExpired, match=r"one of the last 30 days, found one of 31\.0 days ago"):
        judged(rules, signature(bundle, days_ago=31))
    values = msgspec.json.decode(payload(bundle))
    del values["predicate"]["lading"]
    with pytest.raises(AttestationExpired, match="found one without a time"):
        judged(rules, sealed(msgspec.json.encode(values)))
    assert judged('[[model]]\nnames = ["*"]', sealed(msgspec.json.encode(values))) == ("ci",)


def test_a_statement_from_the_future_does_not_count(judged, bundle):
    with pytest.raises(AttestationInvalid, match="expected a time that has passed, found one to come"):
        judged('[[model]]\nnames = ["*"]', signature(bundle, days_ago=-1))
    # Clocks of two machines are never the same.
    assert judged('[[model]]\nnames = ["*"]', signature(bundle, days_ago=-0.001)) == ("ci",)


def test_a_predicate_that_nobody_has_named_does_not_count(judged, bundle):
    own = sealed(plain_payload(bundle, "https://example.com/bias/v1"))
    with pytest.raises(PredicateUnknown, match=r"found `https://example.com/bias/v1`"):
        judged('[[model]]\nnames = ["*"]', own)
    rules = '[[model]]\nnames = ["*"]\nattested = ["https://example.com/bias/v1"]'
    assert judged(rules, own, signature(bundle)) == ("ci",)
    with pytest.raises(PolicyNotMet, match=r"expected `https://example\.com/bias/v1` attested"):
        judged(rules, signature(bundle))
    with pytest.raises(PolicyNotMet, match="expected a signature"):
        judged(rules, own)


def test_evidence_must_hold_for_this_very_bundle(judged, bundle):
    rules = '[[model]]\nnames = ["*"]\nattested = ["evidence"]'
    signed = signature(bundle)
    with pytest.raises(PolicyNotMet, match="expected `evidence` attested, found signature by `ci`"):
        judged(rules, signed)
    assert judged(rules, signed, statement(bundle, EVIDENCE, evidence=evidence(bundle))) == ("ann", "ci")
    failed = {"evidence": evidence(bundle, checks=(Check("golden", "failed"),))}
    about_another = {"evidence": evidence(bundle, digest="sha256:" + "0" * 64)}
    for content, words in (
        (failed, "expected evidence that this bundle holds, found evidence that it does not"),
        (about_another, "found that of another bundle"),
        ({}, "expected evidence, found another form"),
    ):
        values = msgspec.json.decode(plain_payload(bundle, EVIDENCE))
        values["predicate"] |= content
        forged = sealed(msgspec.json.encode(values), "ann")
        with pytest.raises(PolicyNotMet) as caught:
            judged(rules, signed, forged)
        assert words in caught.value.hint


def test_what_does_not_count_keeps_nothing_out_where_enough_does(judged, bundle):
    junk = ["{}", "x" * 1000, signature(bundle, "mallory"), signature(bundle)[:500]]
    assert judged('[[model]]\nnames = ["*"]', *junk, signature(bundle)) == ("ci",)


def test_a_refusal_says_how_many_do_not_count_and_why_the_first_does_not(judged, bundle):
    with pytest.raises(PolicyNotMet) as caught:
        judged(TWO, signature(bundle), signature(bundle, "mallory"), "{}")
    assert caught.value.hint.startswith("2 more do not count, the first: attestation `")
    assert author().actor == "ci"
    assert APPROVAL.startswith("urn:lading:")
