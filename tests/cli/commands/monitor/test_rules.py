"""`lading monitor rules`: what Prometheus is given to read."""

from __future__ import annotations

from lading.monitor.shipped import RULES, shipped


def test_the_rules_are_printed_as_they_are_shipped_and_nothing_else(lading):
    assert lading("monitor", "rules") == (0, shipped(RULES), "")
    assert "severity: page" in shipped(RULES)
