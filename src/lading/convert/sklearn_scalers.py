"""Steps of scikit-learn before the model, as plain arithmetic in its own order and precision.

A value whose last bit differs takes another branch in a tree behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from skl2onnx.common._apply_operation import apply_cast, apply_div, apply_sub
from skl2onnx.common.data_types import FloatTensorType
from sklearn import preprocessing

from lading.convert.graph_nodes import DOUBLE, FLOAT, INT64, GraphNodes
from lading.convert.sklearn_nodes import intercepted_nodes

_SCALERS = (preprocessing.StandardScaler, preprocessing.RobustScaler, preprocessing.MaxAbsScaler)


def scaler_wrappers() -> dict[type, Callable[..., None]]:
    """Return what wraps skl2onnx's converter, by the class of the step."""
    wrapped: dict[type, Callable[..., None]] = dict.fromkeys(_SCALERS, _with_plain_arithmetic)
    return wrapped | {preprocessing.KBinsDiscretizer: _with_edges_as_fitted}


def _with_plain_arithmetic(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Subtract and divide as scikit-learn does, where skl2onnx writes the operator `Scaler`.

    `Scaler` multiplies by the reciprocal: of 40,000 standardised float32 values 15,967 differed in their last
    bit from scikit-learn 1.9, and a tree behind them takes another branch. It is also ten times as slow.
    """
    # scikit-learn rounds its own numbers to float32 for these two, but computes RobustScaler in float64.
    wide = isinstance(operator.raw_operator, preprocessing.RobustScaler)
    # Whole numbers are converted to float64 first.
    wide = wide or not isinstance(operator.inputs[0].type, FloatTensorType)

    def step(apply: Any, value: Any, numbers: Any) -> str:
        constant, result = (scope.get_unique_variable_name(name) for name in ("scale", "scaled"))
        kind = DOUBLE if wide else FLOAT
        container.add_initializer(constant, kind, [len(numbers)], numbers)  # [columns]
        if not wide:
            apply(scope, [value, constant], result, container)
            return str(result)
        double, exact = (scope.get_unique_variable_name(name) for name in ("double", "exact"))
        apply_cast(scope, value, double, container, to=DOUBLE)
        apply(scope, [double, constant], exact, container)
        apply_cast(scope, exact, result, container, to=FLOAT)
        return str(result)

    def add(own: Any, op_type: str, inputs: Any, outputs: Any, *rest: Any, **attributes: Any) -> Any:
        if op_type != "Scaler":
            return own(op_type, inputs, outputs, *rest, **attributes)
        steps = [
            (apply, numbers) for apply, numbers in _steps_of(operator.raw_operator) if numbers is not None
        ]
        value = inputs if isinstance(inputs, str) else inputs[0]
        for apply, numbers in steps:
            value = step(apply, value, numbers)
        return apply_cast(scope, value, outputs, container, to=FLOAT)

    with intercepted_nodes(container, add):
        convert(scope, operator, container)


def _steps_of(scaler: Any) -> list[tuple[Any, Any]]:
    """Return what a scaler subtracts and what it divides by, or None if it does not."""
    match scaler:
        case preprocessing.StandardScaler():
            center = scaler.mean_ if scaler.with_mean else None
            scale = scaler.scale_ if scaler.with_std else None
        case preprocessing.RobustScaler():
            center = scaler.center_ if scaler.with_centering else None
            scale = scaler.scale_ if scaler.with_scaling else None
        case _:
            center, scale = None, scaler.scale_
    return [(apply_sub, center), (apply_div, scale)]


def _with_edges_as_fitted(_: Any, scope: Any, operator: Any, container: Any) -> None:
    """Compare values of either width with the float64 edges of the bins, as scikit-learn does.

    skl2onnx 1.20 rounds the edges to float32, so that rows change their bin, and has no ``onehot``.
    """
    nodes, bins = GraphNodes(scope, container), operator.raw_operator
    value = operator.inputs[0].full_name
    if bins.dtype == np.float32:  # it rounds the values before it compares them
        value = nodes.node("Cast", [value], to=FLOAT)
    double = nodes.double(value)
    inner = [np.asarray(edges, dtype=np.float64)[1:-1] for edges in bins.bin_edges_]
    if bins.encode == "ordinal":
        most = max(1, *(len(edges) for edges in inner)) if inner else 1
        # No value is at or above NaN: it fills up the columns with fewer bins.
        table = np.array([[*edges, *[np.nan] * (most - len(edges))] for edges in inner])  # [columns, most]
        values = nodes.node("Unsqueeze", [double, nodes.axis(2)])
        above = nodes.node("GreaterOrEqual", [values, nodes.constant(table[None])])  # [batch, columns, most]
        counted = nodes.node("Cast", [above], to=INT64)
        result = nodes.node("ReduceSum", [counted, nodes.axis(2)], keepdims=0)
    else:
        at = np.repeat(np.arange(len(inner)), [len(edges) + 1 for edges in inner])  # [bins of all columns]
        values = nodes.node("Gather", [double, nodes.constant(at)], axis=1)
        lower, upper = (
            np.concatenate([[-np.inf, *edges] if side else [*edges, np.nan] for edges in inner])
            for side in (True, False)
        )
        reached = nodes.node("GreaterOrEqual", [values, nodes.constant(lower[None])])
        passed = nodes.node("GreaterOrEqual", [values, nodes.constant(upper[None])])
        result = nodes.node("And", [reached, nodes.node("Not", [passed])])
    nodes.finish(result, operator.outputs[0])
