"""Outputs that are sequences, rewritten to tensors."""

from __future__ import annotations

import pytest
from onnx import helper

from lading.errors import ConverterFailed
from support.packed_graphs import FLOAT, node, pack_graph, tensors, value


def test_a_sequence_of_tensors_becomes_one_tensor(tmp_path):
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    bundle = pack_graph(
        tmp_path,
        [node("Neg", ["a"], ["b"]), node("SequenceConstruct", ["a", "b"], ["s"])],
        [value("a", FLOAT, ["n", 3])],
        [sequence],
    )
    assert tensors(bundle) == {"s": "float32 [batch, 2, 3]"}


def test_a_sequence_of_unknown_length_is_refused(tmp_path):
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    with pytest.raises(
        ConverterFailed, match="expected a tensor, found a sequence of float32 made by `SplitToSequence`"
    ):
        pack_graph(
            tmp_path,
            [node("SplitToSequence", ["a"], ["s"], axis=1)],
            [value("a", FLOAT, ["n", 2])],
            [sequence],
        )
