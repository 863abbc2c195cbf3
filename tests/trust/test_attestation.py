"""Attestations: what was signed is read back, by us and by DSSE's rules; everything else is refused."""

from __future__ import annotations

import base64
import hashlib

import msgspec
import pytest

from lading.errors import (
    AttachmentTooLarge,
    AttestationInvalid,
    SignatureInvalid,
    SignerUnknown,
    SubjectMismatch,
    UsageError,
)
from lading.registry.attachments import dsse_envelope
from lading.trust.attestation import attestation_id, peek, verify
from lading.trust.envelope import MAX_BYTES, signed_message
from lading.trust.keys import KINDS
from lading.trust.statement import APPROVAL, EVIDENCE, SIGNATURE, predicate_uri, read_statement
from support.bundles import linear_bundle
from support.signing import changed, key_of, payload, plain_payload, sealed, signature, statement


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("signed") / "iris.bundle")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("other") / "iris.bundle", seed=1)


def checked(text, bundle, *names: str):
    return verify(text, [key_of(name).public for name in names or ("ci",)], bundle.digest, bundle.manifest)


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_names_every_file_the_digest_and_its_author(bundle, kind):
    text = signature(bundle, kind=kind)
    attestation = verify(text, [key_of("ci", kind).public], bundle.digest, bundle.manifest)
    files = {"bundle.json": bundle.digest.removeprefix("sha256:")}
    files |= {name: entry.sha256 for name, entry in bundle.manifest.files.items()}
    assert attestation.statement.files == files
    assert attestation.statement.digests == (bundle.digest,)
    assert (attestation.statement.actor, attestation.statement.name) == ("ci", "iris")
    assert attestation.id == attestation_id(text) == hashlib.sha256(text.encode()).hexdigest()
    assert "\n" not in text


def test_the_subject_is_the_digest_over_the_files_as_model_signing_has_it(bundle):
    values = msgspec.json.decode(payload(bundle))
    root = hashlib.sha256()
    for resource in values["predicate"]["resources"]:
        root.update(bytes.fromhex(hashlib.sha256((bundle.path / resource["name"]).read_bytes()).hexdigest()))
    assert values["subject"] == [{"name": "iris", "digest": {"sha256": root.hexdigest()}}]
    assert values["predicate"]["lading"]["bundle"] == bundle.digest


def test_what_is_signed_is_the_encoding_of_dsse(bundle):
    # https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md
    assert signed_message(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"


def test_a_bare_envelope_is_read_as_well(bundle):
    bare = dsse_envelope(signature(bundle)).decode()
    assert set(msgspec.json.decode(bare)) == {"payload", "payloadType", "signatures"}
    assert checked(bare, bundle).statement.predicate_type == SIGNATURE


def test_every_changed_byte_of_the_payload_or_the_signature_is_refused(bundle):
    text = signature(bundle)
    values = msgspec.json.decode(text)["dsseEnvelope"]
    for field in ("payload", "sig"):
        encoded = values["payload"] if field == "payload" else values["signatures"][0]["sig"]
        data = bytearray(base64.b64decode(encoded))
        for place in range(0, len(data), max(1, len(data) // 40)):
            data[place] ^= 1
            forged = base64.b64encode(data).decode()
            change = {"payload": forged} if field == "payload" else {"signatures": [{"sig": forged}]}
            with pytest.raises(SignatureInvalid, match="this key did not make over these bytes"):
                checked(changed(text, **change), bundle)
            data[place] ^= 1


def test_another_key_is_named_by_the_hint_that_it_left(bundle):
    with pytest.raises(SignerUnknown, match=f"the key with the hint {key_of('ci').public.id[:16]}"):
        checked(signature(bundle), bundle, "ann", "bob")
    values = msgspec.json.decode(signature(bundle))
    values["verificationMaterial"] = {"publicKey": {}}
    unnamed = msgspec.json.encode(values).decode()
    with pytest.raises(SignerUnknown, match="a key that it does not name"):
        checked(unnamed, bundle, "ann")
    # A hint is no proof, and none is needed.
    assert checked(unnamed, bundle).key.id == key_of("ci").public.id


def test_a_statement_about_other_bytes_is_refused(bundle, other):
    with pytest.raises(SubjectMismatch, match=f"expected a statement about `{other.digest}`"):
        checked(signature(bundle), other)
    with pytest.raises(SubjectMismatch, match="found one about `iris`"):
        checked(statement(bundle, name="ci"), other)


def test_a_signature_of_other_files_is_refused_by_the_name_of_the_file(bundle):
    values = msgspec.json.decode(payload(bundle))
    resources = values["predicate"]["resources"]
    for change, words in (
        (resources[:-1], f"the bundle's file `{resources[-1]['name']}`, found that it was not signed"),
        ([*resources, {"name": "z", "algorithm": "sha256", "digest": "0" * 64}], "the bundle does not have"),
        ([*resources[:-1], {**resources[-1], "digest": "0" * 64}], "found another digest of it"),
    ):
        root = hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in change)).hexdigest()
        signed = {
            **values,
            "subject": [{"name": "iris", "digest": {"sha256": root}}],
            "predicate": {**values["predicate"], "resources": change},
        }
        with pytest.raises(SubjectMismatch, match=words):
            checked(sealed(msgspec.json.encode(signed)), bundle)


def replaced(key: str, value: object):
    def change(values: dict) -> None:
        *path, last = key.split(".")
        place = values
        for part in path:
            place = place[part]
        place[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced("_type", "https://in-toto.io/Statement/v0.1"), "expected a statement of type"),
        (replaced("subject", []), "expected 1 to 1000 subjects, found 0"),
        (
            replaced("subject", [{"digest": {"sha256": "0" * 64}}]),
            "a subject that is the digest of its files",
        ),
        (replaced("predicate.serialization", {"method": "shards"}), "expected the sha256 of whole files"),
        (replaced("predicate.resources", []), "a subject that is the digest of its files"),
        (replaced("predicate.lading.bundle", "sha256:" + "0" * 64), "to name what the statement is about"),
        (replaced("predicate.lading.signed_at", "yesterday"), "expected an ISO 8601 time as `signed_at`"),
        (replaced("predicate.lading", 5), "expected a statement of in-toto, found another form"),
        (replaced("predicateType", 5), "expected a statement of in-toto, found another form"),
    ],
)
def test_a_payload_that_is_no_statement_is_refused_although_it_is_signed(bundle, change, words):
    values = msgspec.json.decode(payload(bundle))
    change(values)
    with pytest.raises(AttestationInvalid, match=words):
        checked(sealed(msgspec.json.encode(values)), bundle)


def test_a_file_that_is_named_twice_is_refused(bundle):
    values = msgspec.json.decode(payload(bundle))
    values["predicate"]["resources"] *= 2
    with pytest.raises(AttestationInvalid, match="expected each file once, found one name twice"):
        checked(sealed(msgspec.json.encode(values)), bundle)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"payloadType": "text/plain"}, "expected payloadType `application/vnd.in-toto"),
        ({"signatures": []}, "expected one signature in each envelope, found 0"),
        ({"signatures": [{"sig": "QUJD"}] * 2}, "expected one signature in each envelope, found 2"),
        ({"payload": "not base64!"}, "expected base64"),
        ({"signatures": [{"sig": "QUJ"}]}, "expected base64"),
        ({"payload": 7}, "expected a sigstore bundle with a DSSE envelope, found another form"),
    ],
)
def test_an_envelope_of_another_form_is_refused(bundle, change, words):
    with pytest.raises(AttestationInvalid, match=words):
        checked(changed(signature(bundle), **change), bundle)


def test_a_sigstore_bundle_of_another_version_or_by_a_certificate_is_refused(bundle):
    values = msgspec.json.decode(signature(bundle))
    older = {**values, "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1"}
    with pytest.raises(AttestationInvalid, match="expected mediaType"):
        checked(msgspec.json.encode(older).decode(), bundle)
    keyless = {**values, "verificationMaterial": {"certificate": {"rawBytes": "QUJD"}}}
    with pytest.raises(AttestationInvalid, match="expected a signature by a key, found one by a certificate"):
        checked(msgspec.json.encode(keyless).decode(), bundle)


def test_a_truncated_attestation_is_refused_wherever_it_ends(bundle):
    text = signature(bundle)
    for length in range(0, len(text), 97):
        with pytest.raises(AttestationInvalid, match="found another form"):
            checked(text[:length], bundle)


@pytest.mark.parametrize("text", ["null", "[]", "5", '"x"', "{}", "[" * 100_000, "\ud800", "\0"])
def test_what_is_no_attestation_is_refused_in_a_sentence(bundle, text):
    with pytest.raises(AttestationInvalid, match="expected a sigstore bundle with a DSSE envelope"):
        checked(text, bundle)


def test_an_attestation_of_more_than_sixteen_megabytes_is_not_even_parsed(bundle):
    with pytest.raises(AttachmentTooLarge, match="at most 16,777,216 bytes, found 104,857,600 bytes"):
        checked("x" * (100 * 2**20), bundle)
    # Characters of three bytes each.
    with pytest.raises(AttachmentTooLarge, match="found 18,000,000 bytes"):
        checked("가" * 6_000_000, bundle)
    assert MAX_BYTES == 16 * 2**20


def test_a_predicate_has_a_short_name_or_is_a_uri():
    assert predicate_uri("approval") == APPROVAL
    assert predicate_uri("https://example.com/bias/v1") == "https://example.com/bias/v1"
    with pytest.raises(UsageError) as caught:
        predicate_uri("aproval")
    assert caught.value.hint == "did you mean `approval`?"
    for text in ("", "a b:c", "x:" + "y" * 600, "a:\n"):
        with pytest.raises(UsageError):
            predicate_uri(text)


def test_evidence_that_is_attested_must_hold_for_this_very_bundle(bundle):
    with pytest.raises(AttestationInvalid, match="expected evidence, found another form"):
        statement(bundle, EVIDENCE, x=1)
    with pytest.raises(UsageError, match="`lading sign` makes it"):
        statement(bundle, SIGNATURE)
    with pytest.raises(UsageError, match="expected no key `lading`"):
        statement(bundle, lading={})


def test_an_attestation_can_be_looked_at_by_those_without_a_key(bundle):
    envelope, stated = peek(signature(bundle))
    assert (envelope.hint, stated.title) == (key_of("ci").public.id, "signature")
    assert read_statement(plain_payload(bundle, "urn:x:y"), "it").title == "urn:x:y"
