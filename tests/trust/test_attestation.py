"""Attestations: what was signed is read back, by us and by DSSE's rules; everything else is refused."""

from __future__ import annotations

import base64
import hashlib

import msgspec
import pytest

from lading.errors import (
    SignatureInvalid,
    SignerUnknown,
    SubjectMismatch,
)
from lading.trust.attestation import attestation_id, peek, verify
from lading.trust.keys import KINDS
from lading.trust.statement import read_statement
from support.bundles import linear_bundle
from support.signing import changed, key_of, payload, plain_payload, sealed, signature, statement


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


def test_an_attestation_can_be_looked_at_by_those_without_a_key(bundle):
    envelope, stated = peek(signature(bundle))
    assert (envelope.hint, stated.title) == (key_of("ci").public.id, "signature")
    assert read_statement(plain_payload(bundle, "urn:x:y"), "it").title == "urn:x:y"
