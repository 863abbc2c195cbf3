"""ONNX graphs: canonical bytes, free names, runs in chunks, shapes inferred from two runs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lading.convert import graph
from lading.errors import ConverterFailed
from support.packed_graphs import FLOAT, INT64, node, value


def model_of(nodes, weights=(), **fields):
    made = helper.make_graph(
        nodes, "g", [value("a", FLOAT, ["n", 2])], [value("c", FLOAT, ["n", 2])], list(weights)
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, **fields)


def test_the_same_graph_has_the_same_bytes_whatever_the_order_of_its_parts():
    nodes = [
        node("Relu", ["a"], ["r"]),
        node("Neg", ["a"], ["m"]),
        node("Add", ["r", "m"], ["s"]),
        node("Mul", ["s", "w"], ["c"]),
        node("Exp", ["a"], ["unused"]),
    ]
    weights = [numpy_helper.from_array(np.ones(2, np.float32), name) for name in ("w", "unused_w")]
    first = graph.write(model_of(nodes, weights, producer_name="one"))
    second = graph.write(model_of([nodes[4], nodes[1], nodes[0], *nodes[2:4]], weights[::-1]))
    assert first == second
    written = onnx.load_from_string(first)
    assert [step.op_type for step in written.graph.node] == ["Relu", "Neg", "Add", "Mul"]
    assert [tensor.name for tensor in written.graph.initializer] == ["w"]
    onnx.checker.check_model(written)


def test_values_that_only_a_subgraph_reads_are_kept():
    branch = helper.make_graph([node("Mul", ["a", "w"], ["y"])], "b", [], [value("y", FLOAT, None)])
    condition = numpy_helper.from_array(np.array(True), "yes")
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    nodes = [node("If", ["yes"], ["c"], then_branch=branch, else_branch=branch)]
    written = onnx.load_from_string(graph.write(model_of(nodes, [condition, weight])))
    assert {tensor.name for tensor in written.graph.initializer} == {"w", "yes"}


def test_a_free_name_is_used_nowhere_in_the_graph():
    model = model_of([node("Relu", ["a"], ["relu_0"]), node("Relu", ["relu_0"], ["c"])])
    assert graph.free_name(model, "relu") == "relu_1"


@pytest.mark.parametrize(("row_shape", "most"), [((3,), graph.TABLE_ROWS), ((2, 3), graph.LARGE_ROWS)])
def test_rows_are_run_in_chunks_of_one_size_and_joined(row_shape, most):
    sizes = []

    def double(inputs):
        sizes.append(len(inputs["a"]))
        return {"c": 2 * inputs["a"]}

    rows = np.random.default_rng(0).normal(size=(2 * most + 1, *row_shape))
    np.testing.assert_array_equal(graph.evaluate_rows(double, {"a": rows})["c"], 2 * rows)
    assert sizes == [most, most, 1]


def test_an_output_without_the_batch_is_computed_in_one_run():
    def total(inputs):
        return {"c": inputs["a"].sum()}

    assert graph.evaluate_rows(total, {"a": np.arange(10.0)})["c"] == 45


def test_a_model_that_does_not_load_or_run_is_named_in_the_error():
    with pytest.raises(ConverterFailed, match="`SVC`: expected a model that ONNX Runtime"):
        graph.evaluator("SVC", b"not a model")
    run = graph.evaluator("SVC", model_of([node("Relu", ["a"], ["c"])]).SerializeToString())
    with pytest.raises(ConverterFailed, match="expected a converted model that runs on the samples"):
        run({"a": np.ones((2, 3), np.float32)})


@pytest.mark.parametrize(
    ("declared", "shape"),
    [
        (("batch", 3), ("batch", 3)),
        ((None, None), ("batch", 3)),
        (None, ("batch", 3)),
    ],
)
def test_a_dimension_that_changes_with_the_rows_is_the_batch(declared, shape):
    small, large = np.zeros((1, 3)), np.zeros((2, 3))
    assert graph.observe_shapes({"y": declared}, {"y": small}, {"y": large}) == {"y": shape}


def test_another_dimension_that_changes_keeps_its_name_or_gets_one():
    small, large = np.zeros((1, 4)), np.zeros((2, 5))
    assert graph.observe_shapes({"y": (None, "time")}, {"y": small}, {"y": large})["y"] == ("batch", "time")
    assert graph.observe_shapes({"y": None}, {"y": small}, {"y": large})["y"] == ("batch", "y_1")


def test_declared_tensors_are_read_with_their_dtypes_and_shapes():
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    values = [value("a", FLOAT, ["n", 2, None]), value("b", INT64, None), sequence]
    assert graph.tensors_of(values) == [
        ("a", "float32", ("n", 2, None)),
        ("b", "int64", None),
        ("s", None, None),
    ]
