"""Converters of skl2onnx that go wrong in known ways, wrapped so that they do not.

Each wrapper says what goes wrong and where it was seen. A repair never vouches for itself: the proof of
packing compares its result like any other.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np


@contextlib.contextmanager
def quiet_converters() -> Iterator[None]:
    """Silence what skl2onnx does to warn of: it reads attributes that scikit-learn is about to drop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Attribute `prob[AB]_` was deprecated", FutureWarning)
        yield


def repaired_converters() -> dict[Any, Any]:
    """Give skl2onnx's ``custom_conversion_functions``: by estimator class, the wrapped converter."""
    from skl2onnx.common._registration import get_converter
    from sklearn import ensemble, tree

    plain = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)
    single = (
        tree.DecisionTreeClassifier,
        tree.DecisionTreeRegressor,
        tree.ExtraTreeClassifier,
        tree.ExtraTreeRegressor,
        ensemble.RandomForestClassifier,
        ensemble.RandomForestRegressor,
        ensemble.ExtraTreesClassifier,
        ensemble.ExtraTreesRegressor,
        ensemble.GradientBoostingClassifier,
        ensemble.GradientBoostingRegressor,
        ensemble.IsolationForest,
    )
    wrapped = dict.fromkeys(plain, _with_plain_attributes) | dict.fromkeys(single, _in_single_precision)
    wrapped[ensemble.VotingClassifier] = _without_flattening
    return {
        kind: partial(wrapper, get_converter(f"Sklearn{kind.__name__}")) for kind, wrapper in wrapped.items()
    }


def _with_plain_attributes(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Make integers of the booleans in lists of integers.

    The converter of histogram gradient boosting (skl2onnx 1.20) passes numpy booleans, and protobuf refuses
    them.
    """

    def plain(attributes: dict[str, Any]) -> dict[str, Any]:
        return {name: _without_booleans(value) for name, value in attributes.items()}

    with _changed_attributes(container, plain):
        convert(scope, operator, container)


def _without_flattening(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Convert a vote whose ``flatten_transform`` is at its default: of matter to `transform` only."""
    model = operator.raw_operator
    flatten, model.flatten_transform = model.flatten_transform, False
    try:
        convert(scope, operator, container)
    finally:
        model.flatten_transform = flatten


@contextlib.contextmanager
def _changed_attributes(container: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[None]:
    """Let `change` see the attributes of every node before it is made."""
    add_node = container.add_node

    def add_changed(*values: Any, **attributes: Any) -> Any:
        return add_node(*values, **change(attributes))

    container.add_node = add_changed
    try:
        yield
    finally:
        container.add_node = add_node


def _without_booleans(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [int(one) if isinstance(one, bool | np.bool_) else one for one in value]


def _in_single_precision(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Round to float32 in front of a tree, as scikit-learn's trees do, and go on in float64 after it.

    skl2onnx 1.20 compares float64 features with thresholds that were rounded to float32 instead, and in
    trees of several targets float32 features with thresholds that were rounded up: a row that lies exactly
    between two training values takes the other branch.
    """
    from skl2onnx.common._apply_operation import apply_cast
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    given = operator.inputs[0]
    if not isinstance(given.type, DoubleTensorType):
        with _changed_attributes(container, _rounded_down):
            convert(scope, operator, container)
        return
    onnx_float, onnx_double = 1, 11  # TensorProto.FLOAT and DOUBLE
    single = scope.declare_local_variable("single", FloatTensorType(given.type.shape))
    apply_cast(scope, given.full_name, single.full_name, container, to=onnx_float)
    wide = [(at, one) for at, one in enumerate(operator.outputs) if isinstance(one.type, DoubleTensorType)]
    narrow = [scope.declare_local_variable("single", FloatTensorType(one.type.shape)) for _, one in wide]
    operator.inputs.set_element(0, single)
    for (at, _), one in zip(wide, narrow, strict=True):
        operator.outputs.set_element(at, one)
    try:
        with _changed_attributes(container, _rounded_down):
            convert(scope, operator, container)
    finally:
        operator.inputs.set_element(0, given)
        for at, one in wide:
            operator.outputs.set_element(at, one)
    for (_, to), one in zip(wide, narrow, strict=True):
        apply_cast(scope, one.full_name, to.full_name, container, to=onnx_double)
    for one in (single, *narrow):
        one.init_status(is_fed=True)


def _rounded_down(attributes: dict[str, Any]) -> dict[str, Any]:
    """Make each threshold the largest float32 not above it: ``x <= t`` is then the same for every x."""
    thresholds = attributes.get("nodes_values")
    if thresholds is None:
        return attributes
    wide = np.asarray(thresholds, dtype=np.float64)
    narrow = wide.astype(np.float32)
    below = np.where(narrow > wide, np.nextafter(narrow, np.float32(-np.inf)), narrow)
    return {**attributes, "nodes_values": below.tolist()}
