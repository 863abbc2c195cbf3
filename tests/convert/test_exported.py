"""Graphs of exporters: names of their own, ends as in a bundle, operators that ONNX has."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from lading.convert import exported, graph
from lading.errors import ConverterFailed
from lading.signature import Tensor

X = Tensor(name="x", dtype="float32", shape=("batch", 2))


def exported_graph(prefix: str, op: str = "Add", outputs: int = 1):
    """Return x + 1 (twice x, …) with an exporter's names."""
    unit = numpy_helper.from_array(np.float32([1.0]), f"{prefix}/one:0")
    node = helper.make_node(
        op, ["input_0", f"{prefix}/one:0"], [f"{prefix}/sum:0"], name=f"{prefix}/layer/op"
    )
    unused = helper.make_node("Neg", ["input_0"], [f"{prefix}/unused:0"])
    x = helper.make_tensor_value_info("input_0", TensorProto.FLOAT, [None, 2])
    y = helper.make_tensor_value_info(f"{prefix}/sum:0", TensorProto.FLOAT, ["unk__7", 2])
    made = helper.make_graph([unused, node], prefix, [x], [y] * outputs, [unit])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], producer_name=prefix)
    model.ir_version = 8
    return model


def converted(model, *names):
    exported.name_values(model, (X,), names)
    rows = {"x": np.arange(12, dtype=np.float32).reshape(6, 2)}
    return exported.conversion(model, "net", (X,), rows, in_rows=True)


def test_the_names_of_an_exporter_leave_no_trace_in_the_bytes():
    first, second = (converted(exported_graph(prefix), "value") for prefix in ("run_1", "run_20"))
    assert first.model == second.model
    assert b"run_1" not in first.model
    assert first.signature.outputs == (Tensor(name="value", dtype="float32", shape=("batch", 2)),)


def test_a_value_that_is_two_outputs_has_both_names():
    conversion = converted(exported_graph("run", outputs=2), "left", "right")
    answers = graph.evaluator("net", conversion.model)({"x": np.zeros((1, 2), np.float32)})
    assert {name: array.tolist() for name, array in answers.items()} == {
        "left": [[1.0, 1.0]],
        "right": [[1.0, 1.0]],
    }


def test_an_operator_that_onnx_does_not_have_is_refused_with_its_layer():
    model = exported_graph("net", "Erfinv")
    with pytest.raises(ConverterFailed, match=r"layer of `m`: .*found `Erfinv`") as caught:
        exported.refuse_operators(model, "m", lambda name: name.split("/")[1], lambda op: f"without {op}")
    assert caught.value.hint == "without Erfinv"


def test_an_input_that_nobody_declared_and_another_number_of_outputs_are_refused():
    with pytest.raises(ConverterFailed, match="found 1 outputs"):
        exported.name_values(exported_graph("net"), (X,), ["left", "right"])
    model = exported_graph("net")
    model.graph.input.append(helper.make_tensor_value_info("captured:0", TensorProto.FLOAT, [1]))
    with pytest.raises(ConverterFailed, match="`captured:0` beside them"):
        exported.name_values(model, (X,), ["value"])
