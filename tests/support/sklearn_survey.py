"""Every estimator of scikit-learn on a small table: packed, then run on rows that packing never saw.

The answers are compared with the estimator's own methods, not with those that `convert` computes, and every
value goes through JSON text in both directions as it does over the wire.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lading.errors import ConversionError
from lading.pack import pack

KINDS = ("classifier", "regressor", "cluster", "transformer")


@dataclass(frozen=True)
class SmallTable:
    """Rows and target that an estimator is fitted on, and rows that are held out."""

    title: str
    rows: Any
    target: Any
    held_out: Any


@dataclass(frozen=True)
class Outcome:
    """``result`` is "float32", "float64" (packed) or "refused"; ``disagreements`` counts held-out rows."""

    name: str
    kind: str
    table: str
    result: str
    why: str
    disagreements: int
    seconds: float


def estimators() -> list[tuple[str, str, type]]:
    """List (name, kind, class) of all of scikit-learn, each once; the kind is one of `KINDS` or "other"."""
    from sklearn.utils.discovery import all_estimators

    first: dict[str, tuple[str, str, type]] = {}
    for kind in (*KINDS, None):
        for name, estimator in all_estimators(type_filter=kind):
            first.setdefault(name, (name, kind or "other", estimator))
    return [first[name] for name in sorted(first)]


def tables(kind: str) -> Iterator[SmallTable]:
    """Return the small tables for an estimator of `kind`, in the order in which they are tried."""
    random = np.random.default_rng(0)
    measures, species = _iris()
    amounts = 3.0 + measures @ np.array([0.5, -1.0, 2.0, 0.3]) + random.normal(0, 0.2, len(measures))
    targets = np.column_stack([amounts, measures[:, 0] - measures[:, 1]])
    counts = random.poisson(2.0, (150, 5)).astype(np.float64)
    categories = random.choice(np.array(["red", "green", "blue"], dtype=object), (150, 2))
    words = np.array(["ship", "crane", "cargo", "port", "crew", "tide", "anchor", "hull"], dtype=object)
    texts = np.array([" ".join(words[random.integers(0, 8, 6)]) for _ in range(150)], dtype=object)
    match kind:
        case "classifier":
            yield _split("measures", measures, species)
            yield _split("counts", counts, species)
        case "regressor":
            yield _split("measures", measures, amounts)
            yield _split("measures, two targets", measures, targets)
            yield _split("one measure", measures[:, :1], amounts)
        case "cluster":
            yield _split("measures", measures, species)
        case _:
            yield _split("measures", measures, species)
            yield _split("measures, two targets", measures, targets)
            yield _split("counts", counts, species)
            yield _split("categories", categories, species % 2)
            yield _split("texts", texts, species)


def survey(name: str, kind: str, estimator: type, folder: Path) -> Outcome | None:
    """Pack an estimator with default parameters and compare; return None if it fits none of the tables."""
    refused: Outcome | None = None
    for table in tables(kind):
        model = _fitted(estimator, table)
        if model is None:
            continue
        started = time.perf_counter()
        outcome = _pack_and_ask(name, kind, model, table, folder / f"{name}-{table.title}".replace(" ", "-"))
        seconds = time.perf_counter() - started
        outcome = Outcome(name, kind, table.title, *outcome, seconds)
        if outcome.result != "refused":
            return outcome
        if refused is None or refused.why.startswith("SamplesRefused"):
            refused = outcome
    return refused


def answers(model: Any, output: str, rows: Any) -> Any:
    """Return the estimator's own answers, by the method that the output stands for."""
    methods = {
        "label": "predict",
        "value": "predict",
        "probabilities": "predict_proba",
        "scores": "decision_function",
        "distances": "transform",
        "features": "transform",
    }
    values = getattr(model, methods[output])(rows)
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def served_answers(bundle: Any, rows: Any) -> dict[str, Any]:
    """Answer rows as the server does: JSON text in, cast by the signature, run, JSON text out."""
    from lading.runtime.open import load_runtime

    body = json.loads(json.dumps(rows.tolist()))
    runtime = load_runtime(bundle)
    try:
        arrays = runtime.run(bundle.manifest.signature.cast_rows(body))
    finally:
        runtime.close()
    return {name: np.array(json.loads(json.dumps(array.tolist()))) for name, array in arrays.items()}


def count_disagreements(bundle: Any, model: Any, rows: Any) -> int:
    """Count the rows with an output outside the bundle's tolerance or with another label.

    If the estimator's own two best classes are within the tolerance, rounding decides the label.
    """
    tolerance = bundle.manifest.tolerance
    rows = _answered(model, bundle.manifest.signature.outputs[0].name, rows)
    wrong = np.zeros(len(rows), dtype=bool)
    if not len(rows):
        return 0
    served = served_answers(bundle, rows)
    for name, array in served.items():
        expected = answers(model, name, rows)
        if array.shape != expected.shape:
            return len(rows)
        if expected.dtype.kind in "OUSb" or name == "label":
            agree = array.astype(str) == expected.astype(array.dtype).astype(str)
            agree |= _ties(model, rows, tolerance).reshape(-1, *[1] * (agree.ndim - 1))
        else:
            agree = np.isclose(array, expected, rtol=tolerance.rtol, atol=tolerance.atol, equal_nan=True)
        wrong |= ~agree.reshape(len(rows), -1).all(axis=1)
    return int(wrong.sum())


def _ties(model: Any, rows: Any, tolerance: Any) -> Any:
    """Mark the rows whose two best classes are nearer to each other than twice the tolerance."""
    if not hasattr(model, "predict_proba"):
        return np.zeros(len(rows), dtype=bool)
    best = np.sort(np.asarray(model.predict_proba(rows)), axis=-1)[..., -2:]  # [rows, 2]
    if best.shape[-1] < 2:
        return np.zeros(len(rows), dtype=bool)
    near = 2 * (tolerance.atol + tolerance.rtol * best[..., 1])
    return best[..., 1] - best[..., 0] <= near


def _answered(model: Any, output: str, rows: Any) -> Any:
    """Return the rows that the estimator itself does not refuse: those without an unknown category."""
    kept = []
    for at in range(len(rows)):
        try:
            answers(model, output, rows[at : at + 1])
        except (ValueError, IndexError):
            continue
        kept.append(at)
    return rows[kept]


def _pack_and_ask(name: str, kind: str, model: Any, table: SmallTable, to: Path) -> tuple[str, str, int]:
    try:
        bundle = pack(model, name=name.lower(), samples=table.rows, owner="ml@example.com", to=to)
    except ConversionError as error:
        return "refused", f"{type(error).__name__}: {error.message}", 0
    floats = [tensor.dtype for tensor in bundle.manifest.signature.inputs if tensor.dtype.startswith("float")]
    wrong = count_disagreements(bundle, model, table.held_out)
    return (floats[0] if floats else "float32"), "", wrong


def _fitted(estimator: type, table: SmallTable) -> Any:
    """Fit with default parameters, or return None if the constructor or the table does not suit it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small data and fits that do not converge are meant
        try:
            model = estimator()
            if "random_state" in model.get_params():
                model.set_params(random_state=0)
            return model.fit(table.rows, table.target)
        except (ValueError, TypeError, AttributeError, NotImplementedError):
            return None


def _split(title: str, rows: Any, target: Any) -> SmallTable:
    order = np.random.default_rng(1).permutation(len(rows))
    here, there = order[:100], order[100:]
    return SmallTable(title, rows[here], target[here], rows[there])


def _iris() -> tuple[Any, Any]:
    from sklearn.datasets import load_iris

    return load_iris(return_X_y=True)
