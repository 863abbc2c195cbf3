"""Each rule of FORMAT.md names an error that exists and a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

from lading import errors

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "FORMAT.md").read_text()
RULES = re.findall(r"^\| (\d\.\d+) \| (.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)


def test_every_rule_names_errors_and_tests_that_exist():
    tests = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    for number, _, kinds, names in RULES:
        if kinds != "as there":
            assert all(hasattr(errors, kind) for kind in re.findall(r"`(\w+)`", kinds)), number
        for name in re.findall(r"`(?:\w+\.py::)?(test_\w+)`", names):
            assert f"def {name}(" in tests, (number, name)
        assert "test" in names, number


def test_every_error_of_a_bundle_has_its_rule():
    named = set(re.findall(r"`([A-Z]\w+)`", " ".join(kinds for _, _, kinds, _ in RULES)))
    assert {kind.__name__ for kind in errors.leaves(errors.BundleError)} <= named


def test_rules_are_numbered_without_a_gap():
    by_section: dict[str, list[int]] = {}
    for number, *_ in RULES:
        section, _, rule = number.partition(".")
        by_section.setdefault(section, []).append(int(rule))
    assert sorted(by_section) == ["1", "2", "3", "4", "5", "6"]
    assert all(rules == list(range(1, len(rules) + 1)) for rules in by_section.values())
