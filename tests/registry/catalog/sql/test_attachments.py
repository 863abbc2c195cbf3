"""What is attached to digests, in SQL: read in parts, and never without an end."""

from __future__ import annotations

from lading.registry.catalog import attachments as contract
from lading.registry.catalog.sql import attachments as rows

ONE = "sha256:" + "1" * 64


def test_a_list_of_many_digests_has_no_bodies(attachments):
    digests = [f"sha256:{number:064x}" for number in (0, 1, 2, 9_000, 9_001)]
    for digest in digests:
        attachments.add(digest, "attestation", digest, media_type="text/plain", actor="ann")
    # More digests than one statement has variables, with those that have something at both ends.
    unknown = [f"sha256:{number:064x}" for number in range(10, 1500)]
    listed = attachments.listed([*digests[:3], *unknown, *digests[3:], ONE])
    assert sorted(row.digest for row in listed) == digests
    assert {row.body for row in listed} == {""}


def test_many_attachments_cannot_crowd_out_the_first(attachments, monkeypatch):
    monkeypatch.setattr(rows, "MOST_READ", 3)
    assert contract.MOST_READ == 1000
    for number in range(5):
        attachments.add(ONE, "attestation", str(number), media_type="text/plain", actor="ann")
    read = [row.body for row in attachments.of(ONE)]
    assert len(read) == 3
    assert "0" in read
