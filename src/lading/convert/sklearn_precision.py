"""Converters run in float64 whatever the inputs are, where float32 loses what scikit-learn keeps.

Squares of large numbers are infinite in float32, and small differences of large squares are noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skl2onnx.common._apply_operation import apply_cast
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from lading.convert.graph_nodes import DOUBLE, FLOAT


def in_double_precision(
    convert: Callable[[Any, Any, Any], None], scope: Any, operator: Any, container: Any
) -> None:
    """Run `convert` on float64 columns, and round what it puts out to the type of the outputs."""
    features = operator.inputs[0]
    if not isinstance(features.type, FloatTensorType):
        convert(scope, operator, container)
        return
    wide = scope.declare_local_variable("double", DoubleTensorType(features.type.shape))
    apply_cast(scope, features.full_name, wide.full_name, container, to=DOUBLE)
    wide.init_status(is_fed=True)
    singles = [
        (at, output) for at, output in enumerate(operator.outputs) if isinstance(output.type, FloatTensorType)
    ]
    doubles = [
        scope.declare_local_variable("exact", DoubleTensorType(output.type.shape)) for _, output in singles
    ]
    operator.inputs.set_element(0, wide)
    for (at, _), double in zip(singles, doubles, strict=True):
        operator.outputs.set_element(at, double)
    try:
        convert(scope, operator, container)
    finally:
        operator.inputs.set_element(0, features)
        for at, output in singles:
            operator.outputs.set_element(at, output)
    for (_, output), double in zip(singles, doubles, strict=True):
        apply_cast(scope, double.full_name, output.full_name, container, to=FLOAT)
        double.init_status(is_fed=True)
