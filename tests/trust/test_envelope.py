"""Envelopes: read as DSSE and sigstore write them, and refused in one sentence in every other form."""

from __future__ import annotations

import msgspec
import pytest

from lading.errors import (
    AttachmentTooLarge,
    AttestationInvalid,
)
from lading.registry.attachments import dsse_envelope
from lading.trust.envelope import MAX_BYTES, read_envelope, signed_message
from support.signing import changed, signature


def test_what_is_signed_is_the_encoding_of_dsse():
    # https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md
    assert signed_message(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"


def test_a_bare_envelope_is_read_as_well(bundle):
    text = signature(bundle)
    bare = dsse_envelope(text).decode()
    assert set(msgspec.json.decode(bare)) == {"payload", "payloadType", "signatures"}
    assert read_envelope(bare, "it").payload == read_envelope(text, "it").payload


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
        read_envelope(changed(signature(bundle), **change), "it")


def test_a_sigstore_bundle_of_another_version_or_by_a_certificate_is_refused(bundle):
    values = msgspec.json.decode(signature(bundle))
    older = {**values, "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1"}
    with pytest.raises(AttestationInvalid, match="expected mediaType"):
        read_envelope(msgspec.json.encode(older).decode(), "it")
    keyless = {**values, "verificationMaterial": {"certificate": {"rawBytes": "QUJD"}}}
    with pytest.raises(AttestationInvalid, match="expected a signature by a key, found one by a certificate"):
        read_envelope(msgspec.json.encode(keyless).decode(), "it")


def test_a_truncated_attestation_is_refused_wherever_it_ends(bundle):
    text = signature(bundle)
    for length in range(0, len(text), 97):
        with pytest.raises(AttestationInvalid, match="found another form"):
            read_envelope(text[:length], "it")


@pytest.mark.parametrize("text", ["null", "[]", "5", '"x"', "{}", "[" * 100_000, "\ud800", "\0"])
def test_what_is_no_attestation_is_refused_in_a_sentence(text):
    with pytest.raises(AttestationInvalid, match="expected a sigstore bundle with a DSSE envelope"):
        read_envelope(text, "it")


def test_an_attestation_of_more_than_sixteen_megabytes_is_not_even_parsed():
    with pytest.raises(AttachmentTooLarge, match="at most 16,777,216 bytes, found 104,857,600 bytes"):
        read_envelope("x" * (100 * 2**20), "it")
    # Characters of three bytes each.
    with pytest.raises(AttachmentTooLarge, match="found 18,000,000 bytes"):
        read_envelope("가" * 6_000_000, "it")
    assert MAX_BYTES == 16 * 2**20
