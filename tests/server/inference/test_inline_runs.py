"""Which runs may stay in the thread of their caller: what is measured, learned and doubted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lading.server.inference.inline_runs import InlineRuns
from lading.signature import Signature, Tensor
from support.onnx_graphs import tensor


def runs_of(*inputs: Tensor, **options: Any) -> InlineRuns:
    return InlineRuns(Signature(inputs, (tensor("Y"),)), **options)


def rows_of(rows: int, width: int = 4) -> dict[str, Any]:
    return {"X": np.ones((rows, width), np.float32)}


def texts(*values: str) -> dict[str, Any]:
    return {"X": np.array(values, object)}


@pytest.fixture
def fixed() -> InlineRuns:
    """Rows that all have one size, of which 8 were measured."""
    runs = runs_of(tensor("X", "float32", "batch", 4))
    runs.measured(rows_of(1), 8)
    return runs


@pytest.fixture
def varying() -> InlineRuns:
    """Rows of an open width, of which one of width 4 was measured."""
    runs = runs_of(tensor("X", "float32", "batch", "width"))
    runs.measured(rows_of(1), 1)
    return runs


def test_nothing_is_short_until_it_was_measured():
    runs = runs_of(tensor("X", "float32", "batch", 4))
    assert (runs.varies, runs.rows, runs.short_rows) == (False, 0, {})


def test_three_short_runs_in_a_queue_show_that_as_many_rows_are_short(fixed):
    for _ in range(2):
        fixed.ran([rows_of(100)], 100)
        assert fixed.rows == 8
    fixed.ran([rows_of(60), rows_of(40)], 100)
    assert fixed.rows == 127  # as many as have the same bits


def test_rows_that_are_known_to_be_short_show_nothing_more(fixed):
    for _ in range(3):
        fixed.ran([rows_of(8)], 8)
    assert fixed.rows == 8


def test_sizes_are_learned_one_by_one(varying):
    assert varying.varies
    assert varying.short_rows == {3: 1}  # A width of 4 to 7 has 3 bits.
    for _ in range(3):
        varying.ran([rows_of(1, 500)], 1)
    assert varying.short_rows == {3: 1, 9: 1}


def test_requests_of_different_sizes_that_ran_as_one_show_nothing(varying):
    for _ in range(3):
        varying.ran([rows_of(1, 4), rows_of(1, 500)], 2)
    assert varying.short_rows == {3: 1}


def test_texts_differ_in_size_by_their_longest_from_64_characters_on():
    runs = runs_of(tensor("X", "string"))
    sizes = [runs.size_of(texts(*each), len(each)) for each in (["a"], ["a" * 63], ["a", "b" * 63], [""])]
    assert set(sizes) == {()}
    longer = [runs.size_of(texts(*each), len(each)) for each in (["a" * 64], ["a", "b" * 250_000])]
    assert longer == [(1,), (12,)]


def test_one_short_column_of_texts_is_not_mistaken_for_another():
    runs = runs_of(tensor("A", "string"), tensor("B", "string", "batch", 1))
    long, short = np.array(["a" * 100], object), np.array([["b"]], object)
    assert runs.size_of({"A": long, "B": short}, 1) == (1, 0)
    assert runs.size_of({"A": short[0], "B": long[None]}, 1) == (0, 1)


def test_sizes_of_one_name_count_once_and_unnamed_ones_each():
    named = runs_of(tensor("A", "int64", "batch", "length"), tensor("B", "int64", "batch", "length"))
    unnamed = runs_of(tensor("A", "int64", "batch", "?"), tensor("B", "int64", "batch", "?"))
    inputs = {"A": np.ones((1, 4)), "B": np.ones((1, 9))}
    assert named.size_of(inputs, 1) == 3
    assert unnamed.size_of(inputs, 1) == (3, 4)


def test_a_first_size_that_is_not_the_batch_is_a_size_like_others():
    assert runs_of(tensor("X", "float32", "steps", 4)).size_of(rows_of(40), 1) == 6


def test_what_is_in_doubt_is_queued_until_the_doubt_is_settled(fixed):
    assert fixed.doubt(()) == 8
    assert fixed.doubt(()) is None
    for _ in range(3):
        fixed.ran([rows_of(4)], 4)
    assert fixed.rows == 0
    fixed.settle((), 8)
    assert fixed.rows == 8
    assert fixed.doubt(()) == 8


def test_rows_that_were_long_are_never_learned_to_be_short(fixed):
    fixed.doubt(())
    fixed.settle((), 4, 4)
    for rows in (8, 8, 8):
        fixed.ran([rows_of(rows)], rows)
    assert fixed.rows == 4
    fixed.settle((), 0)
    for _ in range(3):
        fixed.ran([rows_of(3)], 3)
    assert fixed.rows == 3


def test_a_model_that_is_not_to_learn_never_has_a_short_run():
    for kind in (
        tensor("X", "float32", "batch", 4),
        tensor("X", "string"),
        tensor("X", "float32", "batch", "n"),
    ):
        runs = runs_of(kind, learns=False)
        for _ in range(5):
            runs.ran([rows_of(1)], 1)
        assert (runs.varies, runs.rows, runs.short_rows) == (False, 0, {})


def test_sizes_that_clients_make_up_are_forgotten():
    runs = runs_of(*(tensor(name, "float32", "batch", "?", "?", "?") for name in ("A", "B")))
    for number in range(2_000):
        shape = (1, *(2 ** (number >> place & 3) for place in (0, 2, 4)))
        other = (1, *(2 ** (number >> place & 3) for place in (6, 8, 10)))
        runs.ran([{"A": np.empty(shape), "B": np.empty(other)}], 1)
    assert len(runs._known) <= 1024
    assert len(runs.short_rows) <= 1024
