"""Curves through points as graphs: isotonic regression, splines, tables between whose rows lines are drawn.

All compute in float64, as scikit-learn does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lading.convert.graph_nodes import INT64, GraphNodes
from lading.convert.sklearn_functions import clipped
from lading.errors import ConverterFailed
from lading.signature import Array

_ROUNDED = (
    2e-6  # what a sum of float32 over a hundred trees was seen to be off by, relatively, and twice that
)


def convert_isotonic(scope: Any, operator: Any, container: Any) -> None:
    """Convert IsotonicRegression."""
    nodes = GraphNodes(scope, container)
    nodes.finish(isotonic(nodes, nodes.features(operator), operator.raw_operator), operator.outputs[0])


def isotonic(nodes: GraphNodes, value: str, model: Any) -> str:
    """Return what an isotonic regression answers for one column, ``[batch, 1]``."""
    x, y = (np.asarray(values, dtype=np.float64) for values in (model.X_thresholds_, model.y_thresholds_))
    if model.out_of_bounds == "raise":
        raise ConverterFailed(
            "`IsotonicRegression`, `out_of_bounds`",
            expected="`clip` or `nan`: a graph cannot raise",
            found="`raise`",
            hint="fit with out_of_bounds='clip', or 'nan'",
        )
    inside = interpolated(nodes, value, x, y)
    if model.out_of_bounds == "clip":
        return inside
    low, high = nodes.constant(np.float64(x[0])), nodes.constant(np.float64(x[-1]))
    outside = nodes.node("Or", [nodes.node("Less", [value, low]), nodes.node("Greater", [value, high])])
    return nodes.node("Where", [outside, nodes.constant(np.float64(np.nan)), inside])


def snapped(nodes: GraphNodes, value: str, points: Array) -> str:
    """Put each value ``[batch, 1]`` that float32 has rounded back on the point that it was.

    Trees answer few values, and an isotonic curve has its corners there: where every class is exactly 0,
    scikit-learn takes all to be equal, and 1e-9 would become a certainty.
    """
    corners = nodes.constant(points[None, :])
    distances = nodes.node("Abs", [nodes.node("Sub", [value, corners])])  # [batch, points]
    nearest = nodes.node("ArgMin", [distances], axis=1, keepdims=1)
    distance = nodes.node("ReduceMin", [distances, nodes.axis(1)], keepdims=1)
    corner = nodes.node("Gather", [nodes.constant(points), nearest])
    allowed = nodes.node("Mul", [nodes.node("Abs", [value]), nodes.constant(np.float64(_ROUNDED))])
    near = nodes.node("LessOrEqual", [distance, allowed])
    return nodes.node("Where", [near, corner, value])


def interpolated(nodes: GraphNodes, value: str, x: Array, y: Array) -> str:
    """Interpolate one column ``[batch, 1]`` between points of ascending `x`; beyond them hold the ends."""
    if len(x) == 1:
        return nodes.node("Where", [nodes.node("IsNaN", [value]), value, nodes.constant(np.float64(y[0]))])
    slopes = np.diff(y) / np.diff(x)  # [pieces]
    held = clipped(nodes, value, x[0], x[-1])
    piece = piece_of(nodes, held, x[1:-1])  # [batch, 1]
    start, slope, base = (
        nodes.node("Gather", [nodes.constant(values), piece]) for values in (x[:-1], slopes, y[:-1])
    )
    risen = nodes.node("Mul", [nodes.node("Sub", [held, start]), slope])
    inside = nodes.node("Add", [risen, base])
    # The last point itself, without the rounding of the way there.
    last = nodes.node("GreaterOrEqual", [held, nodes.constant(np.float64(x[-1]))])
    return nodes.node("Where", [last, nodes.constant(np.float64(y[-1])), inside])


def piece_of(nodes: GraphNodes, value: str, breaks: Array) -> str:
    """Return how many `breaks` are not above each value, ``[batch, 1]``."""
    if not len(breaks):
        zero = nodes.constant(np.zeros((1, 1), dtype=np.int64))
        rows = nodes.node("Shape", [value])
        return nodes.node("Expand", [zero, rows])
    reached = nodes.node("GreaterOrEqual", [value, nodes.constant(breaks[None, :])])  # [batch, breaks]
    counted = nodes.node("Cast", [reached], to=INT64)
    return nodes.node("ReduceSum", [counted, nodes.axis(1)], keepdims=1)


@dataclass(frozen=True)
class _Pieces:
    """Polynomials of the distance from `starts`, ``coefficients[piece, power, column]``, from the top."""

    breaks: Array
    starts: Array
    coefficients: Array


def convert_spline(scope: Any, operator: Any, container: Any) -> None:
    """Convert SplineTransformer: each B-spline is a polynomial between two knots."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    if model.extrapolation == "error" or (model.extrapolation == "constant" and model.degree == 0):
        # Of degree 0, scikit-learn 1.9 raises beyond the range of training as well.
        raise ConverterFailed(
            "`SplineTransformer`, `extrapolation`",
            expected="`constant` of a degree above 0, `linear` or `continue`: a graph cannot raise",
            found=f"`{model.extrapolation}` of degree {model.degree}",
            hint="fit with extrapolation='continue'",
        )
    features, columns = nodes.features(operator), []
    for at, spline in enumerate(model.bsplines_):
        value = nodes.node("Gather", [features, nodes.axis(at)], axis=1)  # [batch, 1]
        values = _spline_values(nodes, value, spline, model)
        if not model.include_bias:
            end = nodes.axis(spline.c.shape[1] - 1)
            values = nodes.node("Slice", [values, nodes.axis(0), end, nodes.axis(1)])
        columns.append(values)
    nodes.finish(nodes.node("Concat", columns, axis=1), operator.outputs[0])


def _spline_values(nodes: GraphNodes, value: str, spline: Any, model: Any) -> str:
    """Return every basis function at one column, ``[batch, functions]``."""
    pieces = _pieces(spline, model)
    missing = nodes.node("IsNaN", [value])
    value = nodes.node("Where", [missing, nodes.constant(np.float64(0)), value])
    first, last = float(spline.t[spline.k]), float(spline.t[-spline.k - 1])
    if model.extrapolation == "periodic":
        value = _within_period(nodes, value, first, last)
    elif model.extrapolation == "constant":
        value = clipped(nodes, value, first, last)
    piece = nodes.node("Squeeze", [piece_of(nodes, value, pieces.breaks), nodes.axis(1)])  # [batch]
    starts = nodes.constant(pieces.starts[:, None])
    distance = nodes.node("Sub", [value, nodes.node("Gather", [starts, piece])])  # [batch, 1]
    powers = pieces.coefficients.shape[1]
    total = nodes.node("Gather", [nodes.constant(pieces.coefficients[:, 0]), piece])  # [batch, functions]
    for power in range(1, powers):
        coefficients = nodes.node("Gather", [nodes.constant(pieces.coefficients[:, power]), piece])
        total = nodes.node("Add", [nodes.node("Mul", [total, distance]), coefficients])
    answer = 0.0 if model.handle_missing == "zeros" else np.nan
    return nodes.node("Where", [missing, nodes.constant(np.float64(answer)), total])


def _within_period(nodes: GraphNodes, value: str, first: float, last: float) -> str:
    start, period = nodes.constant(np.float64(first)), nodes.constant(np.float64(last - first))
    rest = nodes.node("Mod", [nodes.node("Sub", [value, start]), period], fmod=1)  # has the sign of the value
    below = nodes.node("Less", [rest, nodes.constant(np.float64(0))])
    return nodes.node("Add", [start, nodes.node("Where", [below, nodes.node("Add", [rest, period]), rest])])


def _pieces(spline: Any, model: Any) -> _Pieces:
    degree, knots = spline.k, np.asarray(spline.t, dtype=np.float64)
    first, last = knots[degree], knots[-degree - 1]
    starts = knots[degree : -degree - 1]
    # Taylor's polynomial at the start of each piece is the piece itself.
    powers = [spline(starts, nu=power) / math.factorial(power) for power in range(degree, -1, -1)]
    coefficients = np.stack(powers, axis=1)  # [pieces, powers, functions]
    if model.extrapolation != "linear":
        return _Pieces(starts[1:], starts, coefficients)
    # On both sides one more piece: the value and the slope at the end.
    ends = []
    for at in (first, last):
        straight = np.zeros_like(coefficients[:1])
        straight[0, -1] = spline(at)
        if degree:
            straight[0, -2] = spline(at, nu=1)
        ends.append(straight)
    return _Pieces(
        np.concatenate([[first], starts[1:], [np.nextafter(last, np.inf)]]),
        np.concatenate([[first], starts, [last]]),
        np.concatenate([ends[0], coefficients, ends[1]]),
    )
