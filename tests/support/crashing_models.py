"""Models that end the process which runs them, or never end: whole and valid for the ONNX checker.

ONNX Runtime 1.31 computes with a negative `batch_dims` of GatherND without checking it, and reads beyond its
memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lading.bundle import Bundle
from lading.signature import Signature
from support.onnx_graphs import bundle_of, graph, node, tensor

ROWS = np.ones((2, 4), "float32")
ZEROS = np.zeros((2, 4), "float32")
_SHAPE = ("batch", 4)


def crashing_while_it_loads() -> bytes:
    """Build a model that crashes when ONNX Runtime folds its constants."""
    cube, indices = np.zeros((2, 2, 2), "float32"), np.array([[1], [0]], "int64")
    nodes = [
        node("GatherND", "cube indices", "picked", batch_dims=-(2**31)),
        node("ReduceSum", "picked", "sum", keepdims=0),
        node("Add", "X sum", "Y"),
    ]
    return _model(nodes, {"cube": cube, "indices": indices})


def crashing_on_zeros() -> bytes:
    """Build a model that loads and answers, and crashes on rows of zeros only.

    A GRU gets as many steps as the greatest value says; ONNX Runtime 1.31 aborts when there are none.
    """
    constants = {
        "sequence": np.ones((3, 1, 2), "float32"),
        "weights": np.full((1, 15, 2), 0.1, "float32"),
        "recurrence": np.full((1, 15, 5), 0.1, "float32"),
        "first": np.array([0], "int64"),
        "one": np.array([1], "int64"),
    }
    nodes = [
        node("ReduceMax", "X", "greatest", keepdims=0),
        node("Cast", "greatest", "steps", to=7),
        node("Reshape", "steps one", "end"),
        node("Slice", "sequence first end first", "begun"),
        node("GRU", "begun weights recurrence", "all state", hidden_size=5),
        node("ReduceSum", "state", "sum", keepdims=0),
        node("Add", "X sum", "Y"),
    ]
    return _model(nodes, constants)


def endless_run() -> bytes:
    """Build a model that loads, and whose run takes 2^62 rounds of a loop."""
    constants = {"rounds": np.array(2**62, "int64"), "yes": np.array(True)}
    return _model([*_loop(), node("Add", "X last", "Y")], constants)


def long_on_large_values() -> bytes:
    """Build a model that answers with its input, after as many rounds as its greatest value says."""
    nodes = [
        node("ReduceMax", "X", "greatest", keepdims=0),
        node("Cast", "greatest", "rounds", to=7),
        *_loop(),
        node("Mul", "last zero", "nothing"),
        node("Add", "X nothing", "Y"),
    ]
    return _model(nodes, {"yes": np.array(True), "zero": np.array(0, "float32")})


def looping_bundle(folder: Path, rounds: int) -> Bundle:
    """Write a bundle of `long_on_large_values` whose golden rows take `rounds`."""
    rows = np.full((2, 4), rounds, "float32")
    signature = Signature((tensor("X", "float32", *_SHAPE),), (tensor("Y", "float32", *_SHAPE),))
    return bundle_of(folder, long_on_large_values(), signature, {"X": rows})


def crashing_bundle(folder: Path, model: bytes, rows: Any = ROWS, **changes: Any) -> Bundle:
    """Write a bundle of such a model, with golden outputs that nobody has computed."""
    signature = Signature((tensor("X", "float32", *_SHAPE),), (tensor("Y", "float32", *_SHAPE),))
    return bundle_of(folder, model, signature, {"X": rows}, outputs={"Y": rows}, **changes)


def poisoned_bundle(folder: Path, **changes: Any) -> Bundle:
    """Write a bundle of `crashing_on_zeros`, which holds: its golden rows are ones."""
    signature = Signature((tensor("X", "float32", *_SHAPE),), (tensor("Y", "float32", *_SHAPE),))
    return bundle_of(folder, crashing_on_zeros(), signature, {"X": ROWS}, **changes)


def slow_operator_bundle(folder: Path) -> Bundle:
    """Write a bundle that multiplies square matrices as large as the greatest value says, in one operator.

    A run cannot be ended within an operator.
    """
    constants = {"two": np.array([2], "int64"), "one": np.array([1], "int64"), "zero": np.array(0, "float32")}
    nodes = [
        node("ReduceMax", "X", "greatest", keepdims=0),
        node("Cast", "greatest", "size", to=7),
        node("Reshape", "size one", "sizes"),
        node("Expand", "sizes two", "square"),
        node("ConstantOfShape", "square", "matrix"),
        node("MatMul", "matrix matrix", "product"),
        node("ReduceSum", "product", "sum", keepdims=0),
        node("Mul", "sum zero", "nothing"),
        node("Add", "X nothing", "Y"),
    ]
    signature = Signature((tensor("X", "float32", *_SHAPE),), (tensor("Y", "float32", *_SHAPE),))
    # The golden rows take long enough that requests are not run on the event loop.
    rows = np.full((2, 4), 400, "float32")
    return bundle_of(folder, _model(nodes, constants), signature, {"X": rows})


def _loop() -> list[Any]:
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [node("Identity", "go", "on"), node("Add", "value step", "next")],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, []),
        ],
    )
    return [
        node("ReduceSum", "X", "step", keepdims=0),
        helper.make_node("Loop", ["rounds", "yes", "step"], ["last"], body=body),
    ]


def _model(nodes: list[Any], constants: dict[str, Any]) -> bytes:
    return graph(
        nodes, [tensor("X", "float32", *_SHAPE)], [tensor("Y", "float32", *_SHAPE)], constants=constants
    )


def sequence_bundle(folder: Path, steps: int = 3) -> Bundle:
    """Write a bundle of a GRU over as many steps as the caller sends; golden ones are `steps`.

    ONNX Runtime 1.31 ends the process when there are none.
    """
    constants = {
        "weights": np.full((1, 15, 2), 0.1, "float32"),
        "recurrence": np.full((1, 15, 5), 0.1, "float32"),
    }
    inputs, outputs = tensor("X", "float32", "steps", 1, 2), tensor("Y", "float32", 1, 1, 5)
    nodes = [node("GRU", "X weights recurrence", "all Y", hidden_size=5)]
    model = graph(nodes, [inputs], [outputs], constants=constants)
    return bundle_of(
        folder, model, Signature((inputs,), (outputs,)), {"X": np.ones((steps, 1, 2), "float32")}
    )
