"""Converters of skl2onnx that are wrong or slow in known ways, wrapped so that they are not.

Each wrapper says what was wrong and in which version. A repair does not vouch for itself: packing proves its
result like any other.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from onnx import numpy_helper
from skl2onnx._supported_operators import _get_sklearn_operator_name
from skl2onnx.common._apply_operation import apply_cast, apply_div, apply_sub
from skl2onnx.common._registration import get_converter
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn import (
    cluster,
    decomposition,
    discriminant_analysis,
    ensemble,
    gaussian_process,
    mixture,
    naive_bayes,
    preprocessing,
    tree,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from lading.convert.sklearn_precision import in_double_precision
from lading.convert.sklearn_text import convert_text

_ONNX_FLOAT, _ONNX_DOUBLE = 1, 11  # TensorProto.FLOAT and DOUBLE

_TREE_NUMBERS = {"nodes_values", "nodes_hitrates", "base_values", "class_weights", "target_weights"}

# scikit-learn's trees convert features to float32 (its documentation of `predict`) and compare them with
# float64 thresholds; histogram boosting never rounds.
_FLOAT32_TREES = (
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
_FLOAT64_TREES = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)
# Of these, float32 answered NaN for large numbers, or other digits than the tolerance allows.
_DOUBLE_PRECISION = (
    cluster.KMeans,
    cluster.MiniBatchKMeans,
    decomposition.KernelPCA,
    discriminant_analysis.QuadraticDiscriminantAnalysis,
    gaussian_process.GaussianProcessRegressor,
    mixture.BayesianGaussianMixture,
    mixture.GaussianMixture,
    naive_bayes.GaussianNB,
)
_SCALERS = (preprocessing.StandardScaler, preprocessing.RobustScaler, preprocessing.MaxAbsScaler)


@contextlib.contextmanager
def quiet_converters() -> Iterator[None]:
    """Silence the warnings that skl2onnx causes: it reads attributes that scikit-learn is about to drop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Attribute `prob[AB]_` was deprecated", FutureWarning)
        yield


def converter_of(kind: type) -> Any:
    """Return skl2onnx's converter of an estimator class; raises `ValueError` if it has none."""
    return get_converter(_get_sklearn_operator_name(kind))


def repaired_converters() -> dict[Any, Any]:
    """Return skl2onnx's ``custom_conversion_functions``: by estimator class, the wrapped converter."""
    wrapped = dict.fromkeys(_FLOAT32_TREES, _in_single_precision)
    wrapped |= dict.fromkeys(_FLOAT64_TREES, _in_given_precision)
    wrapped |= dict.fromkeys((cluster.KMeans, cluster.MiniBatchKMeans), _without_negative_squares)
    wrapped |= dict.fromkeys(_SCALERS, _with_plain_arithmetic)
    wrapped[ensemble.VotingClassifier] = _without_flattening
    wrapped[discriminant_analysis.LinearDiscriminantAnalysis] = _with_logistic_of_one_score
    repaired: dict[Any, Any] = {
        kind: partial(wrapper, converter_of(kind)) for kind, wrapper in wrapped.items()
    }
    for kind in _DOUBLE_PRECISION:
        repaired[kind] = partial(in_double_precision, repaired.get(kind) or converter_of(kind))
    return repaired | dict.fromkeys((CountVectorizer, TfidfVectorizer), convert_text)


def _in_given_precision(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Compare features of either type with the float64 thresholds of histogram boosting.

    skl2onnx 1.20 always rounds the thresholds to float32, some of them upwards, and passes numpy booleans
    among the integers, which protobuf refuses.
    """
    if not isinstance(operator.inputs[0].type, DoubleTensorType):
        with _changed_attributes(container, partial(_as_boosted, operator.raw_operator)):
            convert(scope, operator, container)
        return
    kind = "Classifier" if hasattr(operator.raw_operator, "classes_") else "Regressor"
    with _single_outputs(scope, operator, container), _changed_attributes(container, _as_doubles):
        # Version 3 of the operator is the first with float64 attributes; the public call takes no version.
        convert._fct(scope, operator, container, f"TreeEnsemble{kind}", "ai.onnx.ml", 3)  # noqa: SLF001


def _as_boosted(model: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes with the model's float64 thresholds rounded down, not to the nearest float32."""
    changed = _without_booleans(attributes)
    trees = [tree for iteration in model._predictors for tree in iteration]  # noqa: SLF001  # no public way
    nodes = np.concatenate([tree.nodes for tree in trees])
    if len(nodes) != len(changed.get("nodes_values", ())):
        return changed
    return _rounded_down({**changed, "nodes_values": np.where(nodes["is_leaf"], 0.0, nodes["num_threshold"])})


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


def _with_logistic_of_one_score(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Take the logistic of the one score that two classes have.

    skl2onnx 1.20 takes the softmax of it and its negative, which squares the odds.
    """
    two_classes = len(operator.raw_operator.classes_) == 2

    def logistic(attributes: dict[str, Any]) -> dict[str, Any]:
        softmax = two_classes and attributes.get("post_transform") == "SOFTMAX"
        return {**attributes, "post_transform": "LOGISTIC"} if softmax else attributes

    with _changed_attributes(container, logistic):
        convert(scope, operator, container)


def _without_negative_squares(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Raise squared distances that rounding made negative to zero, as scikit-learn does.

    skl2onnx 1.20 takes their root, which is NaN for a row that is a centre.
    """
    double = isinstance(operator.inputs[0].type, DoubleTensorType)

    def add(own: Any, op_type: str, inputs: Any, *rest: Any, **attributes: Any) -> Any:
        if op_type == "Sqrt":
            zero, floored = (scope.get_unique_variable_name(name) for name in ("zero", "floored"))
            container.add_initializer(zero, _ONNX_DOUBLE if double else _ONNX_FLOAT, [1], [0.0])
            squares = inputs if isinstance(inputs, str) else inputs[0]
            own("Max", [squares, zero], [floored], op_version=13, name=scope.get_unique_operator_name("Max"))
            inputs = [floored]
        return own(op_type, inputs, *rest, **attributes)

    with _intercepted_nodes(container, add):
        convert(scope, operator, container)


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
        kind = _ONNX_DOUBLE if wide else _ONNX_FLOAT
        container.add_initializer(constant, kind, [len(numbers)], numbers)  # [columns]
        if not wide:
            apply(scope, [value, constant], result, container)
            return str(result)
        double, exact = (scope.get_unique_variable_name(name) for name in ("double", "exact"))
        apply_cast(scope, value, double, container, to=_ONNX_DOUBLE)
        apply(scope, [double, constant], exact, container)
        apply_cast(scope, exact, result, container, to=_ONNX_FLOAT)
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
        return apply_cast(scope, value, outputs, container, to=_ONNX_FLOAT)

    with _intercepted_nodes(container, add):
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


def _without_flattening(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Convert a vote whose ``flatten_transform`` is true, the default.

    skl2onnx 1.20 refuses it, although it matters to `transform` only.
    """
    model = operator.raw_operator
    flatten, model.flatten_transform = model.flatten_transform, False
    try:
        convert(scope, operator, container)
    finally:
        model.flatten_transform = flatten


def _in_single_precision(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Round to float32 in front of a tree, as scikit-learn's trees do, and go on in float64 after it.

    skl2onnx 1.20 compares float64 features with thresholds that were rounded to float32 instead, and in
    trees of several targets float32 features with thresholds that were rounded up: a row that is exactly
    between two training values takes the other branch.
    """
    features = operator.inputs[0]
    changed = partial(_changed_attributes, container, partial(_as_trained, operator.raw_operator))
    if not isinstance(features.type, DoubleTensorType):
        with changed():
            convert(scope, operator, container)
        return
    single = scope.declare_local_variable("single", FloatTensorType(features.type.shape))
    apply_cast(scope, features.full_name, single.full_name, container, to=_ONNX_FLOAT)
    operator.inputs.set_element(0, single)
    try:
        with _single_outputs(scope, operator, container), changed():
            convert(scope, operator, container)
    finally:
        operator.inputs.set_element(0, features)
    single.init_status(is_fed=True)


@contextlib.contextmanager
def _single_outputs(scope: Any, operator: Any, container: Any) -> Iterator[None]:
    """Make a converter's float64 outputs float32, and cast them afterwards: tree ensembles give no others."""
    doubles = [
        (at, output)
        for at, output in enumerate(operator.outputs)
        if isinstance(output.type, DoubleTensorType)
    ]
    singles = [
        scope.declare_local_variable("single", FloatTensorType(output.type.shape)) for _, output in doubles
    ]
    for (at, _), single in zip(doubles, singles, strict=True):
        operator.outputs.set_element(at, single)
    try:
        yield
    finally:
        for at, output in doubles:
            operator.outputs.set_element(at, output)
    for (_, output), single in zip(doubles, singles, strict=True):
        apply_cast(scope, single.full_name, output.full_name, container, to=_ONNX_DOUBLE)
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
    below = np.where(narrow > wide, np.nextafter(narrow, np.float32(-np.inf)), narrow)
    return {**attributes, "nodes_values": below.tolist()}


def _changed_attributes(
    container: Any, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> contextlib.AbstractContextManager[None]:
    """Pass the attributes of every node through `change` before it is made."""

    def add(own: Any, *values: Any, **attributes: Any) -> Any:
        return own(*values, **change(attributes))

    return _intercepted_nodes(container, add)


@contextlib.contextmanager
def _intercepted_nodes(container: Any, add: Callable[..., Any]) -> Iterator[None]:
    """Call `add` for every node; its first argument is the container's own method that adds one."""
    own = container.add_node
    container.add_node = partial(add, own)
    try:
        yield
    finally:
        container.add_node = own
