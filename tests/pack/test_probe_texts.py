"""Texts on which a model with a tokenizer is tried."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest

from lading.errors import SamplesRefused
from lading.pack.probe_texts import PROBES, long_text, probe_rows, read_texts, with_probes


@pytest.mark.parametrize(
    ("what", "holds"),
    [
        ("accents", lambda text: "é" in text),
        ("accents by themselves", lambda text: unicodedata.normalize("NFC", text) != text),
        ("Hangul", lambda text: any("가" <= char <= "힣" for char in text)),
        ("Chinese", lambda text: any("一" <= char <= "鿿" for char in text)),
        ("Japanese", lambda text: any("ぁ" <= char <= "ヿ" for char in text)),
        ("emoji", lambda text: any(ord(char) > 0x1F300 for char in text)),
        ("emoji of several", lambda text: "\u200d" in text),
        ("nothing", lambda text: not text),
    ],
)
def test_probes_hold_what_tokenizers_differ_in(what, holds):
    assert any(map(holds, PROBES))


@pytest.mark.parametrize(
    "samples",
    [
        ["a", "é"],
        ("a", "é"),
        np.array(["a", "é"]),
        pd.Series(["a", "é"]),
        {"text": ["a", "é"]},
        pd.DataFrame({"review": ["a", "é"]}),
        pd.DataFrame({"text": ["a", "é"]}),
    ],
    ids=["list", "tuple", "array", "series", "mapping", "column", "frame"],
)
def test_texts_are_read_from_whatever_holds_them(samples):
    table = read_texts(samples, "m")
    assert {name: array.tolist() for name, array in table.arrays.items()} == {"text": ["a", "é"]}


@pytest.mark.parametrize(
    "samples",
    [
        [("a", "b"), ("c", "d")],
        [["a", "b"], ["c", "d"]],
        np.array([["a", "b"], ["c", "d"]]),
        {"text": ["a", "c"], "text_pair": ["b", "d"]},
        pd.DataFrame({"text": ["a", "c"], "text_pair": ["b", "d"]}),
    ],
    ids=["tuples", "lists", "array", "mapping", "frame"],
)
def test_pairs_of_texts_are_read_from_whatever_holds_them(samples):
    table = read_texts(samples, "m")
    assert table.arrays["text"].tolist() == ["a", "c"]
    assert table.arrays["text_pair"].tolist() == ["b", "d"]


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        (None, "none"),
        ([], "lengths [0]"),
        ([1.0, 2.0], "`float` in row 0"),
        (["a", None], "a missing value in row 1"),
        ([("a", "b", "c")], "3 values"),
        ({"texts": ["a"]}, "`texts`"),
        ({"text": ["a"], "more": ["b"]}, "`text`, `more`"),
        ({"text": ["a"], "text_pair": ["b", "c"]}, "lengths [1, 2]"),
    ],
    ids=["none", "empty", "numbers", "missing", "three", "name", "more", "lengths"],
)
def test_what_is_no_text_is_refused(samples, found):
    with pytest.raises(SamplesRefused) as refused:
        read_texts(samples, "m")
    assert refused.value.found == found


def test_probes_are_added_under_samples_and_as_pairs_of_each_other():
    table = with_probes(read_texts([("a", "b")], "m"), "long")
    assert table.arrays["text"].tolist() == ["a", *PROBES, "long"]
    assert table.arrays["text_pair"].tolist() == ["b", "long", *PROBES]
    assert table.take(probe_rows(table)).arrays["text"].tolist() == [*PROBES]


def test_a_long_text_has_more_tokens_than_a_model_takes():
    text = long_text(lambda text: len(text.split()), 512)
    assert 512 < len(text.split()) < 2048
