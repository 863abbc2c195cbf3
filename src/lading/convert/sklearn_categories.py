"""Splits of histogram boosting by category, as nodes that compare for equality.

skl2onnx 1.20 takes them for numeric splits, and forgets that boosting puts its categorical columns first.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from lading.signature import Array

_NODE_FIELDS = (
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_modes",
    "nodes_values",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
)


@dataclass(frozen=True)
class _Columns:
    """Where each feature of boosting is in the rows, and the values and known codes of its categories."""

    at: Array  # [features]
    values: dict[int, Array]
    known: dict[int, Array]


def has_categories(model: Any) -> bool:
    """Return whether histogram boosting was fitted on categorical columns."""
    return getattr(model, "is_categorical_", None) is not None


def with_categories(model: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a tree ensemble with the splits that `model` learnt; thresholds in float64.

    A category that training did not have, and NaN, take the side of missing values.
    """
    columns = _columns_of(model)
    trees = [tree for iteration in model._predictors for tree in iteration]  # noqa: SLF001  # no public way
    nodes = [node for at, tree in enumerate(trees) for node in _nodes_of(tree, at, columns)]
    fields = zip(_NODE_FIELDS, zip(*nodes, strict=True), strict=True)
    changed = {**attributes, **{name: list(values) for name, values in fields}}
    changed.pop("nodes_hitrates", None)
    return changed


def with_codes_apart(model: Any) -> Any:
    """Return histogram boosting on texts as a pipeline: its own encoding, then the trees on codes."""
    encoding = getattr(model, "_preprocessor", None)
    if not has_categories(model) or encoding is None:
        return model
    kinds = {np.asarray(values).dtype.kind for values in encoding.named_transformers_["encoder"].categories_}
    if kinds <= set("biuf"):
        return model
    encode, trees = copy.copy(encoding), copy.copy(model)
    encode.transformers_ = [
        (name, "passthrough" if name == "numerical" else transformer, np.flatnonzero(columns).tolist())
        for name, transformer, columns in encoding.transformers_
    ]
    trees._preprocessor = None  # noqa: SLF001
    return Pipeline([("categories", encode), ("trees", trees)])


def _columns_of(model: Any) -> _Columns:
    encoding = model._preprocessor  # noqa: SLF001
    if encoding is None:  # its columns were encoded before, in a step of their own
        order = np.arange(model.n_features_in_)
        categories: list[Any] = []
    else:
        categorical = np.asarray(model.is_categorical_)
        order = np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])
        categories = encoding.named_transformers_["encoder"].categories_
    bits, rows = model._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001
    features = np.flatnonzero(model._is_categorical_remapped)  # noqa: SLF001
    known = {int(feature): _codes(bits[rows[feature]]) for feature in features}
    values = {feature: np.asarray(each, dtype=np.float64) for feature, each in enumerate(categories)}
    return _Columns(order, values, known)


def _nodes_of(tree: Any, at: int, columns: _Columns) -> Iterator[tuple[Any, ...]]:
    """Return the nodes of one tree; those that a split by category needs beyond its first come last."""
    added: list[tuple[Any, ...]] = []
    unused = len(tree.nodes)
    for number, node in enumerate(tree.nodes):
        left, right, feature = int(node["left"]), int(node["right"]), int(node["feature_idx"])
        column = int(columns.at[feature]) if not node["is_leaf"] else 0
        to_left = int(node["missing_go_to_left"])
        if node["is_leaf"]:
            yield at, number, 0, "LEAF", 0.0, 0, 0, 0
        elif not node["is_categorical"]:
            yield at, number, column, "BRANCH_LEQ", float(node["num_threshold"]), left, right, to_left
        else:
            codes = _codes(tree.raw_left_cat_bitsets[node["bitset_idx"]])
            # Compared with the categories of the side that missing values do not take: NaN equals none.
            there, missing = (right, left) if to_left else (left, right)
            if to_left:
                codes = np.setdiff1d(columns.known[feature], codes)
            values = columns.values[feature][codes] if feature in columns.values else codes.astype(np.float64)
            chain = [number, *range(unused, unused + len(values) - 1)]
            unused += max(0, len(values) - 1)
            steps = [
                (at, here, column, "BRANCH_EQ", float(value), there, after, 0)
                for here, value, after in zip(chain, values, [*chain[1:], missing], strict=True)
            ]
            first = (at, number, column, "BRANCH_LEQ", -np.inf, there, missing, 0)  # no value is on that side
            yield steps[0] if steps else first
            added.extend(steps[1:])
    yield from added


def _codes(bits: Array) -> Array:
    """Return the numbers of the bits that are set, ``[words] of uint32 -> [codes]``."""
    return np.flatnonzero(np.unpackbits(bits.astype("<u4").view(np.uint8), bitorder="little"))
