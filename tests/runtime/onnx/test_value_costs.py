"""Which graphs do more for some values of a request than for others of the same size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lading.errors import ModelInvalid
from lading.runtime.onnx.value_costs import first_by_values
from lading.runtime.open import operator_by_values
from support.bundles import linear_bundle
from support.crashing_models import long_on_large_values
from support.onnx_graphs import graph, node, tensor

X, Y = tensor("X", "int64", "batch", 2), tensor("Y", "int64", "batch", "?")
CONSTANTS = {"two": np.array([2, 2]), "zero": np.array(0), "one": np.array(1)}

BY_VALUES = {
    "Tile": [node("ReduceMax", "X", "most", axes=[0], keepdims=0), node("Tile", "X most", "Y")],
    "Range": [node("ReduceMax", "X", "end", keepdims=0), node("Range", "zero end one", "Y")],
    "NonZero": [node("NonZero", "X", "Y")],
    "Slice": [node("ReduceMax", "X", "end", axes=[0], keepdims=0), node("Slice", "two zero end", "Y")],
    "ConstantOfShape": [
        node("ReduceMax", "X", "most", axes=[0], keepdims=0),
        node("Mul", "most two", "more"),
        node("ConstantOfShape", "more", "Y"),
    ],
}
BY_SIZES = {
    "of the input": [node("Shape", "X", "s"), node("Mul", "s two", "more"), node("Expand", "X more", "Y")],
    "of what was computed": [node("Neg", "X", "n"), node("Shape", "n", "s"), node("Reshape", "X s", "Y")],
    "in the file": [node("Tile", "X two", "Y")],
    "of a node": [node("Constant", "", "twice", value_ints=[2, 2]), node("Tile", "X twice", "Y")],
}


def written(folder: Path, model: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model)
    return path


def operator_of(folder: Path, nodes: list[Any], constants: Any = None) -> str:
    return first_by_values(written(folder, graph(nodes, [X], [Y], constants=constants or CONSTANTS)), ["X"])


@pytest.mark.parametrize("operator", BY_VALUES)
def test_an_operator_that_takes_a_size_from_a_value_is_named(tmp_path, operator):
    assert operator_of(tmp_path, BY_VALUES[operator]) == operator


@pytest.mark.parametrize("where", BY_SIZES)
def test_sizes_that_follow_from_constants_and_sizes_are_no_values(tmp_path, where):
    assert operator_of(tmp_path, BY_SIZES[where]) == ""


def test_a_loop_always_follows_from_values(tmp_path):
    assert first_by_values(written(tmp_path, long_on_large_values()), ["X"]) == "Loop"


def test_a_condition_by_value_is_named_and_one_by_size_is_not_but_its_branches_are_searched(tmp_path):
    def branch(inner: Any) -> Any:
        from onnx import TensorProto, helper

        return helper.make_graph(
            [inner], "b", [], [helper.make_tensor_value_info("B", TensorProto.INT64, None)]
        )

    def model(condition: list[Any], inner: Any) -> list[Any]:
        from onnx import helper

        chosen = helper.make_node(
            "If", ["c"], ["Y"], then_branch=branch(node("Neg", "X", "B")), else_branch=branch(inner)
        )
        return [*condition, chosen]

    by_value = [node("ReduceMax", "X", "most", keepdims=0), node("Greater", "most one", "c")]
    by_size = [node("Size", "X", "n"), node("Greater", "n one", "c")]
    assert operator_of(tmp_path, model(by_value, node("Abs", "X", "B"))) == "If"
    assert operator_of(tmp_path, model(by_size, node("Abs", "X", "B"))) == ""
    assert operator_of(tmp_path, model(by_size, node("Compress", "X X", "B"))) == "Compress"
    assert operator_of(tmp_path, model(by_size, node("Tile", "X two", "B"))) == ""


def test_functions_of_the_file_are_searched(tmp_path):
    from onnx import helper, load_model_from_string

    model = load_model_from_string(graph([node("Neg", "X", "Y")], [X], [Y]))
    opsets = [helper.make_opsetid("", 17)]
    inside = helper.make_function("own", "Spread", ["a"], ["b"], [node("NonZero", "a", "b")], opsets)
    model.functions.append(inside)
    assert first_by_values(written(tmp_path, model.SerializeToString()), ["X"]) == "NonZero"


def test_an_input_with_a_default_passes_for_a_value_if_callers_send_it(tmp_path):
    model = graph([node("Tile", "X two", "Y")], [X], [Y], constants=CONSTANTS)
    assert first_by_values(written(tmp_path, model), ["X"]) == ""
    assert first_by_values(written(tmp_path, model), ["X", "two"]) == "Tile"


def test_a_linear_model_is_the_same_for_all_values(tmp_path):
    assert operator_by_values(linear_bundle(tmp_path / "b")) == ""


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelInvalid):
        first_by_values(written(tmp_path, b""), [])
