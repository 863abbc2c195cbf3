"""A rule as people read it: in a table of the rules in force, and in the sentence of a refusal."""

from __future__ import annotations

import pytest

from lading.input_checks import Rule

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("kind", "limits", "expected"),
    [
        ("range", {"low": 0.0, "high": 9.75}, "0 to 9.75"),
        ("range", {"low": 0.0}, "at least 0"),
        ("range", {"high": 1e9}, "at most 1e+09"),
        ("length", {"low": 4.0, "high": 80.0}, "a text of 4 to 80 characters"),
        ("integer", {}, "a whole number"),
        ("missing", {}, "a value"),
        ("set", {"allowed": ("a", "b\n")}, "one of `a`, `b\\n`"),
        ("set", {"allowed": tuple(map(float, range(20)))}, "one of 0, 1, 2, 3, 4, 5, 6, 7, …"),
        ("pattern", {"pattern": "a+"}, "text that matches `a+`"),
        ("at_most", {"at_most": ("x", "total", 3)}, "at most the value of `total`"),
        ("time", {"low": 0.0, "ahead_s": DAY_S}, "a time 1970-01-01 to now"),
        ("time", {"low": 0.0, "ahead_s": 30 * DAY_S}, "a time 1970-01-01 to 30 days from now"),
        ("time", {"low": -1e12, "high": DAY_S}, "a time -1e+12 s to 1970-01-02"),
    ],
)
def test_what_a_rule_expects_is_part_of_a_sentence(kind, limits, expected):
    rule = Rule(tensor="x", column="c", kind=kind, **limits)
    assert rule.expected == expected
    assert str(rule) == f"c {kind}: {expected} (profile)"
