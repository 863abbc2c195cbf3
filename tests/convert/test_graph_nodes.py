"""Nodes of our own converters: constants of every kind, and labels by their index."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from lading.convert.graph_nodes import GraphNodes


class Recorded:
    """Stands for skl2onnx's scope and container, which cannot be made without a whole conversion."""

    def __init__(self):
        self.initializers, self.nodes, self.count = [], [], 0

    def get_unique_variable_name(self, seed):
        self.count += 1
        return f"{seed}{self.count}"

    get_unique_operator_name = get_unique_variable_name

    def add_initializer(self, *values):
        self.initializers.append(values)

    def add_node(self, op, inputs, outputs, **attributes):
        self.nodes.append((op, inputs, outputs, attributes))


@pytest.mark.parametrize(
    ("values", "kind", "content"),
    [
        (np.float64(0.1), TensorProto.DOUBLE, [0.1]),
        (np.array([1, 2]), TensorProto.INT64, [1, 2]),
        (np.array(["ü"], dtype=object), TensorProto.STRING, ["ü".encode()]),
        (np.array([[True, False]]), TensorProto.BOOL, [True, False]),
    ],
)
def test_a_constant_keeps_its_kind_and_shape(values, kind, content):
    recorded = Recorded()
    name = GraphNodes(recorded, recorded).constant(values)
    assert recorded.initializers == [(name, kind, list(np.shape(values)), content)]


def test_a_node_says_the_version_of_its_domain():
    recorded = Recorded()
    made = GraphNodes(recorded, recorded).node("Normalizer", ["x"], norm="L2")
    op, inputs, outputs, attributes = recorded.nodes[0]
    assert (op, inputs, outputs) == ("Normalizer", ["x"], [made])
    assert (attributes["op_domain"], attributes["op_version"]) == ("ai.onnx.ml", 3)
