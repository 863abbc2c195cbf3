"""Sizes that stay open: those of which the framework takes others, alone or together."""

from __future__ import annotations

import numpy as np
import pytest

from lading.convert import open_sizes
from lading.errors import ConverterFailed
from lading.signature import Tensor

LEFT = Tensor(name="left", dtype="float32", shape=("batch", "left_1"))
RIGHT = Tensor(name="right", dtype="float32", shape=("batch", "right_1"))
ARRAYS = {"left": np.ones((3, 4), np.float32), "right": np.ones((3, 4), np.float32)}


def shapes(settled):
    return [tensor.shape for tensor in settled]


def test_sizes_that_the_framework_takes_alone_keep_their_names():
    settled, notes = open_sizes.settle((LEFT, RIGHT), ARRAYS, dict)
    assert (shapes(settled), notes) == ([("batch", "left_1"), ("batch", "right_1")], ())


def test_sizes_that_must_agree_have_one_name():
    def answers(arrays):
        return {} if arrays["left"].shape == arrays["right"].shape else None

    assert shapes(open_sizes.settle((LEFT, RIGHT), ARRAYS, answers)[0]) == [("batch", "left_1")] * 2


def test_a_size_of_which_the_framework_takes_no_other_is_fixed_and_noted():
    def answers(arrays):
        return {} if arrays["left"].shape[1] == 4 else None

    settled, notes = open_sizes.settle((LEFT, RIGHT), ARRAYS, answers)
    assert shapes(settled) == [("batch", 4), ("batch", "right_1")]
    assert notes == ("axis 1 of `left` is fixed at 4 as in the samples: other sizes are not proved",)


@pytest.mark.parametrize(
    ("run", "found"),
    [
        (lambda arrays: {"value": arrays["left"].sum(axis=1) / 4}, "differs by up to"),
        (lambda arrays: {"value": arrays["left"]}, "differs by up to inf"),
    ],
)
def test_a_graph_that_answers_other_sizes_otherwise_does_not_prove_them(run, found):
    def answers(arrays):
        return {"value": arrays["left"].mean(axis=1)}

    with pytest.raises(ConverterFailed, match=found) as caught:
        open_sizes.prove((LEFT,), {"left": ARRAYS["left"]}, answers, run, "net")
    assert caught.value.where == "`net` with 5 instead of 4 for `left_1`"
