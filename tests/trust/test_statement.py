"""Statements of in-toto: what they are about is one digest, and what they state of it is read whole."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from lading.errors import (
    AttestationInvalid,
    UsageError,
)
from lading.trust.statement import APPROVAL, predicate_uri, read_statement
from support.signing import payload


def test_the_subject_is_the_digest_over_the_files_as_model_signing_has_it(bundle):
    values = msgspec.json.decode(payload(bundle))
    root = hashlib.sha256()
    for resource in values["predicate"]["resources"]:
        root.update(bytes.fromhex(hashlib.sha256((bundle.path / resource["name"]).read_bytes()).hexdigest()))
    assert values["subject"] == [{"name": "iris", "digest": {"sha256": root.hexdigest()}}]
    assert values["predicate"]["lading"]["bundle"] == bundle.digest


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
def test_a_payload_that_is_no_statement_is_refused(bundle, change, words):
    values = msgspec.json.decode(payload(bundle))
    change(values)
    with pytest.raises(AttestationInvalid, match=words):
        read_statement(msgspec.json.encode(values), "it")


def test_a_file_that_is_named_twice_is_refused(bundle):
    values = msgspec.json.decode(payload(bundle))
    values["predicate"]["resources"] *= 2
    with pytest.raises(AttestationInvalid, match="expected each file once, found one name twice"):
        read_statement(msgspec.json.encode(values), "it")


def test_a_predicate_has_a_short_name_or_is_a_uri():
    assert predicate_uri("approval") == APPROVAL
    assert predicate_uri("https://example.com/bias/v1") == "https://example.com/bias/v1"
    with pytest.raises(UsageError) as caught:
        predicate_uri("aproval")
    assert caught.value.hint == "did you mean `approval`?"
    for text in ("", "a b:c", "x:" + "y" * 600, "a:\n"):
        with pytest.raises(UsageError):
            predicate_uri(text)
