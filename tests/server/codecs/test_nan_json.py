"""JSON with NaN and infinities as bare words."""

from __future__ import annotations

import math

import pytest

from lading.server.codecs.nan_json import loads, may_have_nan


def test_bare_words_are_numbers():
    nan, high, low, text = loads(b'[NaN, Infinity, -Infinity, "NaN"]')
    assert math.isnan(nan)
    assert (high, low, text) == (math.inf, -math.inf, "NaN")


@pytest.mark.parametrize("text", [b"NaN", b"[1, -Infinity]", b'"NaN"'])
def test_text_with_such_a_word_may_be_worth_a_second_parse(text):
    assert may_have_nan(text)


def test_other_text_is_not_worth_one():
    assert not may_have_nan(b'{"data": [1, nan]}')


@pytest.mark.parametrize("text", [b"[1e400]", rb'["\ud800"]', rb'["\UD800"]', b"[nan]", b"\xff", b"["])
def test_an_overflow_half_a_surrogate_pair_and_broken_json_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        loads(text)


def test_a_whole_surrogate_pair_is_text():
    assert loads(rb'["\ud83d\ude00"]') == ["😀"]
