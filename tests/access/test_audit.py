"""Audit events: lines of JSON, of which a flood writes few."""

from __future__ import annotations

from lading.access.audit import Audit
from support.access_files import Clock


def test_an_audit_event_is_a_line_of_json_without_a_credential(caplog):
    with caplog.at_level("INFO", logger="lading.audit"):
        Audit(Clock()).refused("CallerUnknown", "", "10.0.0.1", ("POST", "/predict"))
    line = (
        '{"time": "2027-01-15T08:00:00.000Z", "event": "refused", "error": "CallerUnknown", '
        '"address": "10.0.0.1", "method": "POST", "path": "/predict"}'
    )
    assert caplog.messages == [line]


def test_a_flood_of_refusals_is_ten_lines_a_second_and_a_count(caplog):
    clock = Clock()
    audit = Audit(clock)
    with caplog.at_level("INFO", logger="lading.audit"):
        for number in range(1001):
            clock.now += number // 1000  # The last comes in the next second.
            if audit.may_write():
                audit.refused("CallerUnknown", "", "10.0.0.1", ("POST", "/predict"))
    assert len(caplog.messages) == 12
    assert '"event": "refused and not listed", "count": 990' in caplog.messages[10]
