"""Rows on which converted estimators were seen to go wrong, drawn for any table, by the name of their kind.

Missing values in each column alone, infinities, sizes far from training's, texts and categories that no
sample shows, and the two neighbouring float32 rows between which an estimator changes its answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

ROWS_OF_A_KIND = 6
_PAIRS = 48
_HALVINGS = 26  # as many as bring two float32 values of one sign beside each other
_SIZES = (1e6, -1e6, 1e-6, 1e30, 1e-30, 0.0, 3e38, -3e38, 1e300)
_CATEGORIES = ("purple", "", " red", "Red", "red ", "초록", "GREEN", "nan", "None", "0", "1.0")
_TEXTS = (
    "",
    "   ",
    "ship",
    "Ship SHIP ship",
    "a ship, a crane; and the port!",
    "배 항구 크레인 배",
    "порт Корабль порт",
    "el niño del puerto, el señor",
    "港 船 港",
    "ship\tcrane\ncargo  port",
    "ship2 3crane x_y e-mail",
    "⚓ ship ⚓",
    "İstanbul ΟΔΟΣ straße STRASSE",
    "unheardof words onlyhere",
    "the and of ship to a crane",
    "ship " * 60,
)


def hard_rows(model: Any, rows: Any, *, gaps: bool = True) -> Iterator[tuple[str, Any]]:
    """Return (kind, rows) for a model and the rows of its training; ``gaps`` says whether to miss values."""
    few = _head(rows)
    for column in columns_of(rows):
        kind = _values(rows, column).dtype.kind
        if kind in "iuf":
            if gaps:
                yield "a missing value", _changed(few, column, np.nan)
            yield "an infinity", _changed(few, column, np.inf)
            yield "an infinity", _changed(few, column, -np.inf)
            for size in _SIZES:
                yield "another size", _changed(few, column, size)
            yield "an unseen number", _changed(few, column, 41.0)
            yield "an unseen number", _changed(few, column, 1.5)
        elif kind == "O":
            for text in _TEXTS if _is_prose(rows, column) else _CATEGORIES:
                yield "an unseen text", _changed(few, column, text)
    if _is_numeric(rows):
        for size in (1e6, 1e-6, 1e15, 1e-15):
            yield "another size", few * size
        if gaps:
            yield "several missing values", _with_gaps(few)
        yield "beside a threshold", beside_thresholds(model, rows)


def beside_thresholds(model: Any, rows: Any) -> Any:
    """Return the neighbouring float32 rows between which the model's prediction changes."""
    random = np.random.default_rng(7)
    values = np.asarray(rows, dtype=np.float64)
    low, high = (values[random.integers(0, len(values), _PAIRS)] for _ in range(2))
    first, last = _predictions(model, _like(low, rows)), _predictions(model, _like(high, rows))
    if first is None or last is None:
        return rows[:0]
    differ = _differ(first, last)
    low, high, first = low[differ], high[differ], first[differ]
    if not len(low):
        return rows[:0]
    near, far = np.zeros(len(low)), np.ones(len(low))
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        between = _like(low + middle[:, None] * (high - low), rows)
        own = _predictions(model, between)
        if own is None:
            return rows[:0]
        moved = ~_differ(first, own)
        near, far = np.where(moved, middle, near), np.where(moved, far, middle)
    edges = [low + weight[:, None] * (high - low) for weight in (near, far)]
    return _like(np.concatenate(edges), rows)


def columns_of(rows: Any) -> list[Any]:
    """Return the columns: their names, their places, or the only one of a list of texts."""
    if hasattr(rows, "columns"):
        return list(rows.columns)
    return [None] if rows.ndim == 1 else list(range(rows.shape[1]))


def _predictions(model: Any, rows: Any) -> Any:
    own = getattr(model, "predict", None) or getattr(model, "transform", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answers = own(rows) if own else None
        except (ValueError, TypeError, AttributeError):
            return None  # it does not answer rows between those of training
    answers = answers.toarray() if hasattr(answers, "toarray") else answers
    return None if answers is None else np.asarray(answers).reshape(len(rows), -1)


def _differ(first: Any, second: Any) -> Any:
    return (first != second).any(axis=1)


def _like(values: Any, rows: Any) -> Any:
    """Return values that float32 holds, in the form of `rows`."""
    narrow = values.astype(np.float32)
    if hasattr(rows, "columns"):
        return type(rows)(narrow, columns=rows.columns).astype(rows.dtypes)
    return narrow.astype(rows.dtype)


def _is_numeric(rows: Any) -> bool:
    return all(_values(rows, column).dtype.kind == "f" for column in columns_of(rows))


def _is_prose(rows: Any, column: Any) -> bool:
    return any(" " in str(text) for text in _values(rows, column))


def _values(rows: Any, column: Any) -> Any:
    if hasattr(rows, "columns"):
        return rows[column].to_numpy()
    return rows if column is None else rows[:, column]


def _head(rows: Any) -> Any:
    few = rows.head(ROWS_OF_A_KIND) if hasattr(rows, "columns") else rows[:ROWS_OF_A_KIND]
    return few.copy()


def _changed(few: Any, column: Any, value: Any) -> Any:
    rows = few.copy()
    if hasattr(rows, "columns"):
        rows[column] = value
        return rows
    if isinstance(value, float) and rows.dtype.kind in "iu":
        rows = rows.astype(np.float64)
    rows[... if column is None else (slice(None), column)] = value
    return rows


def _with_gaps(few: Any) -> Any:
    rows = few.copy()
    random = np.random.default_rng(3)
    missing = random.random(rows.shape) < 0.4
    if hasattr(rows, "columns"):
        return rows.mask(missing)
    rows[missing] = np.nan
    return rows
