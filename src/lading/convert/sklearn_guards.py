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
from sklearn import decomposition, naive_bayes

from lading.convert.graph_nodes import FLOAT, GraphNodes
from lading.onnx_runtime.refusals import Refused
from lading.signature import USUAL_BOUND, Array

Converter = Callable[..., None]

_LARGEST = float(np.finfo(np.float32).max)
# Numbers that requests may have, beside the largest.
_FINITE = (0.0, 1e-30, 0.5, 1.0, 2.0, 10.0, 1e3, 1e6, 1e15, 1e30)
_SIGNS = 8  # rows of the largest with signs as drawn: a step that mixes columns may sum them to more
_REFUSED_BY_CONVERTERS = ("unknown categor", "strictly positive")
_WRONG = {"NaN": np.nan, "infinity": np.inf, "beyond float32": 1e300}


@dataclass(frozen=True)
class _Numbers:
    """Which kinds of numbers that are not finite, or too large, there may be, and the size of the others."""

    wrong: frozenset[str] = frozenset()
    largest: float = 0.0


@dataclass(frozen=True)
class _Step:
    """What puts a variable out, and what may come in; `bound` is the largest magnitude of it."""

    model: Any
    taken: _Numbers
    bound: float
    columns: int | None
    dtype: Any


class FiniteGuards:
    """The guards of one conversion; knows of each variable of skl2onnx's which step puts it out.

    `bound` is the largest magnitude that requests may have: a scale below 1 may make infinities of it.
    """

    def __init__(self, bound: float = USUAL_BOUND) -> None:
        self._bound = min(bound, _LARGEST)
        self._steps: dict[str, _Step] = {}

    def around(self, convert: Converter) -> Converter:
        """Return a converter that puts guards in front of what `convert` adds, where they are needed."""

        def guarded(scope: Any, operator: Any, container: Any, *rest: Any) -> None:
            taken = [self._made(variable) for variable in operator.inputs]
            wrong = frozenset[str]().union(*(numbers.wrong for numbers in taken))
            sums = _sums(operator.raw_operator)
            refused = _refused(operator.raw_operator) if wrong or sums > 1 else frozenset()
            with self._guarded_inputs(scope, operator, container, refused, sums):
                convert(scope, operator, container, *rest)
            largest = max((numbers.largest for numbers in taken), default=0.0)
            self._note(operator, _Numbers(wrong - refused, largest))

        return guarded

    @contextmanager
    def _guarded_inputs(
        self, scope: Any, operator: Any, container: Any, refused: frozenset[str], sums: float
    ) -> Iterator[None]:
        own, checked = operator.inputs, list(operator.inputs)
        for at, variable in enumerate(own):
            made = self._made(variable)
            kinds = made.wrong & refused
            single = isinstance(variable.type, FloatTensorType)
            times = sums if single and made.largest * sums > _LARGEST else 1.0
            if times > 1:
                kinds |= {"infinity"} & refused
            if kinds:
                name = type(operator.raw_operator).__name__
                checked[at] = _checked(scope, container, variable, kinds, times, name)
        # Another list, and the own one untouched: the members of an ensemble keep the list that they get.
        operator.inputs = checked
        try:
            yield
        finally:
            operator.inputs = own

    def _made(self, variable: Any) -> _Numbers:
        if not _is_float(variable):
            return _Numbers()
        step = self._steps.get(variable.onnx_name)
        if step is None:
            return _Numbers(largest=self._bound)
        made = _made(step)
        if isinstance(variable.type, FloatTensorType) and "beyond float32" in made.wrong:
            return _Numbers(made.wrong - {"beyond float32"} | {"infinity"}, _LARGEST)
        return made

    def _note(self, operator: Any, taken: _Numbers) -> None:
        widths = [variable.type.shape[-1] for variable in operator.inputs if variable.type.shape]
        columns = sum(widths) if all(isinstance(width, int) for width in widths) else None
        single = any(isinstance(variable.type, FloatTensorType) for variable in operator.inputs)
        known = all(_is_float(variable) for variable in operator.inputs)
        dtype = np.float32 if single else np.float64
        step = _Step(operator.raw_operator, taken, self._bound, columns if known else None, dtype)
        for variable in operator.outputs:
            self._steps[variable.onnx_name] = step


def _is_float(variable: Any) -> bool:
    return isinstance(variable.type, FloatTensorType | DoubleTensorType)


def _made(step: _Step) -> _Numbers:
    """Ask a step what it makes of finite numbers, and of others that it takes."""
    if step.model is None:  # columns put side by side, or chosen
        return step.taken
    columns = getattr(step.model, "n_features_in_", step.columns)
    if step.columns is None or columns is None:
        return _Numbers()  # made of texts and whole numbers: encodings
    made: set[str] = set()
    largest = 0.0
    for row in _rows(step, columns):
        answer, refusal = _asked(step.model, row[None])
        if answer is None:
            # The graph has something else to say of a row that a step itself refuses, but for these.
            own = any(words in refusal for words in _REFUSED_BY_CONVERTERS)
            made |= set() if own else {"NaN", "infinity"}
        else:
            made |= _kinds(answer)
            sizes = np.abs(answer[np.isfinite(answer)], dtype=np.float64)
            largest = max(largest, float(sizes.max(initial=0.0)))
    return _Numbers(frozenset(made), _LARGEST if "infinity" in made else largest)


def _rows(step: _Step, columns: int) -> Array:
    """Return rows of numbers that a step may get, ``[rows, columns]``."""
    values = [sign * size for size in (*_FINITE, step.bound) for sign in (1.0, -1.0)]
    values += [sign * _WRONG[kind] for kind in step.taken.wrong for sign in (1.0, -1.0)]
    alike = np.repeat(np.array(values)[:, None], columns, axis=1)
    mixed = np.random.default_rng(0).choice([-step.bound, step.bound], (_SIGNS, columns))
    with np.errstate(over="ignore"):
        return np.concatenate([alike, mixed]).astype(step.dtype)


def _sums(model: Any) -> float:
    """Return how many times the largest number of a row the sums in an estimator may be, as a power of 2.

    In float32 they are infinite then, or NaN, where scikit-learn answers. Knows linear estimators, networks,
    principal components and naive Bayes of counts.
    """
    if isinstance(model, decomposition.PCA | decomposition.IncrementalPCA | decomposition.TruncatedSVD):
        deviation = np.sqrt(model.explained_variance_) if getattr(model, "whiten", False) else np.ones(1)
        layers = [(model.components_ / np.maximum(deviation, np.finfo(np.float64).tiny)[:, None]).T]
    elif hasattr(model, "coef_"):
        coefficients = model.coef_.toarray() if hasattr(model.coef_, "toarray") else model.coef_
        layers = [np.atleast_2d(np.asarray(coefficients)).T]
    elif isinstance(model, naive_bayes.MultinomialNB | naive_bayes.ComplementNB):
        layers = [model.feature_log_prob_.T]
    else:
        layers = getattr(model, "coefs_", [])
    times = 1.0
    for weights in layers:  # [columns, sums]
        times *= max(1.0, float(np.abs(weights).sum(axis=0).max()))
    if times == 1:
        return 1.0
    # One power more, because sums have intercepts and are rounded. Float32 has none above 127.
    return float(2.0 ** min(np.ceil(np.log2(times)) + 1, 127))


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


def _checked(
    scope: Any, container: Any, variable: Any, kinds: frozenset[str], times: float, step: str
) -> Any:
    """Return a variable with the same numbers; the run fails where one, so many `times`, is of `kinds`."""
    nodes, value = GraphNodes(scope, container), variable.full_name
    looked_at = nodes.node("Cast", [value], to=FLOAT) if "beyond float32" in kinds else value
    if times > 1:
        looked_at = nodes.node("Mul", [looked_at, nodes.constant(np.float32(times))])
    if kinds == {"NaN"}:
        wrong = nodes.node("IsNaN", [looked_at])
    elif "NaN" not in kinds:
        wrong = nodes.node("IsInf", [looked_at])
    else:  # what is no finite number leaves NaN of itself
        wrong = nodes.node("IsNaN", [nodes.node("Sub", [looked_at, looked_at])])
    ones = nodes.refusing(wrong, Refused.NOT_FINITE, step)
    checked = scope.declare_local_variable("finite", type(variable.type)(variable.type.shape))
    ones = nodes.double(ones) if isinstance(variable.type, DoubleTensorType) else ones
    nodes.node("Mul", [value, ones], output=checked.full_name)
    checked.init_status(is_fed=True)
    return checked
