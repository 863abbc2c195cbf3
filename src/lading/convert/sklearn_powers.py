"""`PowerTransformer` as a graph in float64, by the formula that scipy has."""

from __future__ import annotations

from typing import Any

import numpy as np

from lading.convert.graph_nodes import GraphNodes
from lading.convert.sklearn_functions import apply_function
from lading.onnx_runtime.refusals import Refused
from lading.signature import Array

_LARGEST_LOG = 104.0  # a little more than the logarithm of float32's largest number, or its smallest


def convert_power_transformer(scope: Any, operator: Any, container: Any) -> None:
    """Convert PowerTransformer.

    skl2onnx 1.20 computes in float32, where powers of large numbers are infinite, and takes 0 for those.
    """
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    value, exponents = nodes.features(operator), np.asarray(model.lambdas_, dtype=np.float64)  # [columns]
    build = _box_cox if model.method == "box-cox" else _yeo_johnson
    result = build(nodes, value, exponents)
    scaler = scaler_of(model)
    if scaler is not None:
        if _may_be_infinite(exponents):  # the scaler raises for that
            wrong = nodes.node("IsInf", [result])
            ones = nodes.refusing(wrong, Refused.NOT_FINITE, "PowerTransformer")
            result = nodes.node("Mul", [result, nodes.double(ones)])
        result = nodes.node("Sub", [result, nodes.constant(np.asarray(scaler.mean_, np.float64))])
        result = nodes.node("Div", [result, nodes.constant(np.asarray(scaler.scale_, np.float64))])
    nodes.finish(result, operator.outputs[0])


def scaler_of(model: Any) -> Any:
    """Return the StandardScaler in a PowerTransformer, or None if it has none."""
    return model._scaler if model.standardize else None  # noqa: SLF001  # no public way


def _may_be_infinite(exponents: Array) -> bool:
    """Return whether float64 is too small for the power of a number that float32 holds."""
    largest = np.maximum(np.abs(exponents), np.abs(2.0 - exponents)).max()
    return bool(largest * _LARGEST_LOG > np.log(np.finfo(np.float64).max))


def _box_cox(nodes: GraphNodes, value: str, exponents: Array) -> str:
    """Return ``(x ** exponent - 1) / exponent``; like scikit-learn, refuse a row that is not positive."""
    wrong = nodes.node("LessOrEqual", [value, nodes.constant(np.float64(0))])
    ones = nodes.double(nodes.refusing(wrong, Refused.NOT_POSITIVE, "PowerTransformer"))
    logs = nodes.node("Log", [nodes.node("Mul", [value, ones])])
    return _less_one(nodes, logs, nodes.constant(exponents), zeros=bool((exponents == 0).any()))


def _yeo_johnson(nodes: GraphNodes, value: str, exponents: Array) -> str:
    """Return the power of ``1 + x``, and of a negative x that of ``1 - x``, with 2 less the exponent."""
    # scipy takes the logarithm itself for an exponent that float64 cannot tell from 0.
    eps = np.finfo(np.float64).eps
    upper, lower = (np.where(np.abs(each) < eps, 0.0, each) for each in (exponents, 2.0 - exponents))
    positive = nodes.node("GreaterOrEqual", [value, nodes.constant(np.float64(0))])
    powers = nodes.node("Where", [positive, nodes.constant(upper), nodes.constant(lower)])
    logs = apply_function(nodes, nodes.node("Abs", [value]), np.log1p, None, "`PowerTransformer`")
    zeros = bool((upper == 0).any() or (lower == 0).any())
    size = _less_one(nodes, logs, powers, zeros=zeros)
    return nodes.node("Where", [positive, size, nodes.node("Neg", [size])])


def _less_one(nodes: GraphNodes, logs: str, powers: str, *, zeros: bool) -> str:
    """Return ``(exp(power * log) - 1) / power``, and the logarithm where the power is 0."""
    raised = nodes.node("Mul", [powers, logs])
    less = apply_function(nodes, raised, np.expm1, None, "`PowerTransformer`")
    divided = nodes.node("Div", [less, powers])
    if not zeros:
        return divided
    none = nodes.node("Equal", [powers, nodes.constant(np.float64(0))])
    return nodes.node("Where", [none, logs, divided])
