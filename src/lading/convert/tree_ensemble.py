"""Boosted trees as one ONNX operator, node by node as their framework compares and sums. Knows no framework.

Numbers are float64: a float32 feature compares with a float64 threshold as it does in C, and sums of many
leaves keep their digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import numpy_helper

from lading.convert.graph_nodes import GraphNodes
from lading.signature import Array


@dataclass
class TreeEnsemble:
    """The trees of one model with `targets` sums; `base` is what each begins with.

    Every tree begins with `begin`; its own nodes are numbered from 0, the root.
    """

    targets: int
    base: Array  # [targets]
    _nodes: list[dict[int, tuple[Any, ...]]] = field(default_factory=list)
    _leaves: list[tuple[int, int, int, float]] = field(default_factory=list)
    _unused: int = 0

    def begin(self, size: int) -> None:
        """Begin a tree of `size` nodes of its own; others that it needs are numbered from there."""
        self._nodes.append({})
        self._unused = size

    def leaf(self, number: int, weights: Mapping[int, float]) -> None:
        """Add a leaf: what it adds to which target."""
        self._nodes[-1][number] = (0, "LEAF", 0.0, 0, 0, 0)
        self._leaves += [(len(self._nodes) - 1, number, at, weight) for at, weight in weights.items()]

    def branch(
        self,
        number: int,
        column: int,
        mode: str,
        value: float,
        then: int,
        otherwise: int,
        *,
        missing_then: bool,
    ) -> None:
        """Add a node that goes to `then` if the column compares with `value`, as NaN does if so stated."""
        self._nodes[-1][number] = (column, mode, float(value), then, otherwise, int(missing_then))

    def among(
        self,
        number: int,
        column: int,
        values: Sequence[float],
        then: int,
        otherwise: int,
        *,
        missing_then: bool,
    ) -> None:
        """Add nodes that go to `then` if the column is one of `values`; NaN goes there if so stated."""
        if not len(values):  # nothing but NaN is at or below minus infinity
            self.branch(number, column, "BRANCH_LT", -np.inf, then, otherwise, missing_then=missing_then)
            return
        chain = [number, *(self._new() for _ in values[1:])]
        for at, value, after in zip(chain, values, [*chain[1:], otherwise], strict=True):
            self.branch(at, column, "BRANCH_EQ", value, then, after, missing_then=missing_then)

    def sums(self, nodes: GraphNodes, features: str) -> str:
        """Add the operator behind float64 features ``[batch, columns]``; return ``[batch, targets]``."""
        names = ("featureids", "modes", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true")
        rows = [
            (tree, number, *node)
            for tree, each in enumerate(self._nodes)
            for number, node in sorted(each.items())
        ]
        attributes: dict[str, Any] = {
            f"nodes_{name}": list(values)
            for name, values in zip(("treeids", "nodeids", *names), zip(*rows, strict=True), strict=True)
        }
        leaves = zip(*self._leaves, strict=True)
        for name, values in zip(("treeids", "nodeids", "ids", "weights"), leaves, strict=True):
            attributes[f"target_{name}"] = list(values)
        attributes["base_values"] = self.base
        for name in ("nodes_values", "target_weights", "base_values"):
            numbers = np.asarray(attributes.pop(name), dtype=np.float64)
            attributes[f"{name}_as_tensor"] = numpy_helper.from_array(numbers, name)
        return nodes.node("TreeEnsembleRegressor", [features], n_targets=self.targets, **attributes)

    def _new(self) -> int:
        self._unused += 1
        return self._unused - 1
