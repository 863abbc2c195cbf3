"""Steps of scikit-learn before the model, as plain arithmetic in its own order and precision.

A value whose last bit differs takes another branch in a tree behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skl2onnx.common._apply_operation import apply_cast, apply_div, apply_sub
from skl2onnx.common.data_types import FloatTensorType
from sklearn import preprocessing

from lading.convert.sklearn_nodes import ONNX_DOUBLE, ONNX_FLOAT, intercepted_nodes

_SCALERS = (preprocessing.StandardScaler, preprocessing.RobustScaler, preprocessing.MaxAbsScaler)


def scaler_wrappers() -> dict[type, Callable[..., None]]:
    """Return what wraps skl2onnx's converter, by the class of the step."""
    return dict.fromkeys(_SCALERS, _with_plain_arithmetic)


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
        kind = ONNX_DOUBLE if wide else ONNX_FLOAT
        container.add_initializer(constant, kind, [len(numbers)], numbers)  # [columns]
        if not wide:
            apply(scope, [value, constant], result, container)
            return str(result)
        double, exact = (scope.get_unique_variable_name(name) for name in ("double", "exact"))
        apply_cast(scope, value, double, container, to=ONNX_DOUBLE)
        apply(scope, [double, constant], exact, container)
        apply_cast(scope, exact, result, container, to=ONNX_FLOAT)
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
        return apply_cast(scope, value, outputs, container, to=ONNX_FLOAT)

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
