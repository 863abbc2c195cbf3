"""Rows drawn from samples: between and around them to try a conversion, or in their place as golden rows.

Every draw is seeded, so that packing again gives the same bytes. Values stay within the range of their
column: beyond it many estimators refuse to answer, and nobody trained there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lading.convert import Table
from lading.errors import SamplesRefused
from lading.signature import Array

SEED = 20240229
UNSEEN_TEXT = "lading: a text that was never seen"
_FEW_VALUES = 20
_FEW_COLUMNS = 64
_LARGE = 100  # below the largest of every integer dtype


def between(table: Table, rows: int) -> Table:
    """Draw `rows` rows between, around and exactly halfway between the samples.

    Halfway between two neighbouring values of a column is where trees put their thresholds: there a rounding
    decides the branch.
    """
    random = np.random.default_rng(SEED)
    draw = _Draw(table.rows, rows, random)
    return table.with_arrays({name: _each_column(array, draw.column) for name, array in table.arrays.items()})


def recombined(table: Table, rows: int) -> Table:
    """Draw `rows` rows whose every value is a value of its column in some sample."""
    random = np.random.default_rng(SEED + 1)

    def column(values: Array) -> Array:
        return np.asarray(values[random.integers(0, len(values), rows)])

    return table.with_arrays({name: _each_column(array, column) for name, array in table.arrays.items()})


def unseen(table: Table, rows: int = 4) -> Iterator[tuple[str, Table]]:
    """Return a few sample rows with one value that no sample has: what is unseen, and the rows.

    An unknown category, and a fraction or another whole number where all samples are whole: converters look
    categories up as integers, and 1.5 would become 1.
    """
    few = table.take(np.arange(min(rows, table.rows)))
    for name, array in table.arrays.items():
        flat = array.reshape(len(array), -1)  # [count, columns]
        if flat.shape[1] > _FEW_COLUMNS:
            continue
        for at in range(flat.shape[1]):
            where = f"column `{name}`" if flat.shape[1] == 1 else f"column {at} of `{name}`"
            for kind, value in _unseen_values(flat[:, at]):
                fraction = isinstance(value, float | np.floating) and array.dtype.kind in "iu"
                changed = few.arrays[name].astype(np.float64 if fraction else array.dtype)
                changed.reshape(len(changed), -1)[:, at] = value
                yield f"{kind} in {where}", few.with_arrays({**few.arrays, name: changed})


def _unseen_values(values: Array) -> Iterator[tuple[str, Any]]:
    if values.dtype.kind == "O":
        yield "an unseen text", UNSEEN_TEXT
        return
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if values.dtype.kind not in "iuf" or not len(known) or not (known == np.round(known)).all():
        return
    if len(np.unique(known)) <= _FEW_VALUES and known.max() < _LARGE:
        yield "an unseen number", known.max() + 1
    yield "a fraction", known.min() + 0.5


def synthetic(table: Table, rows: int, title: str) -> Table:
    """Draw `rows` rows from the columns' quantiles and categories, independently; no row is a sample.

    Raises `SamplesRefused` for texts that do not repeat: drawing one would give away a sample.
    """
    random = np.random.default_rng(SEED + 2)
    arrays = {}
    for name, array in table.arrays.items():

        def column(values: Array, name: str = name) -> Array:
            if values.dtype.kind == "O":
                return _categories(values, rows, random, f"samples of `{title}`, column `{name}`")
            return _quantiles(values, rows, random)

        arrays[name] = _each_column(array, column)
    return table.with_arrays(arrays)


class _Draw:
    """One choice of pairs of rows and of how to mix each, used for every column alike."""

    def __init__(self, count: int, rows: int, random: np.random.Generator) -> None:
        self.random = random
        self.rows = rows
        self.first = random.integers(0, count, rows)
        self.second = random.integers(0, count, rows)
        self.weight = random.random(rows)
        self.style = random.choice(5, rows, p=[0.4, 0.15, 0.15, 0.15, 0.15])

    def column(self, values: Array) -> Array:
        """Draw one column; values of few kinds and texts are picked, whole numbers stay whole."""
        random = self.random
        picked = np.where(self.weight < 0.5, values[self.first], values[self.second])
        if values.dtype.kind in "bO":
            if _is_prose(values):
                return _prose(values, self.rows, random)
            anywhere = values[random.integers(0, len(values), self.rows)]
            return np.where(self.style == 1, anywhere, picked)
        known = values[np.isfinite(values)].astype(np.float64)
        whole = bool(len(known)) and bool((known == np.round(known)).all())
        points = np.unique(known)
        if not len(points) or (whole and len(points) <= _FEW_VALUES):
            return picked
        mixed = self._mixed(values.astype(np.float64), points)
        mixed = np.where(np.isnan(mixed), picked.astype(np.float64), mixed)
        mixed = np.round(mixed) if whole else mixed
        return np.asarray(mixed.astype(values.dtype))

    def _mixed(self, values: Array, points: Array) -> Array:
        random, low, high = self.random, values[self.first], values[self.second]
        with np.errstate(invalid="ignore"):
            line = low + self.weight * (high - low)
            near = low + random.normal(0.0, 0.05, self.rows) * np.std(points)
        anywhere = points[0] + random.random(self.rows) * (points[-1] - points[0])
        at = random.integers(0, max(1, len(points) - 1), self.rows)
        halfway = (points[at] + points[np.minimum(at + 1, len(points) - 1)]) / 2
        # As somebody types it: 1.72 is another float64 than the mean of 1.71 and 1.73.
        typed = np.round(halfway, _decimals(points) + 1)
        mixed = np.choose(self.style, [line, anywhere, halfway, near, typed])
        return np.asarray(np.clip(mixed, points[0], points[-1]))


def _each_column(array: Array, draw: object) -> Array:
    """Apply a draw of ``[count] -> [rows]`` to every column of ``[count, …]``."""
    if not callable(draw):
        raise TypeError
    if array.ndim == 1:
        return np.asarray(draw(array))
    flat = array.reshape(len(array), -1)  # [count, columns]
    drawn = [np.asarray(draw(flat[:, at])) for at in range(flat.shape[1])]
    return np.stack(drawn, axis=1).reshape(-1, *array.shape[1:])


def _decimals(points: Array) -> int:
    """Return the decimals with which the values were written; 15 where they were computed."""
    few = points[:: max(1, len(points) // 100)]
    return next((count for count in range(8) if (np.round(few, count) == few).all()), 15)


def _quantiles(values: Array, rows: int, random: np.random.Generator) -> Array:
    if values.dtype.kind == "b":
        return np.asarray(random.random(rows) < values.mean())
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return values[:1].repeat(rows)
    drawn = np.quantile(known, random.random(rows))
    if (known == np.round(known)).all():
        drawn = np.round(drawn)
    if values.dtype.kind == "f":
        missing = np.isnan(values).mean()
        drawn = np.where(random.random(rows) < missing, np.nan, drawn)
    return drawn.astype(values.dtype)


def _categories(values: Array, rows: int, random: np.random.Generator, where: str) -> Array:
    texts = [str(value) for value in values]
    if _is_prose(values):
        texts = [word for text in texts for word in set(text.split())]
    seen, counts = np.unique(np.array(texts, dtype=object), return_counts=True)
    common = counts > 1
    if not common.any():
        hint = "give golden='rows', or samples in which categories repeat"
        found = "texts that occur once each"
        raise SamplesRefused(where, expected="categories that repeat", found=found, hint=hint)
    seen, counts = seen[common], counts[common]
    if _is_prose(values):
        return _joined(random.choice(seen, (rows, 8), p=counts / counts.sum()))
    return np.asarray(random.choice(seen, rows, p=counts / counts.sum()))


def _is_prose(values: Array) -> bool:
    """Tell sentences from categories: most are different and hold a space."""
    if values.dtype.kind != "O" or len(values) < 2:
        return False
    spaced = sum(" " in str(value) for value in values)
    return spaced * 2 > len(values) and len(set(values.tolist())) * 2 > len(values)


def _prose(values: Array, rows: int, random: np.random.Generator) -> Array:
    words = np.array([word for value in values for word in str(value).split()], dtype=object)
    return _joined(random.choice(words, (rows, 12)))


def _joined(words: Array) -> Array:
    texts = np.empty(len(words), dtype=object)
    texts[:] = [" ".join(row) for row in words]
    return texts
