"""Token patterns: the classes that Python knows, written out for RE2."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lading.convert.token_patterns import PatternUnsupported, members, token_rule, word_run, written


@pytest.mark.slow
def test_a_class_has_the_characters_of_every_script():
    known = members(r"\w")
    assert all(known[ord(character)] for character in "a\u00e9\ud55c\u043f\u6771\u0663_")
    assert not any(known[ord(character)] for character in " -\u2026\U0001f600\u0301")


def test_a_class_is_written_as_ranges_that_python_reads_alike():
    ranges = re.sub(
        r"\\x\{(\w+)\}", lambda digits: f"\\U{int(digits[1], 16):08x}", written(members(r"[a-c\u00e9]"))
    )
    assert np.array_equal(members(ranges), members(r"[a-c\u00e9]"))


def test_upper_case_letters_are_found_where_texts_are_lower_cased():
    assert "\\x{41}-\\x{5A}" in token_rule("[a-z]+", lowercase=True).regex
    assert "\\x{41}" not in token_rule("[a-z]+", lowercase=False).regex


@pytest.mark.slow
def test_words_that_hold_another_character_are_no_tokens_between_boundaries():
    assert token_rule(r"(?u)\b\w\w+\b", lowercase=True).no_token is None
    assert token_rule(r"\b[a-z]+\b", lowercase=True).no_token is not None


def test_a_run_is_a_class_and_its_least_length():
    assert word_run(r"(?u)\b\w\w+\b")[1] == 2
    assert word_run(r"[a-z]{3,}")[1] == 3


@pytest.mark.parametrize(
    "pattern", [r"[a-z]+(?=\s)", r"(\w+)-", r"\w*", r"\w+\b!", r"\w+?", r"(?i)[a-z]+", r"\b[a-z-]+\b"]
)
def test_a_pattern_without_an_equal_is_not_translated(pattern):
    with pytest.raises(PatternUnsupported):
        token_rule(pattern, lowercase=True)
