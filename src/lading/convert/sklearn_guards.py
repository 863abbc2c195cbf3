"""Guards in a graph: its run fails where an estimator raises since a step before it made NaN or infinity.

What a request holds is checked by the signature; this is about numbers that a logarithm, a power or a
division inside of the pipeline makes. What a step makes of finite numbers, and what the next refuses, is
asked of both.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from lading.convert.graph_nodes import FLOAT, INT64, GraphNodes
from lading.onnx_runtime.refusals import Refused
from lading.signature import Array

Converter = Callable[..., None]

# Numbers that requests may have. A scaler with a usual scale makes infinities of larger ones in float32 only.
_FINITE = (0.0, 1e-30, 0.5, 1.0, 2.0, 10.0, 1e3, 1e6, 1e15, 1e30)
_WRONG = {"NaN": np.nan, "infinity": np.inf, "beyond float32": 1e300}


@dataclass(frozen=True)
class _Step:
    """What puts a variable out: ``wrong`` are the kinds of numbers that may come in."""

    model: Any
    wrong: frozenset[str]
    columns: int | None
    dtype: Any


class FiniteGuards:
    """The guards of one conversion; knows of each variable of skl2onnx's which step puts it out."""

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}

    def around(self, convert: Converter) -> Converter:
        """Return a converter that puts guards in front of what `convert` adds, where they are needed."""

        def guarded(scope: Any, operator: Any, container: Any, *rest: Any) -> None:
            wrong = self._wrong(operator)
            refused = _refused(operator.raw_operator) if wrong else frozenset()
            with self._guarded_inputs(scope, operator, container, refused):
                convert(scope, operator, container, *rest)
            self._note(operator, wrong - refused)

        return guarded

    @contextmanager
    def _guarded_inputs(
        self, scope: Any, operator: Any, container: Any, refused: frozenset[str]
    ) -> Iterator[None]:
        own = list(operator.inputs)
        for at, variable in enumerate(own):
            kinds = self._made(variable) & refused
            if kinds:
                name = type(operator.raw_operator).__name__
                operator.inputs.set_element(at, _checked(scope, container, variable, kinds, name))
        try:
            yield
        finally:
            for at, variable in enumerate(own):
                operator.inputs.set_element(at, variable)

    def _wrong(self, operator: Any) -> frozenset[str]:
        return frozenset().union(*(self._made(variable) for variable in operator.inputs))

    def _made(self, variable: Any) -> frozenset[str]:
        """Return the kinds of numbers that are not finite, or too large, which a variable may have."""
        step = self._steps.get(variable.onnx_name)
        return _made(step) if step and _is_float(variable) else frozenset()

    def _note(self, operator: Any, wrong: frozenset[str]) -> None:
        widths = [variable.type.shape[-1] for variable in operator.inputs if variable.type.shape]
        columns = sum(widths) if all(isinstance(width, int) for width in widths) else None
        single = any(isinstance(variable.type, FloatTensorType) for variable in operator.inputs)
        known = all(_is_float(variable) for variable in operator.inputs)
        dtype = np.float32 if single else np.float64
        step = _Step(operator.raw_operator, wrong, columns if known else None, dtype)
        for variable in operator.outputs:
            self._steps[variable.onnx_name] = step


def _is_float(variable: Any) -> bool:
    return isinstance(variable.type, FloatTensorType | DoubleTensorType)


def _made(step: _Step) -> frozenset[str]:
    """Ask a step what it makes of finite numbers, and of others that it takes."""
    if step.model is None:  # columns put side by side, or chosen
        return step.wrong
    columns = getattr(step.model, "n_features_in_", step.columns)
    if step.columns is None or columns is None:
        return frozenset()  # made of texts and whole numbers: encodings
    values = [sign * size for size in _FINITE for sign in (1.0, -1.0)]
    values += [sign * _WRONG[kind] for kind in step.wrong for sign in (1.0, -1.0)]
    with np.errstate(over="ignore"):
        rows = np.repeat(np.array(values)[:, None], columns, axis=1).astype(step.dtype)  # [values, columns]
    made: set[str] = set()
    for row in rows:
        answer, refusal = _asked(step.model, row[None])
        if answer is None:
            # The graph has something else to say of a row that the step itself refuses, but for encoders.
            made |= set() if "unknown categor" in refusal else {"NaN", "infinity"}
        else:
            made |= _kinds(answer)
    return frozenset(made)


def _kinds(numbers: Array) -> set[str]:
    kinds = {
        "NaN": np.isnan(numbers),
        "infinity": np.isinf(numbers),
        "beyond float32": np.isfinite(numbers) & (np.abs(numbers) > np.finfo(np.float32).max),
    }
    return {kind for kind, marks in kinds.items() if marks.any()}


def _refused(model: Any) -> frozenset[str]:
    """Ask an estimator which kinds of numbers it refuses: those that scikit-learn checks its input for."""
    columns = getattr(model, "n_features_in_", None)
    if columns is None:
        return frozenset()
    refused = set()
    for kind, value in _WRONG.items():
        _, refusal = _asked(model, np.full((1, columns), value))
        if "contains NaN" in refusal or "contains infinity" in refusal:
            refused.add(kind)
    return frozenset(refused)


def _asked(model: Any, rows: Array) -> tuple[Array | None, str]:
    """Return an estimator's own numbers for rows, or None and why it refuses them."""
    answer = getattr(model, "transform", None) or model.predict
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of missing column names, and of what is not defined
        try:
            values = answer(rows)
        except ValueError as error:
            return None, str(error)
    dense = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
    return dense if dense.dtype.kind == "f" else np.zeros(1), ""


def _checked(scope: Any, container: Any, variable: Any, kinds: frozenset[str], step: str) -> Any:
    """Return a variable with the same numbers, for which the run fails where one is of `kinds`."""
    nodes, value = GraphNodes(scope, container), variable.full_name
    looked_at = nodes.node("Cast", [value], to=FLOAT) if "beyond float32" in kinds else value
    if kinds == {"NaN"}:
        wrong = nodes.node("IsNaN", [looked_at])
    elif "NaN" not in kinds:
        wrong = nodes.node("IsInf", [looked_at])
    else:  # what is no finite number leaves NaN of itself
        wrong = nodes.node("IsNaN", [nodes.node("Sub", [looked_at, looked_at])])
    marks = nodes.node("ReduceMax", [nodes.node("Cast", [wrong], to=INT64), nodes.axis(1)], keepdims=1)
    ones = nodes.refusing(marks, Refused.NOT_FINITE, step)
    checked = scope.declare_local_variable("finite", type(variable.type)(variable.type.shape))
    ones = nodes.double(ones) if isinstance(variable.type, DoubleTensorType) else ones
    nodes.node("Mul", [value, ones], output=checked.full_name)
    checked.init_status(is_fed=True)
    return checked
