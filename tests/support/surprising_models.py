"""Models whose golden rows take microseconds, and some request of which takes seconds: one way each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lading.bundle import Bundle
from lading.signature import Signature, Tensor
from support.onnx_graphs import bundle_of, graph, node, tensor

# Many steps over few megabytes: a process that asks the system for much memory waits for that as well.
_STEPS = 60
_ATTENTION = [
    node("MatMul", "X T", "scores0"),
    *(node("Softmax", f"scores{step}", f"scores{step + 1}", axis=-1) for step in range(_STEPS)),
    node("Identity", f"scores{_STEPS}", "weights"),
]


def by_value(folder: Path) -> Bundle:
    """Write a model that multiplies matrices in a loop, as often as the greatest integer says."""
    from onnx import TensorProto, helper

    def scalar(name: str, kind: int) -> object:
        return helper.make_tensor_value_info(name, kind, [])

    product = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("MatMul", "value matrix", "next"), node("Identity", "go", "on")],
        "body",
        [
            scalar("round", TensorProto.INT64),
            scalar("go", TensorProto.BOOL),
            product("value", TensorProto.FLOAT, None),
        ],
        [scalar("on", TensorProto.BOOL), product("next", TensorProto.FLOAT, None)],
    )
    nodes = [
        node("ReduceMax", "X", "rounds", keepdims=0),
        helper.make_node("Loop", ["rounds", "yes", "matrix"], ["last"], body=body),
        node("ReduceSum", "last", "sum", keepdims=0),
        node("Cast", "X", "numbers", to=1),
        node("Mul", "numbers sum", "Y"),
    ]
    constants = {"matrix": np.eye(32, dtype="float32"), "yes": np.array(True)}
    rows = np.array([[1], [2], [3], [4]])
    tensors = tensor("X", "int64", "batch", 1), tensor("Y", "float32", "batch", 1)
    return _bundle(folder, nodes, *tensors, rows, constants)


def by_length_of_text(folder: Path) -> Bundle:
    """Write a model that counts runs of characters with gaps between them: 6 s for each million."""
    nodes = [
        node(
            "Tokenizer", "X", "T", domain="com.microsoft", mark=0, pad_value="#", mincharnum=1, tokenexp="."
        ),
        node(
            "TfIdfVectorizer",
            "T",
            "Y",
            mode="TF",
            min_gram_length=1,
            max_gram_length=3,
            max_skip_count=80,
            ngram_counts=[0, 2, 4],
            ngram_indexes=[0, 1, 2, 3],
            pool_strings=["a", "b", "a", "b", "a", "b", "a"],
        ),
    ]
    rows = np.array(["ab", "ba", "aaba"], object)
    tensors = tensor("X", "string", "batch"), tensor("Y", "float32", "batch", 4)
    return _bundle(folder, nodes, *tensors, rows, domains={"com.microsoft": 1})


def by_open_size(folder: Path) -> Bundle:
    """Write attention within a row of open length and width: as many values as a golden row may be longer."""
    nodes = [
        node("Transpose", "X", "T", perm=[0, 2, 1]),
        *_ATTENTION,
        node("ReduceMax", "weights", "Y", axes=[1, 2], keepdims=0),
    ]
    rows = np.ones((2, 4, 750), "float32")
    return _bundle(folder, nodes, tensor("X", "float32", "batch", "length", "width"), tensor("Y"), rows)


def by_rows(folder: Path) -> Bundle:
    """Write attention between rows: its work grows with their square, and its bundle says so."""
    nodes = [node("Transpose", "X", "T", perm=[1, 0]), *_ATTENTION, node("MatMul", "weights X", "Y")]
    tensors = tensor("X", "float32", "batch", 1), tensor("Y", "float32", "batch", 1)
    return _bundle(folder, nodes, *tensors, np.ones((4, 1), "float32"), independent_rows=False)


def _bundle(
    folder: Path,
    nodes: list[object],
    request: Tensor,
    answer: Tensor,
    rows: np.ndarray,
    constants: dict[str, np.ndarray] | None = None,
    *,
    independent_rows: bool = True,
    domains: dict[str, int] | None = None,
) -> Bundle:
    model = graph(nodes, [request], [answer], constants=constants, domains=domains)
    signature = Signature((request,), (answer,), independent_rows=independent_rows)
    return bundle_of(folder, model, signature, {"X": rows}, name="surprising")
