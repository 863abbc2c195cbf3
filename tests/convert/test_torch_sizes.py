"""The open sizes of PyTorch's inputs, without PyTorch: rows, sizes that go together, and other calls."""

from __future__ import annotations

import numpy as np
import pytest

from lading.convert.open import open_model
from lading.convert.torch_sizes import Sizes, observed_shapes, parse_open_axes
from lading.errors import ExtraMissing, InvalidSetting, SamplesRefused
from lading.signature import BATCH


def call(rows, length):
    return {"tokens": np.arange(rows * length).reshape(rows, length), "mask": np.ones((rows, length))}


def test_sizes_that_differ_between_samples_are_open_and_those_that_agree_are_one():
    sizes = Sizes.of([call(4, 6), call(3, 9)], {}, {}, "m")
    assert sizes.names == {
        ("tokens", 0): BATCH,
        ("mask", 0): BATCH,
        ("tokens", 1): "tokens_1",
        ("mask", 1): "tokens_1",
    }


def test_an_axis_that_is_named_is_open():
    sizes = Sizes.of([call(4, 6)], {}, {"tokens": {1: "length"}}, "m")
    assert sizes.names == {("tokens", 0): BATCH, ("mask", 0): BATCH, ("tokens", 1): "length"}


def test_inputs_without_rows_in_common_need_several_calls():
    first = {"words": np.arange(9), "offsets": np.array([0, 4])}
    with pytest.raises(SamplesRefused, match="several calls"):
        Sizes.of([first], {}, {}, "m")
    second = {"words": np.arange(5), "offsets": np.array([0, 1, 3])}
    sizes = Sizes.of([first, second], {}, {}, "m")
    assert sizes.names == {("words", 0): "words_0", ("offsets", 0): "offsets_0"}
    # The offsets of a call mean its words: no others are made of them.
    assert [title for title, _ in sizes.calls([first, second])] == ["samples of `words_0` 5, `offsets_0` 3"]


def test_an_example_has_no_size_of_1_and_none_twice():
    example = Sizes.of([call(1, 3)], {}, {"tokens": {1: "n"}, "mask": {1: "n"}}, "m").example(call(1, 3))
    rows, length = example["tokens"].shape
    assert min(rows, length) > 1
    assert rows != length


def test_calls_have_other_rows_and_shorter_and_longer_lengths():
    sizes = Sizes.of([call(4, 6)], {}, {"tokens": {1: "n"}, "mask": {1: "n"}}, "m")
    shapes = {arrays["tokens"].shape for _, arrays in sizes.calls([call(4, 6)])}
    assert {(1, 6), (2, 6), (7, 6), (4, 1), (4, 5), (4, 7), (4, 12)} <= shapes


def test_rows_drawn_beside_an_infinity_are_no_nan():
    batch = {"mask": np.where(np.arange(12).reshape(6, 2) % 3, 0.0, -np.inf)}
    *_, (title, drawn) = Sizes.of([batch], {}, {}, "m").calls([batch])
    assert title == "rows drawn between the samples"
    assert not np.isnan(drawn["mask"]).any()


def test_outputs_have_the_sizes_that_change_with_those_of_inputs():
    calls = [
        ({BATCH: rows, "n": length}, {"y": np.zeros((rows, length, 3)), "z": np.zeros((rows, length // 2))})
        for rows, length in ((4, 6), (2, 6), (4, 8))
    ]
    assert observed_shapes(calls) == {"y": (BATCH, "n", 3), "z": (BATCH, None)}


def test_open_axes_are_read_from_texts():
    assert parse_open_axes(["a=1", "a=2:width", "b=1:n"]) == {"a": {1: "", 2: "width"}, "b": {1: "n"}}
    with pytest.raises(InvalidSetting, match="found `a`"):
        parse_open_axes(["a"])


def test_open_axes_are_for_pytorch_alone(tmp_path):
    with pytest.raises(InvalidSetting, match="expected a model of PyTorch"):
        open_model(tmp_path / "model.onnx", {}, {"x": {1: "n"}})


def test_a_program_needs_the_extra_of_pytorch(tmp_path):
    try:
        import torch  # noqa: F401
    except ImportError:
        with pytest.raises(ExtraMissing, match="the extra `torch`"):
            open_model(tmp_path / "model.pt2")
