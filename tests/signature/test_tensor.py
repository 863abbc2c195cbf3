"""Tensors, and how messages write values and names."""

from __future__ import annotations

import pytest

from lading.signature import Tensor, describe
from lading.signature.tensor import fits, is_unencodable, list_names, quoted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (10**400, "a number of 1329 bits"),
        ("x", "a string"),
        ([], "an empty list"),
        ([1], "a list"),
        ({}, "an object"),
        (b"", "a bytes"),
    ],
)
def test_a_value_is_described_in_the_words_of_json(value, text):
    assert describe(value) == text


@pytest.mark.parametrize(
    ("shape", "sizes", "expected"),
    [
        (("batch", 4), (3, 4), True),
        (("batch", 4), (0, 4), False),
        (("batch", 4), (3, 5), False),
        (("batch", 4), (4,), False),
        (("batch", "n"), (1, 0), True),
        ((), (), True),
    ],
)
def test_a_batch_without_rows_fits_no_shape(shape, sizes, expected):
    assert fits(shape, sizes) is expected


def test_a_tensor_is_written_with_its_dtype_and_shape():
    tensor = Tensor(name="X", dtype="float32", shape=("batch", 1))
    assert str(tensor) == "float32 [batch, 1]"
    assert tensor.batched
    assert tensor.scalar_rows
    assert not Tensor(name="X", dtype="float32", shape=(2,)).batched


def test_names_of_callers_are_written_short_and_printable():
    assert quoted("a" * 81) == f"`{'a' * 80}…`"
    assert quoted("\x1b[31m") == r"`\x1b[31m`"
    assert list_names([]) == "none"
    assert list_names(["a"] * 13).endswith("`a`, …")


def test_text_with_nul_or_half_a_surrogate_pair_is_unencodable():
    assert [is_unencodable(text) for text in ("a", "ü", "a\0", "\ud800")] == [False, False, True, True]
