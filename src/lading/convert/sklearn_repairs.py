"""Converters of skl2onnx that go wrong or are slow in known ways, wrapped so that they are not.

Each wrapper says what was wrong and where it was seen. A repair never vouches for itself: the proof of
packing compares its result like any other.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

_ONNX_FLOAT, _ONNX_DOUBLE = 1, 11  # TensorProto.FLOAT and DOUBLE


@contextlib.contextmanager
def quiet_converters() -> Iterator[None]:
    """Silence what skl2onnx does to warn of: it reads attributes that scikit-learn is about to drop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Attribute `prob[AB]_` was deprecated", FutureWarning)
        yield


def repaired_converters() -> dict[Any, Any]:
    """Return skl2onnx's ``custom_conversion_functions``: by estimator class, the wrapped converter."""
    from skl2onnx._supported_operators import _get_sklearn_operator_name
    from skl2onnx.common._registration import get_converter
    from sklearn import cluster, discriminant_analysis, ensemble, preprocessing, tree

    histogram = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)
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
    wrapped = dict.fromkeys(single, _in_single_precision) | dict.fromkeys(histogram, _in_given_precision)
    wrapped |= dict.fromkeys((cluster.KMeans, cluster.MiniBatchKMeans), _with_roots_of_no_less_than_zero)
    scalers = (preprocessing.StandardScaler, preprocessing.RobustScaler, preprocessing.MaxAbsScaler)
    wrapped |= dict.fromkeys(scalers, _with_plain_arithmetic)
    wrapped[ensemble.VotingClassifier] = _without_flattening
    wrapped[discriminant_analysis.LinearDiscriminantAnalysis] = _with_one_score_of_two
    return {
        kind: partial(wrapper, get_converter(_get_sklearn_operator_name(kind)))
        for kind, wrapper in wrapped.items()
    }


def _in_given_precision(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Compare float64 features with float64 thresholds, as histogram boosting does; it never rounds them.

    skl2onnx 1.20 always rounds the thresholds to float32, and passes numpy booleans among the integers,
    which protobuf refuses.
    """
    from skl2onnx.common.data_types import DoubleTensorType

    if not isinstance(operator.inputs[0].type, DoubleTensorType):
        with _changed_attributes(container, _without_booleans):
            convert(scope, operator, container)
        return
    kind = "Classifier" if hasattr(operator.raw_operator, "classes_") else "Regressor"
    with _single_outputs(scope, operator, container), _changed_attributes(container, _as_doubles):
        # Version 3 of the operator is the first with float64 attributes; the wrapper takes no such argument.
        convert._fct(scope, operator, container, f"TreeEnsemble{kind}", "ai.onnx.ml", 3)  # noqa: SLF001


def _as_doubles(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of a tree ensemble as float64 tensors."""
    from onnx import numpy_helper

    changed = _without_booleans(attributes)
    for name in _TREE_NUMBERS & changed.keys():
        numbers = np.asarray(changed.pop(name), dtype=np.float64).ravel()
        changed[f"{name}_as_tensor"] = numpy_helper.from_array(numbers, name)
    return changed


_TREE_NUMBERS = {"nodes_values", "nodes_hitrates", "base_values", "class_weights", "target_weights"}


def _without_booleans(attributes: dict[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [int(one) if isinstance(one, bool | np.bool_) else one for one in value]

    return {name: plain(value) for name, value in attributes.items()}


def _with_one_score_of_two(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Take the logistic of the one score of two classes.

    skl2onnx 1.20 takes the softmax of it and its negative, which squares the odds.
    """
    two = len(operator.raw_operator.classes_) == 2

    def logistic(attributes: dict[str, Any]) -> dict[str, Any]:
        softmax = two and attributes.get("post_transform") == "SOFTMAX"
        return {**attributes, "post_transform": "LOGISTIC"} if softmax else attributes

    with _changed_attributes(container, logistic):
        convert(scope, operator, container)


def _with_roots_of_no_less_than_zero(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Keep a squared distance from falling below zero by rounding, as scikit-learn does.

    skl2onnx 1.20 gives NaN for a row that is a centre.
    """
    from skl2onnx.common.data_types import DoubleTensorType

    double = isinstance(operator.inputs[0].type, DoubleTensorType)

    def add(own: Any, op_type: str, inputs: Any, *rest: Any, **attributes: Any) -> Any:
        if op_type == "Sqrt":
            zero, floored = (scope.get_unique_variable_name(name) for name in ("zero", "floored"))
            container.add_initializer(zero, _ONNX_DOUBLE if double else _ONNX_FLOAT, [1], [0.0])
            given = inputs if isinstance(inputs, str) else inputs[0]
            own("Max", [given, zero], [floored], op_version=13, name=scope.get_unique_operator_name("Max"))
            inputs = [floored]
        return own(op_type, inputs, *rest, **attributes)

    with _adding(container, add):
        convert(scope, operator, container)


def _with_plain_arithmetic(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Subtract and multiply where skl2onnx writes the operator `Scaler`: the same numbers, bit for bit.

    ONNX Runtime 1.31 takes 3 ns a value for it, 90 µs for 1,000 rows of 30, and a tenth of that for both.
    """
    from skl2onnx.common._apply_operation import apply_cast, apply_mul, apply_sub

    def constant(name: str, values: Any) -> str:
        unique: str = scope.get_unique_variable_name(name)
        container.add_initializer(unique, _ONNX_FLOAT, [len(values)], values)
        return unique

    def add(own: Any, op_type: str, inputs: Any, outputs: Any, *rest: Any, **attributes: Any) -> Any:
        if op_type != "Scaler":
            return own(op_type, inputs, outputs, *rest, **attributes)
        single, centred = (scope.get_unique_variable_name(name) for name in ("single", "centred"))
        offset, scale = (constant(name, attributes[name]) for name in ("offset", "scale"))
        apply_cast(scope, inputs, single, container, to=_ONNX_FLOAT)  # `Scaler` takes integers as well.
        apply_sub(scope, [single, offset], centred, container)
        return apply_mul(scope, [centred, scale], outputs, container)

    with _adding(container, add):
        convert(scope, operator, container)


def _without_flattening(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Convert a vote whose ``flatten_transform`` is at its default: of matter to `transform` only."""
    model = operator.raw_operator
    flatten, model.flatten_transform = model.flatten_transform, False
    try:
        convert(scope, operator, container)
    finally:
        model.flatten_transform = flatten


def _changed_attributes(
    container: Any, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> contextlib.AbstractContextManager[None]:
    """Let `change` see the attributes of every node before it is made."""

    def add(own: Any, *values: Any, **attributes: Any) -> Any:
        return own(*values, **change(attributes))

    return _adding(container, add)


@contextlib.contextmanager
def _adding(container: Any, add: Callable[..., Any]) -> Iterator[None]:
    """Have `add` called for every node; its first argument is how the container adds one."""
    own = container.add_node
    container.add_node = partial(add, own)
    try:
        yield
    finally:
        container.add_node = own


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
    single = scope.declare_local_variable("single", FloatTensorType(given.type.shape))
    apply_cast(scope, given.full_name, single.full_name, container, to=_ONNX_FLOAT)
    operator.inputs.set_element(0, single)
    try:
        with _single_outputs(scope, operator, container), _changed_attributes(container, _rounded_down):
            convert(scope, operator, container)
    finally:
        operator.inputs.set_element(0, given)
    single.init_status(is_fed=True)


@contextlib.contextmanager
def _single_outputs(scope: Any, operator: Any, container: Any) -> Iterator[None]:
    """Let a converter give float32 where float64 was declared, and cast after it: trees give no other."""
    from skl2onnx.common._apply_operation import apply_cast
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    wide = [(at, one) for at, one in enumerate(operator.outputs) if isinstance(one.type, DoubleTensorType)]
    narrow = [scope.declare_local_variable("single", FloatTensorType(one.type.shape)) for _, one in wide]
    for (at, _), one in zip(wide, narrow, strict=True):
        operator.outputs.set_element(at, one)
    try:
        yield
    finally:
        for at, one in wide:
            operator.outputs.set_element(at, one)
    for (_, to), one in zip(wide, narrow, strict=True):
        apply_cast(scope, one.full_name, to.full_name, container, to=_ONNX_DOUBLE)
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
