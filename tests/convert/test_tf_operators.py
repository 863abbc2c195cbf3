"""Operations of TensorFlow as nodes of ONNX: what they answer, value by value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from lading.convert import graph
from lading.convert.tf_operators import WHOLE, replace_operators
from lading.errors import ConverterFailed

KINDS = {"f": TensorProto.FLOAT, "i": TensorProto.INT32}


def run(op, inputs, kind="f", constants=(), **attributes):
    """Run one operation as it is after the replacement."""
    names = [f"x{at}" for at in range(len(inputs))]
    values = [
        helper.make_tensor_value_info(name, KINDS[array.dtype.kind], array.shape)
        for name, array in zip(names, inputs, strict=True)
        if name not in constants
    ]
    fixed = [numpy_helper.from_array(inputs[names.index(name)], name) for name in constants]
    node = helper.make_node(op, names, ["y"], **attributes)
    output = helper.make_tensor_value_info("y", KINDS[kind], None)
    model = helper.make_model(
        helper.make_graph([node], "g", values, [output], fixed), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 8
    replace_operators(model)
    feed = {name: array for name, array in zip(names, inputs, strict=True) if name not in constants}
    return graph.evaluator("net", model.SerializeToString())(feed)["y"]


def test_erfc_is_one_minus_erf():
    x = np.linspace(-4, 4, 33, dtype=np.float32)
    assert np.allclose(run("Erfc", [x]), [math.erfc(value) for value in x], atol=1e-6)


def test_bucketize_counts_the_boundaries_that_are_not_above():
    x = np.array([[-1.0, 0.5], [0.49, np.nan]], dtype=np.float32)
    assert run("Bucketize", [x], "i", boundaries=[0.0, 0.5]).tolist() == [[0, 2], [1, 2]]


@pytest.mark.parametrize("divisor", [3, -3])
def test_whole_numbers_are_divided_as_in_python(divisor):
    x, y = np.arange(-9, 9, dtype=np.int32), np.int32([divisor] * 18)
    assert run(f"FloorDiv{WHOLE}", [x, y], "i").tolist() == (x // y).tolist()
    assert run(f"FloorMod{WHOLE}", [x, y], "i").tolist() == (x % y).tolist()


def test_the_rest_of_a_large_float_keeps_its_digits():
    x = np.array([-7.5, -1.0, 0.0, 6.0, 20_000_003.0], dtype=np.float32)
    for divisor in (3.0, -3.0):
        y = np.full(5, divisor, dtype=np.float32)
        assert run("FloorMod", [x, y]).tolist() == np.mod(x, y).tolist()


def test_negative_indices_are_not_counted_from_the_end():
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    assert run("Gather", [table, np.int32([4])]).tolist() == [[8.0, 9.0]]
    with pytest.raises(ConverterFailed, match="out of data bounds"):
        run("Gather", [table, np.int32([-1])])
    encoded = run("OneHot", [np.int32([-1, 2]), np.int32(3), np.float32([0, 1])], constants=("x1", "x2"))
    assert encoded.tolist() == [[0, 0, 0], [0, 0, 1]]


def test_a_constant_index_from_the_end_stays():
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    assert run("Gather", [table, np.int32([-1])], constants=("x1",)).tolist() == [[8.0, 9.0]]


def test_only_the_sign_of_a_cast_of_bits_is_replaced():
    def model(other):
        nodes = [
            helper.make_node("Bitcast", ["x"], ["bits"], type=TensorProto.INT32),
            helper.make_node("Less", ["bits", "limit"], ["y"]),
        ]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
        y = helper.make_tensor_value_info("y", TensorProto.BOOL, [4])
        limit = numpy_helper.from_array(np.int32(other), "limit")
        made = helper.make_model(
            helper.make_graph(nodes, "g", [x], [y], [limit]), opset_imports=[helper.make_opsetid("", 18)]
        )
        made.ir_version = 8
        replace_operators(made)
        return made

    x = np.array([-1.0, -0.0, 0.0, 2.0], dtype=np.float32)
    signs = graph.evaluator("net", model(0).SerializeToString())({"x": x})["y"]
    assert signs.tolist() == [True, True, False, False]
    assert [node.op_type for node in model(5).graph.node] == ["Bitcast", "Less"]
