"""Scans in a registry: the last one of each digest, whatever else is attached to it."""

from __future__ import annotations

import msgspec

from lading.trust.components import Subject
from lading.trust.feeds import Feeds
from lading.trust.records import LastScans, last_scan, last_scans, record_scan
from lading.trust.scan import SCAN_TYPE, scan
from support.feeds import NOW

ONE, TWO = (f"sha256:{number:064x}" for number in (1, 2))


def scan_of(name: str):
    return scan(Subject(kind="server", name=name), (), Feeds(), NOW)


def test_a_scan_takes_the_place_of_earlier_ones_of_its_digests_alone(registry):
    record_scan(registry.attachments, [ONE, TWO], scan_of("first"), actor="me")
    record_scan(registry.attachments, [ONE], scan_of("second"), actor="me")
    assert len(registry.attachments.of(ONE, "scan")) == 1
    scans = last_scans(registry.attachments, [ONE, TWO])
    assert {digest: each.subject.name for digest, each in scans.items()} == {ONE: "second", TWO: "first"}


def test_scans_of_other_programs_are_neither_read_nor_removed(registry):
    attachments = registry.attachments
    attachments.add(ONE, "scan", "{}", media_type="application/sarif+json", actor="me")
    attachments.add(ONE, "scan", "of a later version", media_type=SCAN_TYPE, actor="me")
    assert last_scan(attachments, ONE) is None
    assert last_scans(attachments, [ONE]) == {}
    record_scan(attachments, [ONE], scan_of("ours"), actor="me")
    assert {each.media_type for each in attachments.of(ONE)} == {"application/sarif+json", SCAN_TYPE}
    assert last_scan(attachments, ONE).subject.name == "ours"


def test_of_several_scans_the_one_that_was_made_last_counts(registry):
    later = msgspec.structs.replace(scan_of("later"), scanned_at="2026-12-02T00:00:00Z")
    for each in (later, scan_of("earlier")):
        body = msgspec.json.encode(each).decode()
        registry.attachments.add(ONE, "scan", body, media_type=SCAN_TYPE, actor="me")
    assert last_scan(registry.attachments, ONE) == later


def test_what_is_read_again_and_again_follows_what_is_recorded(registry):
    scans = LastScans(registry.attachments)
    assert scans.read([]) == scans.read([ONE]) == {}
    for name in ("first", "second"):
        record_scan(registry.attachments, [ONE], scan_of(name), actor="me")
        assert [each.subject.name for each in scans.read([ONE]).values()] == [name]
