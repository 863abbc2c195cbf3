"""Regular expressions in linear time: they match what Python's own do, and no text keeps them busy."""

from __future__ import annotations

import random
import re
import sys
import time

import pytest

from lading.errors import ExtraMissing, InvalidSetting
from lading.text_patterns import LONGEST_TEXT, Pattern

ATOMS = ("a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "1", r"\.", "[a-c1]", r"[\d_]", r"\D", r"[^\s]")
REPEATS = ("*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "{0,2}")


def drawn_pattern(rng: random.Random, depth: int = 0) -> str:
    kind = rng.random()
    if depth > 2 or kind < 0.35:
        return rng.choice(ATOMS)
    if kind < 0.6:
        return drawn_pattern(rng, depth + 1) + drawn_pattern(rng, depth + 1)
    if kind < 0.8:
        return f"({drawn_pattern(rng, depth + 1)}|{drawn_pattern(rng, depth + 1)})"
    return f"(?:{drawn_pattern(rng, depth + 2)}){rng.choice(REPEATS)}"


def test_texts_match_that_match_by_pythons_own_patterns():
    rng, matched = random.Random(1), 0
    for _ in range(300):
        text = drawn_pattern(rng)
        # RE2's classes are those of ASCII.
        pattern, own = Pattern(text), re.compile(text, re.ASCII)
        for _ in range(20):
            value = "".join(rng.choice("abc1._é") for _ in range(rng.randint(0, 6)))
            assert pattern.matches(value) == bool(own.fullmatch(value)), (text, value)
            matched += pattern.matches(value)
    assert matched > 300


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (r"[A-Z]{2}-\d{4,6}", "AB-12345", "AB-123"),
        (r"^\w+@\w+\.(com|org)$", "ann@example.org", "ann@example.net"),
        (r"[^\x00-\x1f]*", "Zoë 서울 😀", "a\nb"),
        ("[]a-]+", "]-a", "b"),
        (r"\$\^\(\\", "$^(\\", "$^("),
        (r"a\$", "a$", "a"),
        ("", "", "a"),
        ("été|가+", "가가", "나"),
        ("(?i)ab", "AB", "AC"),
        ("a$", "a", "a\n"),
        ("a", "a", "a\x00"),
    ],
)
def test_a_pattern_matches_the_whole_text(pattern, matching, other):
    assert Pattern(pattern).matches(matching)
    assert not Pattern(pattern).matches(other)
    assert bool(re.fullmatch(pattern, matching))
    assert not re.fullmatch(pattern, other)


@pytest.mark.parametrize(
    "pattern",
    ["(a", "a)", "a**", "a*+", r"(a)\1", "(?=a)", "(?<!a)b", "[a", "[z-a]", "(a{100}){100}", "*", "\\",
     "[a-\\d]", "a" * 2000, "\ud800"],
)  # fmt: skip
def test_what_is_no_pattern_or_needs_more_than_linear_time_is_refused(pattern, capfd):
    with pytest.raises(InvalidSetting, match="expected") as caught:
        Pattern(pattern)
    assert "RE2" in caught.value.hint
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * (LONGEST_TEXT - 1) + "b"),
        ("(a+)+b", "a" * LONGEST_TEXT),
        ("(a|a)*b", "a" * LONGEST_TEXT),
        ("(.*)*x", "y" * LONGEST_TEXT),
        ("(a?){50}a{50}", "a" * 50),
        (r"(\w+\s?)*!", "word " * 200),
        ("(?:a|b)*a(?:a|b){60}", "ab" * (LONGEST_TEXT // 2)),
    ],
)
def test_a_pattern_on_which_pythons_own_would_hang_answers(pattern, text):
    began = time.perf_counter()
    Pattern(pattern).matches(text)
    assert time.perf_counter() - began < 1


def test_a_text_beyond_the_longest_does_not_match():
    assert Pattern("a*").matches("a" * LONGEST_TEXT)
    assert not Pattern("a*").matches("a" * (LONGEST_TEXT + 1))


def test_a_text_with_half_of_a_surrogate_pair_does_not_match():
    assert not Pattern(".*").matches("\ud800")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ExtraMissing, match="the extra `serve`"):
        Pattern("a")
