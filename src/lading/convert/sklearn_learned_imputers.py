"""`KNNImputer` and `IterativeImputer` as graphs in float64: what is missing follows from the other columns.

skl2onnx 1.20 converts neither from float64 nor with weights by distance, and knows no `IterativeImputer`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lading.convert.column_nodes import ColumnNodes, Value, joined_kind, joined_value, tensor_type
from lading.convert.graph_nodes import DOUBLE
from lading.convert.sklearn_imputers import indicated_columns, is_nan, missing_mask
from lading.errors import ConverterFailed
from lading.onnx_runtime.refusals import Refused
from lading.signature import Array

_LINEAR = "BayesianRidge (the default), Ridge, LinearRegression, Lasso or another with coef_ and intercept_"
_FAR = np.finfo(np.float64).max  # behind every distance between rows that can be compared
_PROBES = 16


def learned_imputer_shape(operator: Any) -> None:
    """Declare the output: the columns with a value in training, and those of the indicator."""
    imputer, (kind, _) = operator.raw_operator, joined_kind(operator)
    width = len(_kept(imputer)) + len(indicated_columns(imputer))
    operator.outputs[0].type = tensor_type("float64" if kind == "float64" else "float32", width)


def convert_knn_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Convert a `KNNImputer`: a missing value is the mean of those of the nearest rows of training."""
    nodes, imputer = ColumnNodes(scope, container), operator.raw_operator
    _check_neighbours(imputer)
    value, missing = _numbers(nodes, operator)
    fitted = np.asarray(imputer._fit_X, dtype=np.float64)  # noqa: SLF001  # no public way
    distances = _distances(nodes, value, missing, fitted, imputer.missing_values)
    absent = _absent(fitted, imputer.missing_values)
    rounding = _rounding(nodes, value, missing, np.where(absent, 0.0, fitted))
    columns = []
    for at in _kept(imputer):
        column = nodes.columns(value.name, [at])  # [batch, 1]
        donors = np.flatnonzero(~absent[:, at])
        if len(donors):
            own, gap = nodes.columns(distances, donors), nodes.columns(missing, [at])
            mean = _mean_of_nearest(nodes, own, fitted[donors, at], imputer)
            if imputer.n_neighbors < len(donors):
                tied = _tied(nodes, own, fitted[donors, at], imputer.n_neighbors, rounding)
                refused = nodes.node("And", [gap, tied])
                ones = nodes.refusing(refused, Refused.EQUALLY_NEAR, type(imputer).__name__)
                mean = nodes.node("Mul", [mean, nodes.double(ones)])
            column = nodes.node("Where", [gap, mean, column])
        else:  # kept although training had no value: 0, whatever comes
            column = nodes.node(
                "Mul", [nodes.double(nodes.node("IsInf", [column])), nodes.constant(np.zeros(1))]
            )
        columns.append(column)
    _finish(nodes, operator, columns, missing)


def convert_iterative_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Convert an `IterativeImputer` over linear estimators: each round of each column, one after another."""
    nodes, imputer = ColumnNodes(scope, container), operator.raw_operator
    _check_rounds(imputer)
    value, missing = _numbers(nodes, operator)
    kept = _kept(imputer)
    first = np.asarray(imputer.initial_imputer_.statistics_, dtype=np.float64)[kept]
    own, gaps = nodes.columns(value.name, kept), nodes.columns(missing, kept)
    filled = nodes.node("Where", [gaps, nodes.constant(first.reshape(1, -1)), own])
    for at, others, estimator in imputer.imputation_sequence_:
        weights = np.zeros((len(kept), 1))
        weights[np.asarray(others), 0] = np.ravel(estimator.coef_)
        product = nodes.node("MatMul", [filled, nodes.constant(weights)])
        answer = nodes.node(
            "Add", [product, nodes.constant(np.full(1, float(np.ravel(estimator.intercept_)[0])))]
        )
        for op, limit in (("Max", imputer.min_value), ("Min", imputer.max_value)):
            if limit is not None and np.isfinite(limit):
                answer = nodes.node(op, [answer, nodes.constant(np.full(1, float(limit)))])
        here = nodes.node("And", [gaps, nodes.constant(np.arange(len(kept)) == at)])
        filled = nodes.node("Where", [here, answer, filled])
    _finish(nodes, operator, [filled], missing)


def _numbers(nodes: ColumnNodes, operator: Any) -> tuple[Value, str]:
    """Return the columns in float64, and which of their values are missing."""
    value = joined_value(nodes, operator)
    if value.kind == "string":
        name = type(operator.raw_operator).__name__
        raise ConverterFailed(f"`{name}`", expected="columns of numbers", found="columns of texts")
    missing = missing_mask(nodes, value, operator.raw_operator.missing_values)
    name = value.name if value.kind == "float64" else nodes.double(value.name)
    return Value(name, "float64", value.width), missing


def _finish(nodes: ColumnNodes, operator: Any, columns: list[str], missing: str) -> None:
    """Put the columns side by side, and the indicator behind them."""
    indicated = indicated_columns(operator.raw_operator)
    if len(indicated):
        columns = [*columns, nodes.node("Cast", [nodes.columns(missing, indicated)], to=DOUBLE)]
    nodes.finish(nodes.joined(columns), operator.outputs[0])


def _absent(rows: Array, placeholder: Any) -> Array:
    return np.asarray(np.isnan(rows) if is_nan(placeholder) else rows == placeholder)


def _kept(imputer: Any) -> list[int]:
    """Return the columns of the output: not those without a value in training, unless they are kept."""
    count = imputer.n_features_in_
    if imputer.keep_empty_features:
        return list(range(count))
    if hasattr(imputer, "initial_imputer_"):
        statistics = np.asarray(imputer.initial_imputer_.statistics_, dtype=np.float64)
        return np.flatnonzero(~np.isnan(statistics)).tolist()
    empty = _absent(np.asarray(imputer._fit_X), imputer.missing_values).all(axis=0)  # noqa: SLF001
    return np.flatnonzero(~empty).tolist()


def _distances(nodes: ColumnNodes, value: Value, missing: str, fitted: Array, placeholder: Any) -> str:
    """Return scikit-learn's `nan_euclidean_distances` to the rows of training, ``[batch, rows]``."""
    absent = _absent(fitted, placeholder)
    zeros, present = np.where(absent, 0.0, fitted), (~absent).astype(np.float64)  # [rows, columns]
    zero = nodes.constant(np.zeros(1))
    own = nodes.node("Where", [missing, zero, value.name])
    squares, gaps = nodes.node("Mul", [own, own]), nodes.double(missing)
    # In scikit-learn's order: what its rounding leaves of a row's distance to itself weighs by its inverse.
    total = nodes.node(
        "Mul", [nodes.node("MatMul", [own, nodes.constant(zeros.T)]), nodes.constant(np.full(1, -2.0))]
    )
    total = nodes.node("Add", [total, nodes.node("ReduceSum", [squares, nodes.axis(1)], keepdims=1)])
    total = nodes.node("Add", [total, nodes.constant((zeros**2).sum(axis=1).reshape(1, -1))])
    total = nodes.node("Max", [total, zero])
    total = nodes.node("Sub", [total, nodes.node("MatMul", [squares, nodes.constant(1.0 - present.T)])])
    total = nodes.node("Sub", [total, nodes.node("MatMul", [gaps, nodes.constant((zeros**2).T)])])
    here = nodes.double(nodes.node("Not", [missing]))
    common = nodes.node("MatMul", [here, nodes.constant(present.T)])  # columns that both rows have
    shared = nodes.node("Max", [common, nodes.constant(np.ones(1))])
    mean = nodes.node("Div", [nodes.node("Max", [total, zero]), shared])
    scaled = nodes.node("Mul", [mean, nodes.constant(np.full(1, float(value.width)))])
    none = nodes.node("Equal", [common, zero])
    return nodes.node("Where", [none, nodes.constant(np.full(1, _FAR)), nodes.node("Sqrt", [scaled])])


def _rounding(nodes: ColumnNodes, value: Value, missing: str, fitted: Array) -> str:
    """Return what rounding may change of a row's squared distances, ``[batch, 1]``."""
    own = nodes.node("Where", [missing, nodes.constant(np.zeros(1)), value.name])
    squares = nodes.node("ReduceSum", [nodes.node("Mul", [own, own]), nodes.axis(1)], keepdims=1)
    size = nodes.node("Add", [squares, nodes.constant(np.full(1, (fitted**2).sum(axis=1).max()))])
    # Each term of the sum is rounded a few times, and the whole is scaled by the share of common columns.
    share = 4 * (value.width + 2) * value.width * np.finfo(np.float64).eps
    return nodes.node("Mul", [size, nodes.constant(np.full(1, share))])


def _tied(nodes: ColumnNodes, distances: str, values: Array, count: int, rounding: str) -> str:
    """Mark the rows whose nearest `count` donors are as near as others with other values.

    scikit-learn takes those that numpy's partition puts first, which depends on the processor.
    """
    squares = nodes.node("Mul", [distances, distances])  # [batch, donors]
    nearest, _ = nodes.smallest(squares, count + 1)
    last, next_ = (nodes.columns(nearest, [at]) for at in (count - 1, count))  # [batch, 1]
    equal = nodes.node("LessOrEqual", [nodes.node("Sub", [next_, last]), rounding])
    apart = nodes.node("Abs", [nodes.node("Sub", [squares, last])])
    among = nodes.node("LessOrEqual", [apart, rounding])
    row = nodes.constant(values.reshape(1, -1))
    low, high = (
        nodes.node(op, [nodes.node("Where", [among, row, nodes.constant(np.full(1, end))]), nodes.axis(1)])
        for op, end in (("ReduceMin", np.inf), ("ReduceMax", -np.inf))
    )
    return nodes.node("And", [equal, nodes.node("Less", [low, high])])


def _mean_of_nearest(nodes: ColumnNodes, distances: str, values: Array, imputer: Any) -> str:
    """Return the mean of a column over the nearest donors, or over all if none can be compared."""
    count = min(imputer.n_neighbors, len(values))
    nearest, index = nodes.smallest(distances, count)
    taken = nodes.node("Gather", [nodes.constant(values.astype(np.float64)), index])  # [batch, count]
    known = nodes.node("Less", [nearest, nodes.constant(np.full(1, _FAR))])
    weights = nodes.double(known)
    if imputer.weights == "distance":
        # Of rows at no distance, each counts as much, and no other does.
        zero = nodes.node("Equal", [nearest, nodes.constant(np.zeros(1))])
        some = nodes.node("ReduceMax", [nodes.double(zero), nodes.axis(1)], keepdims=1)
        positive = nodes.node("Where", [zero, nodes.constant(np.ones(1)), nearest])
        inverse = nodes.node("Div", [weights, positive])
        is_some = nodes.node("Greater", [some, nodes.constant(np.zeros(1))])
        weights = nodes.node("Where", [is_some, nodes.double(zero), inverse])
    total = nodes.node("ReduceSum", [nodes.node("Mul", [weights, taken]), nodes.axis(1)], keepdims=1)
    weight = nodes.node("ReduceSum", [weights, nodes.axis(1)], keepdims=1)
    none = nodes.node("Equal", [weight, nodes.constant(np.zeros(1))])
    divisor = nodes.node("Where", [none, nodes.constant(np.ones(1)), weight])
    of_all = nodes.constant(np.full(1, values.mean()))
    return nodes.node("Where", [none, of_all, nodes.node("Div", [total, divisor])])


def _check_neighbours(imputer: Any) -> None:
    for name, value, known in (
        ("metric", imputer.metric, ("nan_euclidean",)),
        ("weights", imputer.weights, ("uniform", "distance")),
    ):
        if value not in known:
            raise ConverterFailed(
                f"`KNNImputer`, `{name}`",
                expected=" or ".join(f"`{text}`" for text in known),
                found="a function: ONNX has no Python code",
                hint=f"fit with {name}='{known[0]}'",
            )


def _check_rounds(imputer: Any) -> None:
    """Refuse what draws numbers, and estimators that are not linear."""
    where = "`IterativeImputer`"
    if imputer.sample_posterior:
        raise ConverterFailed(
            where,
            expected="sample_posterior=False: a server gives the same answer each time",
            found="sample_posterior=True",
            hint="fit with sample_posterior=False",
        )
    if imputer.keep_empty_features and any(np.isnan(np.asarray(imputer.initial_imputer_.statistics_, float))):
        raise ConverterFailed(where, expected="keep_empty_features=False", found="True")
    if np.ndim(imputer.min_value) or np.ndim(imputer.max_value):
        raise ConverterFailed(
            where,
            expected="min_value and max_value that are numbers",
            found="one for each column",
            hint="clip the columns before, in training and in requests",
        )
    random = np.random.default_rng(0)
    for _, others, estimator in imputer.imputation_sequence_:
        rows = random.normal(size=(_PROBES, len(others)))
        if not hasattr(estimator, "coef_") or not np.allclose(
            estimator.predict(rows), rows @ np.ravel(estimator.coef_) + estimator.intercept_
        ):
            raise ConverterFailed(
                f"{where}, `estimator`",
                expected=_LINEAR,
                found=f"`{type(estimator).__name__}`",
                hint="fit with such an estimator, or with KNNImputer or SimpleImputer(add_indicator=True)",
            )
