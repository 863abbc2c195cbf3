"""What is attached to digests, in SQL: read in parts, and never without an end."""

from __future__ import annotations

from lading.registry.catalog import attachments as contract
from lading.registry.catalog.sql import attachments as rows

ONE = "sha256:" + "1" * 64


def test_a_list_of_many_digests_has_no_bodies(attachments, monkeypatch):
    monkeypatch.setattr(rows, "_DIGESTS_AT_ONCE", 2)
    digests = [f"sha256:{number:064x}" for number in range(5)]
    for digest in digests:
        attachments.add(digest, "attestation", digest, media_type="text/plain", actor="ann")
    listed = attachments.listed([*digests, ONE, f"sha256:{99:064x}"])
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
