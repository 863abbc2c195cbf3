"""Estimators around another one: thresholds, calibration, transformed targets; and those without any."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn import preprocessing

from lading.convert.graph_nodes import DOUBLE, FLOAT, INT64, GraphNodes
from lading.convert.packages import BOOSTERS
from lading.convert.sklearn_curves import interpolated, isotonic, snapped
from lading.convert.sklearn_functions import apply_function, logistic
from lading.convert.sklearn_powers import scaler_of
from lading.errors import ConverterFailed

_END = 2**31  # of a slice: whatever comes
_BOUND = 1e-7  # scikit-learn's BOUNDS_THRESHOLD: nearer to 0 or 1 is the end of a distribution


def convert_dummy_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Convert a DummyClassifier of a strategy without chance."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    if model.n_outputs_ != 1 or model.strategy not in ("prior", "most_frequent", "constant"):
        chance = model.strategy in ("stratified", "uniform")
        raise ConverterFailed(
            "`DummyClassifier`, `strategy`",
            expected="one target, and `prior`, `most_frequent` or `constant`",
            found=f"`{model.strategy}`, whose answers are drawn at random" if chance else "several targets",
            hint="fit with strategy='prior'",
        )
    row = np.zeros((1, 1))
    probabilities = np.asarray(model.predict_proba(row), dtype=np.float64)  # [1, classes]
    label = np.asarray(model.classes_ == model.predict(row)[0]).argmax()
    rows = _rows(nodes, operator)
    nodes.label(
        nodes.node("Expand", [nodes.constant(np.array([label])), rows]), model.classes_, operator.outputs[0]
    )
    shape = nodes.node("Concat", [rows, nodes.axis(probabilities.shape[1])], axis=0)
    nodes.finish(nodes.node("Expand", [nodes.constant(probabilities), shape]), operator.outputs[1])


def convert_dummy_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Convert a DummyRegressor."""
    nodes, values = (
        GraphNodes(scope, container),
        np.asarray(operator.raw_operator.constant_, dtype=np.float64),
    )
    shape = nodes.node("Concat", [_rows(nodes, operator), nodes.axis(values.shape[1])], axis=0)
    nodes.finish(nodes.node("Expand", [nodes.constant(values), shape]), operator.outputs[0])


def _rows(nodes: GraphNodes, operator: Any) -> str:
    shape = nodes.node("Shape", [operator.inputs[0].full_name])
    return nodes.node("Slice", [shape, nodes.axis(0), nodes.axis(1)])


def convert_threshold(scope: Any, operator: Any, container: Any) -> None:
    """Convert FixedThresholdClassifier and TunedThresholdClassifierCV.

    skl2onnx 1.20 puts out the label of the classifier inside, whatever the threshold.
    """
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    inner = getattr(model, "estimator_", model.estimator)
    has_probabilities = hasattr(inner, "predict_proba")
    by_probability = _response_method(model, inner) == "predict_proba"
    if has_probabilities and not by_probability:
        raise ConverterFailed(
            f"`{type(model).__name__}`, `response_method`",
            expected="`predict_proba` where the estimator has it",
            found=f"`{model.response_method}`",
            hint="fit with response_method='predict_proba'",
        )
    values = nodes.double(nodes.answers(inner, operator.inputs, scores=not by_probability)[1])
    first, second = model.classes_
    positive = _positive_label(model)
    flipped = positive is not None and positive == first
    # The probability of the positive class, or the score, whose sign is that of the second.
    start, end = (0, 1) if flipped and by_probability else (-1, _END)
    column = nodes.node("Slice", [values, nodes.axis(start), nodes.axis(end), nodes.axis(1)])  # [batch, 1]
    if flipped and not by_probability:
        column = nodes.node("Neg", [column])
    limit = nodes.constant(np.float64(_threshold(model, by_probability)))
    index = nodes.node("Cast", [nodes.node("GreaterOrEqual", [column, limit])], to=INT64)
    if flipped:
        index = nodes.node("Sub", [nodes.constant(np.int64(1)), index])
    index = nodes.node("Squeeze", [index, nodes.axis(1)])
    nodes.label(index, np.asarray([first, second]), operator.outputs[0])
    nodes.finish(values, operator.outputs[1])


def _response_method(model: Any, inner: Any) -> str:
    if model.response_method != "auto":
        return str(model.response_method)
    return "predict_proba" if hasattr(inner, "predict_proba") else "decision_function"


def _threshold(model: Any, by_probability: bool) -> float:
    if hasattr(model, "best_threshold_"):
        return float(model.best_threshold_)
    if model.threshold == "auto":
        return 0.5 if by_probability else 0.0
    return float(model.threshold)


def _positive_label(model: Any) -> Any:
    if hasattr(model, "_curve_scorer"):
        return model._curve_scorer._get_pos_label()  # noqa: SLF001  # as its own predict does
    return model.pos_label


def convert_calibrated(scope: Any, operator: Any, container: Any) -> None:
    """Convert CalibratedClassifierCV: the mean of what its calibrated classifiers answer.

    skl2onnx 1.20 takes the nearest point of an isotonic curve, and does not interpolate.
    """
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    parts = [
        _calibrated(nodes, part, operator, len(model.classes_)) for part in model.calibrated_classifiers_
    ]
    total = parts[0]
    for part in parts[1:]:
        total = nodes.node("Add", [total, part])
    mean = nodes.node("Div", [total, nodes.constant(np.float64(len(parts)))])
    index = nodes.node("ArgMax", [mean], axis=1, keepdims=0)
    nodes.label(index, model.classes_, operator.outputs[0])
    nodes.finish(mean, operator.outputs[1])


def _calibrated(nodes: GraphNodes, part: Any, operator: Any, classes: int) -> str:
    """Return the probabilities of one calibrated classifier, ``[batch, classes]``."""
    inner = part.estimator
    scores = hasattr(inner, "decision_function")
    if part.method not in ("sigmoid", "isotonic") or len(inner.classes_) != classes:
        raise ConverterFailed(
            "`CalibratedClassifierCV`",
            expected="method `sigmoid` or `isotonic`, and every class in every fold",
            found=f"method `{part.method}`, {len(inner.classes_)} of {classes} classes",
            hint="fit with method='isotonic' or 'sigmoid', and fewer folds",
        )
    answers = nodes.double(nodes.answers(inner, operator.inputs, scores=scores)[1])
    rounded = _is_of_trees(inner) and part.method == "isotonic"
    columns = []
    for at, calibrator in enumerate(part.calibrators):
        # Of two classes the score of the second counts: the last column of one or two.
        start, end = (at, at + 1) if classes > 2 else (-1, _END)
        column = nodes.node("Slice", [answers, nodes.axis(start), nodes.axis(end), nodes.axis(1)])
        if rounded:
            column = snapped(nodes, column, np.asarray(calibrator.X_thresholds_, dtype=np.float64))
        columns.append(_calibrate(nodes, column, calibrator, part.method))
    unit = nodes.constant(np.float64(1))
    if classes == 2:
        both = [nodes.node("Sub", [unit, columns[0]]), columns[0]]
        return _at_most_one(nodes, nodes.node("Concat", both, axis=1))
    joined = nodes.node("Concat", columns, axis=1)
    total = nodes.node("ReduceSum", [joined, nodes.axis(1)], keepdims=1)
    none = nodes.node("Equal", [total, nodes.constant(np.float64(0))])
    shares = nodes.node("Div", [joined, nodes.node("Where", [none, unit, total])])
    equal = nodes.constant(np.full((1, classes), 1 / classes))
    return _at_most_one(nodes, nodes.node("Where", [none, equal, shares]))


def _is_of_trees(model: Any) -> bool:
    """Return whether a classifier answers what ONNX's operator for trees sums up in float32."""
    while hasattr(model, "steps"):
        model = model.steps[-1][1]
    module = type(model).__module__
    return module.partition(".")[0] in BOOSTERS or module.startswith(("sklearn.ensemble.", "sklearn.tree."))


def _calibrate(nodes: GraphNodes, column: str, calibrator: Any, method: str) -> str:
    if method == "isotonic":
        return isotonic(nodes, column, calibrator)
    slope, offset = (nodes.constant(np.float64(value)) for value in (calibrator.a_, calibrator.b_))
    exponent = nodes.node("Add", [nodes.node("Mul", [slope, column]), offset])
    return logistic(nodes, nodes.node("Neg", [exponent]))


def _at_most_one(nodes: GraphNodes, values: str) -> str:
    unit = nodes.constant(np.float64(1))
    return nodes.node("Where", [nodes.node("Greater", [values, unit]), unit, values])


def convert_transformed_target(scope: Any, operator: Any, container: Any) -> None:
    """Convert TransformedTargetRegressor: the regressor, and the way back from its transformed target."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    answered = nodes.double(nodes.answers(model.regressor_, operator.inputs)[0])
    targets = np.reshape(model.regressor_.predict(np.zeros((1, model.n_features_in_))), (1, -1)).shape[1]
    value = nodes.node("Reshape", [answered, nodes.constant(np.array([-1, targets]))])
    nodes.finish(_undone(nodes, value, model.transformer_), operator.outputs[0])


def _undone(nodes: GraphNodes, value: str, transformer: Any) -> str:
    """Return what a transformer's ``inverse_transform`` makes of ``[batch, targets]``."""
    match transformer:
        case preprocessing.FunctionTransformer():
            where = "`TransformedTargetRegressor`, the inverse of the target"
            return apply_function(nodes, value, transformer.inverse_func, transformer.inv_kw_args, where)
        case preprocessing.StandardScaler():
            return _scaled_back(
                nodes, value, transformer.scale_, transformer.mean_ if transformer.with_mean else None
            )
        case preprocessing.RobustScaler():
            return _scaled_back(
                nodes,
                value,
                transformer.scale_ if transformer.with_scaling else None,
                transformer.center_ if transformer.with_centering else None,
            )
        case preprocessing.MaxAbsScaler():
            return _scaled_back(nodes, value, transformer.scale_, None)
        case preprocessing.MinMaxScaler():
            lowered = nodes.node("Sub", [value, nodes.constant(np.float64(transformer.min_))])
            return nodes.node("Div", [lowered, nodes.constant(np.float64(transformer.scale_))])
        case preprocessing.PowerTransformer():
            scaler = scaler_of(transformer)
            value = value if scaler is None else _undone(nodes, value, scaler)
            return _by_column(nodes, value, transformer.lambdas_, _powers[transformer.method])
        case preprocessing.QuantileTransformer():
            return _by_column(nodes, value, transformer.quantiles_.T, partial(_quantile, transformer))
    raise ConverterFailed(
        "`TransformedTargetRegressor`, `transformer`",
        expected="a transformer whose inverse is known: a scaler, PowerTransformer, QuantileTransformer, or"
        " FunctionTransformer of a numpy function",
        found=f"`{type(transformer).__name__}`",
        hint="use func and inverse_func, such as np.log1p and np.expm1",
    )


def _scaled_back(nodes: GraphNodes, value: str, scale: Any, center: Any) -> str:
    if scale is not None:
        value = nodes.node("Mul", [value, nodes.constant(np.float64(scale))])
    return value if center is None else nodes.node("Add", [value, nodes.constant(np.float64(center))])


def _by_column(nodes: GraphNodes, value: str, parameters: Any, build: Any) -> str:
    """Build each column ``[batch, 1]`` with its own parameter."""
    columns = [
        build(nodes, nodes.node("Gather", [value, nodes.axis(at)], axis=1), parameter)
        for at, parameter in enumerate(parameters)
    ]
    return columns[0] if len(columns) == 1 else nodes.node("Concat", columns, axis=1)


def _yeo_johnson(nodes: GraphNodes, value: str, power: float) -> str:
    """Undo Yeo and Johnson's transformation, with scikit-learn's cases."""
    unit, minus = nodes.constant(np.float64(1)), nodes.constant(np.float64(-1))

    def grown(base: str, rate: float) -> str:
        """Return ``(base * rate + 1) ** (1 / rate)``, of rate 0 its limit."""
        if abs(rate) < np.spacing(1.0):
            return nodes.node("Exp", [base])
        risen = nodes.node("Add", [nodes.node("Mul", [base, nodes.constant(np.float64(rate))]), unit])
        return nodes.node("Pow", [risen, nodes.constant(np.float64(1 / rate))])

    positive = nodes.node("Sub", [grown(value, power), unit])
    negative = nodes.node("Sub", [unit, grown(nodes.node("Mul", [value, minus]), 2 - power)])
    above = nodes.node("GreaterOrEqual", [value, nodes.constant(np.float64(0))])
    return nodes.node("Where", [above, positive, negative])


def _box_cox(nodes: GraphNodes, value: str, power: float) -> str:
    if power == 0:
        return nodes.node("Exp", [value])
    risen = nodes.node("Mul", [value, nodes.constant(np.float64(power))])
    base = nodes.node("Add", [risen, nodes.constant(np.float64(1))])
    return nodes.node("Pow", [base, nodes.constant(np.float64(1 / power))])


_powers = {"yeo-johnson": _yeo_johnson, "box-cox": _box_cox}


def _quantile(transformer: Any, nodes: GraphNodes, value: str, quantiles: Any) -> str:
    """Undo a quantile transformation of one column; a normal distribution becomes a uniform one first."""
    references = np.asarray(transformer.references_, dtype=np.float64)
    if transformer.output_distribution == "uniform":
        return interpolated(nodes, value, references, np.asarray(quantiles, dtype=np.float64))
    root = nodes.constant(np.float64(np.sqrt(2)))
    # ONNX Runtime has Erf in float32 only.
    single = nodes.node("Cast", [nodes.node("Div", [value, root])], to=FLOAT)
    error = nodes.node("Cast", [nodes.node("Erf", [single])], to=DOUBLE)
    unit, half = nodes.constant(np.float64(1)), nodes.constant(np.float64(0.5))
    share = nodes.node("Mul", [nodes.node("Add", [error, unit]), half])
    inside = interpolated(nodes, share, references, np.asarray(quantiles, dtype=np.float64))
    low, high = nodes.constant(np.float64(_BOUND)), nodes.constant(np.float64(1 - _BOUND))
    first, last = (nodes.constant(np.float64(quantiles[at])) for at in (0, -1))
    inside = nodes.node("Where", [nodes.node("Greater", [share, high]), last, inside])
    return nodes.node("Where", [nodes.node("Less", [share, low]), first, inside])
