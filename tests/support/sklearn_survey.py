"""Every estimator of scikit-learn on a small table: packed, then asked rows that packing never saw."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lading.errors import ConversionError
from lading.pack import pack
from support.sklearn_asking import Asked, ask
from support.sklearn_rows import hard_rows

KINDS = ("classifier", "regressor", "cluster", "transformer")


@dataclass(frozen=True)
class SmallTable:
    """Rows and target that an estimator is fitted on, rows that are held out, and samples for packing."""

    title: str
    rows: Any
    target: Any
    held_out: Any
    samples: Any


@dataclass(frozen=True)
class Outcome:
    """``result`` is "float32", "float64" (packed) or "refused"; ``asked`` is what the bundle was asked."""

    name: str
    kind: str
    table: str
    result: str
    why: str
    asked: Asked
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
    # Of what was trained on, samples never show these.
    more = ["배 항구", "корабль Порт", "niño señor", "the port and the ship", "港", "onlyhere", "straße ΟΔΟΣ"]
    texts[_order(len(texts))[60:67]] = more
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
    """Pack an estimator with default parameters and ask it; return None if it fits none of the tables."""
    refused: Outcome | None = None
    for table in tables(kind):
        model = fitted(estimator, table)
        if model is None:
            continue
        outcome = pack_and_ask(name, kind, model, table, folder)
        if outcome.result != "refused":
            return outcome
        if refused is None or refused.why.startswith("SamplesRefused"):
            refused = outcome
    return refused


def survey_harder(outcome: Outcome, estimator: type, folder: Path) -> Iterator[Outcome]:
    """Pack an estimator that was packed once more: trained with missing values, and on harder columns."""
    for table in tables(outcome.kind):
        if table.title == outcome.table and table.rows.dtype.kind == "f":
            for harder in (with_gaps(table), _with_duplicates(table)):
                model = fitted(estimator, harder)
                if model is not None:
                    yield pack_and_ask(outcome.name, outcome.kind, model, harder, folder)


def pack_and_ask(name: str, kind: str, model: Any, table: SmallTable, folder: Path) -> Outcome:
    """Pack a fitted model and compare its bundle with it, on rows that packing never saw."""
    to = folder / re.sub(r"[^a-z0-9-]+", "-", f"{name}-{table.title}".lower())
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some estimators warn of each unknown category
            bundle = pack(model, name="surveyed", samples=table.samples, owner="ml@example.com", to=to)
    except ConversionError as error:
        why = f"{type(error).__name__}: {error.message}"
        return Outcome(name, kind, table.title, "refused", why, Asked(), time.perf_counter() - started)
    kinds = [("held out", table.held_out), *hard_rows(model, table.rows)]
    asked = ask(bundle, model, kinds, table.rows)
    floats = [tensor.dtype for tensor in bundle.manifest.signature.inputs if tensor.dtype.startswith("float")]
    result = "float64" if "float64" in floats else "float32"
    return Outcome(name, kind, table.title, result, "", asked, time.perf_counter() - started)


def count_disagreements(bundle: Any, model: Any, rows: Any) -> int:
    """Count the rows with an output outside the tolerance or with another label, and those that are refused.

    If the estimator's own two best classes are within the tolerance, rounding decides the label.
    """
    asked = ask(bundle, model, [("rows", rows)], rows)
    return asked.otherwise.total() + asked.refused


def fitted(estimator: type, table: SmallTable) -> Any:
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
    order = _order(len(rows))
    here, there = order[:100], order[100:]
    # Samples of texts and categories show a part of what training saw, as samples do.
    samples = rows[here][:40] if rows.dtype.kind == "O" else rows[here]
    return SmallTable(title, rows[here], target[here], rows[there], samples)


def _order(rows: int) -> Any:
    return np.random.default_rng(1).permutation(rows)


def with_gaps(table: SmallTable) -> SmallTable:
    """Miss values in the first columns, and in no other."""

    def gaps(rows: Any) -> Any:
        changed = rows.copy()
        some = np.random.default_rng(2).random(len(rows)) < 0.25
        changed[some, 0] = np.nan
        changed[np.roll(some, 3), min(1, rows.shape[1] - 1)] = np.nan
        return changed

    rows = gaps(table.rows)
    return SmallTable(f"{table.title}, gaps", rows, table.target, gaps(table.held_out), rows)


def _with_duplicates(table: SmallTable) -> SmallTable:
    """Repeat rows with other targets, round values, and add columns: constant, huge, tiny, a copy."""
    places = np.concatenate([np.arange(60), np.arange(30), np.arange(30)])
    target = np.concatenate([table.target[:60], table.target[30:60], table.target[60:90]])

    def harder(rows: Any) -> Any:
        first = np.round(rows[:, :1] * 2) / 2
        constant = np.full_like(first, 7.0)
        return np.column_stack([np.round(rows, 1), constant, first * -1e7, first * 1e-7, first])

    rows = harder(table.rows[places])
    return SmallTable(f"{table.title}, harder", rows, target, harder(table.held_out), rows)


def _iris() -> tuple[Any, Any]:
    from sklearn.datasets import load_iris

    return load_iris(return_X_y=True)
