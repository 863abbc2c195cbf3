"""A packed bundle and its estimator asked the same rows: where does the bundle answer otherwise, or alone?

The answers are compared with the estimator's own methods, not with those that `convert` computes, and every
value goes through JSON text in both directions as it does over the wire.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lading.bundle.requests import request_signature
from lading.errors import LadingError
from lading.pack.margins import margins
from lading.runtime.open import load_runtime

EDGE = "beside a threshold"
"""The kind of rows beside which, one float32 value further, the estimator answers otherwise."""

_METHODS = {
    "label": "predict",
    "value": "predict",
    "probabilities": "predict_proba",
    "scores": "decision_function",
    "distances": "transform",
    "features": "transform",
}


@dataclass
class Asked:
    """What was found, by kind of rows: other answers, and answers of the bundle alone.

    ``ties`` counts labels that are others in a near tie only, ``refused`` what the estimator alone answers.
    """

    rows: int = 0
    otherwise: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    ties: int = 0
    refused: int = 0
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def silent(self) -> int:
        """How many rows were answered wrongly without a word."""
        return self.otherwise.total() + self.alone.total()


def ask(bundle: Any, model: Any, kinds: Iterable[tuple[str, Any]], trained_on: Any) -> Asked:
    """Ask both each kind of rows; sizes beyond those of training scale what may differ."""
    asked = Asked()
    usual = _sizes(trained_on)
    runtime = load_runtime(bundle)
    try:
        for kind, rows in kinds:
            if len(rows):
                _ask_kind(bundle, runtime, model, kind, rows, usual, asked)
    finally:
        runtime.close()
    return asked


def answers(model: Any, output: str, rows: Any) -> Any:
    """Return the estimator's own answers, by the method that the output stands for."""
    return as_array(getattr(model, _METHODS[output])(rows))


def as_array(values: Any) -> Any:
    """Return the answer of a method as one array: it may be sparse, or a list by target."""
    if isinstance(values, list):
        values = np.stack(values, axis=1)
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def _ask_kind(bundle: Any, runtime: Any, model: Any, kind: str, rows: Any, usual: Any, asked: Asked) -> None:
    signature = request_signature(bundle.manifest, bundle.samples())
    names = [tensor.name for tensor in signature.outputs]

    def own(part: Any) -> dict[str, Any]:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            replies = {name: answers(model, name, part) for name in names}
        # Some transformers answer a single row without its axis.
        return {
            name: array.reshape(1, -1) if name == "features" and array.ndim == 1 else array
            for name, array in replies.items()
        }

    def served(part: Any) -> dict[str, Any]:
        arrays = runtime.run(signature.cast_rows(json.loads(json.dumps(_body(part)))))
        return {name: np.array(json.loads(json.dumps(array.tolist()))) for name, array in arrays.items()}

    asked.rows += len(rows)
    expected = _row_by_row(own, rows, Exception)  # whatever it raises, it does not answer
    replies = _row_by_row(served, rows, LadingError)
    asked.refused += len(expected.keys() - replies.keys())
    for at in sorted(replies):
        row = _take(rows, [at])
        if at not in expected:
            asked.alone[kind] += 1
            asked.examples.setdefault(f"{kind}, alone", f"{_body(row)[0]} -> {_short(replies[at])}")
            continue
        factor = max(1.0, float((_sizes(row) / usual).max(initial=0.0)))
        differs, tie = _differs(bundle, factor, expected[at], replies[at], edge=kind == EDGE)
        asked.ties += tie
        if differs and kind == EDGE and _is_of_neighbour(bundle, model, expected, replies[at], at, len(rows)):
            asked.ties += 1
        elif differs:
            asked.otherwise[kind] += 1
            asked.examples.setdefault(
                kind, f"{_body(row)[0]} -> {_short(replies[at])} for {_short(expected[at])}"
            )


def _row_by_row(answer: Callable[[Any], Any], rows: Any, refusals: type[Exception]) -> dict[int, Any]:
    """Return the answers by row, without the rows that are refused: halves are tried where some are."""
    replies: dict[int, Any] = {}

    def ask_part(places: list[int]) -> None:
        try:
            arrays = answer(_take(rows, places))
        except refusals:
            if len(places) > 1:
                ask_part(places[: len(places) // 2])
                ask_part(places[len(places) // 2 :])
            return
        for place, at in enumerate(places):
            replies[at] = {name: array[place : place + 1] for name, array in arrays.items()}

    ask_part(list(range(len(rows))))
    return replies


def _is_of_neighbour(
    bundle: Any, model: Any, expected: dict[int, Any], reply: Any, at: int, rows: int
) -> bool:
    """Return whether a pipeline in float32 answered what belongs to the next float32 row.

    Its steps round; a single estimator must not, since a tree with a wrong threshold answers so.
    """
    narrow = all(tensor.dtype != "float64" for tensor in bundle.manifest.signature.inputs)
    other = expected.get((at + rows // 2) % rows)
    if not narrow or other is None or not hasattr(model, "steps"):
        return False
    return not _differs(bundle, 1.0, other, reply, edge=False)[0]


def _as_served(bundle: Any, expected: dict[str, Any]) -> dict[str, Any]:
    """Return an infinity where float32 holds no number as large as the estimator's."""
    narrow = {tensor.name for tensor in bundle.manifest.signature.outputs if tensor.dtype == "float32"}
    with np.errstate(over="ignore"):
        return {
            name: np.where(np.isinf(array.astype(np.float32)), array.astype(np.float32), array)
            if name in narrow and array.dtype.kind == "f"
            else array
            for name, array in expected.items()
        }


def _differs(bundle: Any, factor: float, expected: Any, replies: Any, *, edge: bool) -> tuple[bool, bool]:
    """Return whether one row was answered otherwise, and whether its label is another in a near tie only.

    At the ``edge`` of two labels, one float32 value from the other, it may be either if all numbers agree.
    """
    tolerance, served, tie = bundle.manifest.tolerance, _as_served(bundle, expected), False
    atol = tolerance.atol * factor
    for name, array in replies.items():
        own = served[name]
        if array.shape != own.shape:
            return True, False
        if own.dtype.kind in "OUSb" or name == "label":
            if (array.astype(str) != own.astype(array.dtype).astype(str)).any():
                tie = (edge and len(replies) > 1) or _is_tie(expected, atol, tolerance.rtol)
                if not tie:
                    return True, False
        elif not np.isclose(array, own, rtol=tolerance.rtol, atol=atol, equal_nan=True).all():
            return True, False
    return False, tie


def _is_tie(expected: Any, atol: float, rtol: float) -> bool:
    margin = margins(expected)
    return margin is not None and bool(margin.distance[0] <= 2 * (atol + rtol * margin.size[0]))


def _body(rows: Any) -> Any:
    if hasattr(rows, "columns"):
        return rows.to_dict(orient="records")
    return rows.tolist()


def _take(rows: Any, places: list[int]) -> Any:
    return rows.iloc[places] if hasattr(rows, "columns") else rows[places]


def _sizes(rows: Any) -> Any:
    """Return the largest finite size in each column of numbers, and 1 where there is none."""
    if hasattr(rows, "columns"):
        rows = rows.apply(lambda column: column if column.dtype.kind in "iuf" else 0.0).to_numpy()
    if rows.dtype.kind not in "iuf":
        return np.ones(1)
    sizes = np.abs(rows.astype(np.float64)).reshape(len(rows), -1)
    largest = np.where(np.isfinite(sizes), sizes, 0.0).max(axis=0)
    return np.where(largest == 0, 1.0, largest)


def _short(arrays: Any) -> str:
    return ", ".join(f"{name} {array[0]!s:.60}" for name, array in arrays.items()).replace("\n", " ")
