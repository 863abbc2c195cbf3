"""Functions of numpy as graphs: what `FunctionTransformer` applies, and what undoes a transformed target.

All compute in float64. A function that ONNX does not have is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import special

from lading.convert.graph_nodes import DOUBLE, FLOAT, GraphNodes
from lading.errors import ConverterFailed

Function = Callable[[GraphNodes, str], str]

_HINT = "use a function of numpy that ONNX has (np.log1p, np.log, np.sqrt, np.exp, np.abs, …)"


def convert_function(scope: Any, operator: Any, container: Any) -> None:
    """Convert a FunctionTransformer; raises `ConverterFailed` for other functions than numpy's."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    if model.func is None:
        names = [variable.full_name for variable in operator.inputs]
        nodes.node("Concat", names, output=operator.outputs[0].full_name, axis=1)
        return
    try:
        value = apply_function(
            nodes, nodes.features(operator), model.func, model.kw_args, "`FunctionTransformer`, `func`"
        )
    except ConverterFailed as error:
        raise error.with_hint(f"{_HINT}, or apply it before, in training and in requests") from None
    nodes.finish(value, operator.outputs[0])


def apply_function(
    nodes: GraphNodes, value: str, func: Any, kwargs: Mapping[str, Any] | None, where: str
) -> str:
    """Apply a function of numpy (None leaves the values as they are); `where` names it in a refusal."""
    if func is None:
        return value
    if func is np.clip and kwargs and set(kwargs) <= {"a_min", "a_max", "min", "max"}:
        low, high = (kwargs.get(f"a_{end}", kwargs.get(end)) for end in ("min", "max"))
        return clipped(nodes, value, low, high)
    builder = _FUNCTIONS.get(func) if not kwargs else None
    if builder is None:
        called = getattr(func, "__name__", repr(func))
        options = f" with {', '.join(f'`{key}`' for key in kwargs)}" if kwargs else ""
        called = f"`{called}`{options}"
        expected = "a function of numpy that ONNX has; a bundle holds no Python code"
        raise ConverterFailed(where, expected=expected, found=called, hint=_HINT)
    return builder(nodes, value)


def clipped(nodes: GraphNodes, value: str, low: Any, high: Any) -> str:
    """Hold values between two numbers, or one for each column, or None; NaN stays."""
    for op, bound in (("Less", low), ("Greater", high)):
        if bound is not None:
            limit = nodes.constant(np.asarray(bound, dtype=np.float64))
            # Min and Max of a NaN are not the same on every processor; a comparison with it is false.
            value = nodes.node("Where", [nodes.node(op, [value, limit]), limit, value])
    return value


def _one(op: str) -> Function:
    return lambda nodes, value: nodes.node(op, [value])


def _in_single(op: str) -> Function:
    """Compute in float32 what ONNX Runtime has no float64 kernel for."""

    def build(nodes: GraphNodes, value: str) -> str:
        return nodes.node("Cast", [nodes.node(op, [nodes.node("Cast", [value], to=FLOAT)])], to=DOUBLE)

    return build


def _with(op: str, number: float, *, first: bool = False) -> Function:
    """Return an operator of the value and a number, in either order."""

    def build(nodes: GraphNodes, value: str) -> str:
        constant = nodes.constant(np.float64(number))
        return nodes.node(op, [constant, value] if first else [value, constant])

    return build


def _then(*functions: Function) -> Function:
    def build(nodes: GraphNodes, value: str) -> str:
        for function in functions:
            value = function(nodes, value)
        return value

    return build


def _square(nodes: GraphNodes, value: str) -> str:
    return nodes.node("Mul", [value, value])


def _log1p(nodes: GraphNodes, value: str) -> str:
    """Return ``log(1 + x)`` with the digits of a small x (Kahan's correction of what 1 + x rounded away)."""
    unit = nodes.constant(np.float64(1))
    total = nodes.node("Add", [value, unit])
    exact = nodes.node("Div", [nodes.node("Log", [total]), nodes.node("Sub", [total, unit])])
    corrected = nodes.node("Mul", [value, exact])
    small = nodes.node("Equal", [total, unit])
    infinite = nodes.node("IsInf", [nodes.node("Cast", [total], to=FLOAT)])
    large = nodes.node("Where", [infinite, nodes.node("Log", [total]), corrected])
    return nodes.node("Where", [small, value, large])


def _expm1(nodes: GraphNodes, value: str) -> str:
    """Return ``exp(x) - 1`` with the digits of a small x, by the same correction."""
    unit = nodes.constant(np.float64(1))
    power = nodes.node("Exp", [value])
    less = nodes.node("Sub", [power, unit])
    corrected = nodes.node("Mul", [less, nodes.node("Div", [value, nodes.node("Log", [power])])])
    size = nodes.node("Abs", [value])
    # Beyond one nothing is lost, and the correction of 0 and of infinities is none.
    plain = nodes.node("Where", [nodes.node("Equal", [power, unit]), value, less])
    between = nodes.node(
        "And", [nodes.node("Less", [size, unit]), nodes.node("Not", [nodes.node("Equal", [power, unit])])]
    )
    return nodes.node("Where", [between, corrected, plain])


def _cube_root(nodes: GraphNodes, value: str) -> str:
    third = nodes.constant(np.float64(1 / 3))
    root = nodes.node("Pow", [nodes.node("Abs", [value]), third])
    return nodes.node("Mul", [nodes.node("Sign", [value]), root])


def _arcsinh(nodes: GraphNodes, value: str) -> str:
    size, unit = nodes.node("Abs", [value]), nodes.constant(np.float64(1))
    square = nodes.node("Mul", [size, size])
    root = nodes.node("Sqrt", [nodes.node("Add", [square, unit])])
    term = nodes.node("Div", [square, nodes.node("Add", [root, unit])])
    small = _log1p(nodes, nodes.node("Add", [size, term]))
    # The square of a large number may be infinite, and the one is nothing beside it.
    large = nodes.node("Add", [nodes.node("Log", [size]), nodes.constant(np.log(2.0))])
    is_large = nodes.node("Greater", [size, nodes.constant(np.float64(1e9))])
    return nodes.node("Mul", [nodes.node("Sign", [value]), nodes.node("Where", [is_large, large, small])])


def _sinh(nodes: GraphNodes, value: str) -> str:
    grown = _expm1(nodes, value)  # (e**x - 1 + (e**x - 1) / e**x) / 2
    share = nodes.node("Div", [grown, nodes.node("Exp", [value])])
    # Where e**x is infinite, there is nothing to add.
    large = nodes.node("Greater", [value, nodes.constant(np.float64(700))])
    share = nodes.node("Where", [large, nodes.constant(np.float64(0)), share])
    return nodes.node("Mul", [nodes.node("Add", [grown, share]), nodes.constant(np.float64(0.5))])


def _logit(nodes: GraphNodes, value: str) -> str:
    rest = nodes.node("Sub", [nodes.constant(np.float64(1)), value])
    return nodes.node("Log", [nodes.node("Div", [value, rest])])


def _cos(nodes: GraphNodes, value: str) -> str:
    """Return ``1 - 2 sin(x / 2) ** 2``: ONNX Runtime has Cos in float32 only."""
    sine = nodes.node("Sin", [nodes.node("Mul", [value, nodes.constant(np.float64(0.5))])])
    doubled = nodes.node("Mul", [_square(nodes, sine), nodes.constant(np.float64(2))])
    return nodes.node("Sub", [nodes.constant(np.float64(1)), doubled])


def logistic(nodes: GraphNodes, value: str) -> str:
    """Return ``1 / (1 + exp(-x))``: ONNX Runtime's Sigmoid is exactly 0 where this is 1e-12."""
    unit = nodes.constant(np.float64(1))
    power = nodes.node("Exp", [nodes.node("Neg", [value])])
    return nodes.node("Div", [unit, nodes.node("Add", [unit, power])])


def _tan(nodes: GraphNodes, value: str) -> str:
    return nodes.node("Div", [nodes.node("Sin", [value]), _cos(nodes, value)])


_FUNCTIONS: dict[Any, Function] = {
    np.abs: _one("Abs"),
    np.fabs: _one("Abs"),
    np.arcsinh: _arcsinh,
    np.arctan: _in_single("Atan"),
    np.cbrt: _cube_root,
    np.ceil: _one("Ceil"),
    np.cos: _cos,
    np.deg2rad: _with("Mul", np.pi / 180),
    np.radians: _with("Mul", np.pi / 180),
    np.rad2deg: _with("Mul", 180 / np.pi),
    np.degrees: _with("Mul", 180 / np.pi),
    np.exp: _one("Exp"),
    np.exp2: _with("Pow", 2.0, first=True),
    np.expm1: _expm1,
    np.floor: _one("Floor"),
    np.log: _one("Log"),
    np.log10: _then(_one("Log"), _with("Div", np.log(10))),
    np.log1p: _log1p,
    np.log2: _then(_one("Log"), _with("Div", np.log(2))),
    np.negative: _one("Neg"),
    np.positive: _one("Identity"),
    np.reciprocal: _with("Div", 1.0, first=True),
    np.rint: _one("Round"),
    np.round: _one("Round"),
    np.sign: _one("Sign"),
    np.sin: _one("Sin"),
    np.sinh: _sinh,
    np.sqrt: _one("Sqrt"),
    np.square: _square,
    np.tan: _tan,
    np.tanh: _one("Tanh"),
    special.expit: logistic,
    special.exp10: _with("Pow", 10.0, first=True),
    special.logit: _logit,
}
