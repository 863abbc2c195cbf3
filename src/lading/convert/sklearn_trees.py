"""Trees of scikit-learn as ONNX, where skl2onnx alone compares or sums otherwise than they were trained to.

Wraps converters of skl2onnx; each wrapper says what was wrong and in which version.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from onnx import numpy_helper
from skl2onnx.common._apply_operation import apply_cast
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn import ensemble, tree

from lading.convert.graph_nodes import DOUBLE, FLOAT
from lading.convert.sklearn_categories import has_categories, with_categories
from lading.convert.sklearn_nodes import (
    changed_attributes,
    intercepted_nodes,
    single_outputs,
)
from lading.signature import Array

_TREE_NUMBERS = {"nodes_values", "nodes_hitrates", "base_values", "class_weights", "target_weights"}
_WHOLE = 2.0**52  # the votes of a forest, in units that float64 sums exactly

# scikit-learn's trees convert features to float32 (its documentation of `predict`) and compare them with
# float64 thresholds; histogram boosting never rounds.
_FLOAT32_TREES = (
    tree.DecisionTreeClassifier,
    tree.DecisionTreeRegressor,
    tree.ExtraTreeClassifier,
    tree.ExtraTreeRegressor,
    ensemble.RandomForestRegressor,
    ensemble.ExtraTreesRegressor,
    ensemble.GradientBoostingClassifier,
    ensemble.GradientBoostingRegressor,
    ensemble.IsolationForest,
)
_VOTING_FORESTS = (ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier)
_FLOAT64_TREES = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)


def tree_wrappers() -> dict[type, Callable[..., None]]:
    """Return what wraps skl2onnx's converter, by the class of the trees."""
    wrapped: dict[type, Callable[..., None]] = dict.fromkeys(_FLOAT32_TREES, _in_single_precision)
    wrapped |= dict.fromkeys(_VOTING_FORESTS, _with_exact_votes)
    return wrapped | dict.fromkeys(_FLOAT64_TREES, _in_given_precision)


def _with_exact_votes(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Sum the votes of a forest exactly, and compare features with the thresholds as trained.

    skl2onnx 1.20 sums shares like 1/20 in float32: probabilities became 1.0000001 and -1.19e-07, and a tie of
    ten trees with ten went to the other class. The float64 weights here are multiples of one unit, so that
    sums have no rounding in any order; ONNX Runtime rounds the whole to float32.
    """
    forest = operator.raw_operator

    def add(own: Any, op_type: str, inputs: Any, *rest: Any, **attributes: Any) -> Any:
        exact = _of_votes(forest, attributes) if op_type == "TreeEnsembleClassifier" else None
        if exact is None:
            return own(op_type, inputs, *rest, **_as_trained(forest, attributes))
        double = scope.get_unique_variable_name("double")
        value = inputs if isinstance(inputs, str) else inputs[0]
        apply_cast(scope, value, double, container, to=DOUBLE)
        # Version 3 of the operator is the first with float64 attributes.
        return own(op_type, double, *rest, **{**exact, "op_version": 3})

    _after_rounding(convert, scope, operator, container, partial(intercepted_nodes, container, add))


def _of_votes(forest: Any, attributes: dict[str, Any]) -> dict[str, Any] | None:
    """Return the attributes in float64 with the forest's own numbers, or None if they are of other nodes."""
    trees = [member.tree_ for member in forest.estimators_]
    leaves = [tree.children_left < 0 for tree in trees]  # [nodes]
    votes = np.concatenate(
        [_votes(tree.value[leaf], len(trees)) for tree, leaf in zip(trees, leaves, strict=True)]
    )
    thresholds = [np.where(leaf, 0.0, tree.threshold) for tree, leaf in zip(trees, leaves, strict=True)]
    values = np.concatenate(thresholds)
    if len(votes) != len(attributes["class_weights"]) or len(values) != len(attributes["nodes_values"]):
        return None
    changed = _with_missing_values(forest, {**attributes, "nodes_values": values, "class_weights": votes})
    changed.pop("nodes_hitrates", None)  # all of them 1, and read by nobody
    return _as_doubles(changed)


def _votes(counts: Array, trees: int) -> Array:
    """Return what leaves add to each class: their shares of the whole; of two classes the second's only."""
    flat = counts.reshape(len(counts), -1)  # [leaves, classes]
    total = flat.sum(axis=1, keepdims=True)
    shares = flat / np.where(total == 0, 1.0, total)
    # Rounded down for the whole tree, so that no sum of trees is above one, nor half of them above a half.
    votes = np.round(shares * np.floor(_WHOLE / trees)) / _WHOLE
    return np.asarray(votes[:, 1] if flat.shape[1] == 2 else votes.ravel())


def _in_given_precision(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Compare features of either type with the float64 thresholds of histogram boosting.

    skl2onnx 1.20 always rounds the thresholds to float32, some of them upwards, and passes numpy booleans
    among the integers, which protobuf refuses.
    """
    if not isinstance(operator.inputs[0].type, DoubleTensorType):
        with changed_attributes(container, partial(_as_boosted, operator.raw_operator)):
            convert(scope, operator, container)
        return
    kind = "Classifier" if hasattr(operator.raw_operator, "classes_") else "Regressor"
    change = partial(_as_boosted_doubles, operator.raw_operator)
    with single_outputs(scope, operator, container), changed_attributes(container, change):
        # Version 3 of the operator is the first with float64 attributes; the public call takes no version.
        convert._fct(scope, operator, container, f"TreeEnsemble{kind}", "ai.onnx.ml", 3)  # noqa: SLF001


def _as_boosted(model: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes with the model's float64 thresholds rounded down, not to the nearest float32."""
    changed = _without_booleans(attributes)
    if has_categories(model) and "nodes_values" in changed:
        return _rounded_down(with_categories(model, changed))
    trees = [tree for iteration in model._predictors for tree in iteration]  # noqa: SLF001  # no public way
    nodes = np.concatenate([tree.nodes for tree in trees])
    if len(nodes) != len(changed.get("nodes_values", ())):
        return changed
    return _rounded_down({**changed, "nodes_values": np.where(nodes["is_leaf"], 0.0, nodes["num_threshold"])})


def _as_boosted_doubles(model: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    if has_categories(model) and "nodes_values" in attributes:
        return _as_doubles(with_categories(model, attributes))
    return _as_doubles(attributes)


def _as_doubles(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of a tree ensemble as float64 tensors."""
    changed = _without_booleans(attributes)
    for name in _TREE_NUMBERS & changed.keys():
        numbers = np.asarray(changed.pop(name), dtype=np.float64).ravel()  # [nodes] or [leaves]
        changed[f"{name}_as_tensor"] = numpy_helper.from_array(numbers, name)
    return changed


def _without_booleans(attributes: dict[str, Any]) -> dict[str, Any]:
    def plain(values: Any) -> Any:
        if not isinstance(values, list):
            return values
        return [int(value) if isinstance(value, bool | np.bool_) else value for value in values]

    return {name: plain(values) for name, values in attributes.items()}


def _in_single_precision(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Round to float32 in front of a tree, as scikit-learn's trees do, and go on in float64 after it.

    skl2onnx 1.20 compares float64 features with thresholds that were rounded to float32 instead, and in
    trees of several targets float32 features with thresholds that were rounded up: a row that is exactly
    between two training values takes the other branch.
    """
    change = partial(_as_trained, operator.raw_operator)
    _after_rounding(convert, scope, operator, container, partial(changed_attributes, container, change))


def _after_rounding(convert: Any, scope: Any, operator: Any, container: Any, changed: Any) -> None:
    """Convert trees of which the features are float32, within the context that `changed` opens."""
    features = operator.inputs[0]
    if not isinstance(features.type, DoubleTensorType):
        with changed():
            convert(scope, operator, container)
        return
    single = scope.declare_local_variable("single", FloatTensorType(features.type.shape))
    apply_cast(scope, features.full_name, single.full_name, container, to=FLOAT)
    operator.inputs.set_element(0, single)
    try:
        with single_outputs(scope, operator, container), changed():
            convert(scope, operator, container)
    finally:
        operator.inputs.set_element(0, features)
    single.init_status(is_fed=True)


def _as_trained(model: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    return _with_missing_values(model, _rounded_down(attributes))


def _with_missing_values(model: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """Send missing values to the side that the tree learnt, or to its larger one.

    skl2onnx 1.20 sends all of them to the right.
    """
    sides = attributes.get("nodes_missing_value_tracks_true")
    if sides is None:
        return attributes
    trees = getattr(model, "estimators_", [model])
    trees = [tree.tree_ for tree in np.ravel(np.asarray(trees, dtype=object)) if hasattr(tree, "tree_")]
    learnt = np.concatenate([tree.missing_go_to_left for tree in trees])  # [nodes]
    if len(learnt) != len(sides):
        return attributes
    return {**attributes, "nodes_missing_value_tracks_true": learnt.astype(int).tolist()}


def _rounded_down(attributes: dict[str, Any]) -> dict[str, Any]:
    """Make each threshold the largest float32 not above it: ``x <= t`` is then the same for every x."""
    thresholds = attributes.get("nodes_values")
    if thresholds is None:
        return attributes
    wide = np.asarray(thresholds, dtype=np.float64)  # [nodes]
    narrow = wide.astype(np.float32)
    compared = np.asarray(attributes["nodes_modes"]) == "BRANCH_LEQ"  # categories are equal to the nearest
    below = np.where(compared & (narrow > wide), np.nextafter(narrow, np.float32(-np.inf)), narrow)
    return {**attributes, "nodes_values": below.tolist()}
