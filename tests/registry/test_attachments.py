"""What is attached to digests, in both catalogs: added once, listed without bodies, never too long."""

from __future__ import annotations

import hashlib

import pytest

from lading.errors import AttachmentTooLarge, InvalidReference
from lading.registry.attachments import MAX_BODY_BYTES

ONE, TWO = (f"sha256:{number:064x}" for number in (1, 2))


def test_an_attachment_is_kept_once_with_its_date_and_the_sha256_of_its_text(attachments):
    for actor in ("ann", "bob"):
        added = attachments.add(ONE, "sbom", '{"é": 1}', media_type="application/json", actor=actor)
    (kept,) = attachments.of(ONE)
    assert kept.id == added.id == hashlib.sha256('{"é": 1}'.encode()).hexdigest()
    assert (kept.digest, kept.kind, kept.body) == (ONE, "sbom", '{"é": 1}')
    assert (kept.media_type, kept.actor) == ("application/json", "ann")
    assert kept.added_at > 1.7e9
    assert attachments.of(TWO) == []


def test_the_same_text_may_be_of_two_kinds_and_about_two_digests(attachments):
    for digest in (ONE, TWO):
        for kind in ("attestation", "scan"):
            attachments.add(digest, kind, "text", media_type="text/plain", actor="ann")
    assert [row.kind for row in attachments.of(ONE)] == ["attestation", "scan"]
    assert [row.digest for row in attachments.of(TWO, "scan")] == [TWO]
    assert attachments.remove(attachments.of(TWO, "scan")[0])
    assert not attachments.remove(attachments.of(ONE, "scan")[0].__class__(**removed(TWO)))
    assert [row.kind for row in attachments.of(TWO)] == ["attestation"]


def removed(digest: str) -> dict[str, str]:
    identity = hashlib.sha256(b"text").hexdigest()
    return {"digest": digest, "kind": "scan", "id": identity, "media_type": "text/plain", "actor": "ann"}


def test_more_than_sixteen_megabytes_are_refused_and_just_as_much_is_kept(attachments):
    with pytest.raises(AttachmentTooLarge, match=r"at most 16,777,216 bytes, found 16,777,217 bytes"):
        attachments.add(ONE, "sbom", "x" * (MAX_BODY_BYTES + 1), media_type="text/plain", actor="ann")
    attachments.add(ONE, "sbom", "x" * MAX_BODY_BYTES, media_type="text/plain", actor="ann")
    assert [len(row.body) for row in attachments.of(ONE)] == [MAX_BODY_BYTES]


def test_what_is_no_digest_has_no_attachments(attachments):
    with pytest.raises(InvalidReference, match=r"digest `iris:1`"):
        attachments.add("iris:1", "sbom", "x", media_type="text/plain", actor="ann")
