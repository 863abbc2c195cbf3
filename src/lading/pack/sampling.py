"""Rows drawn from samples: between and around them to try a conversion, or in their place as golden rows.

Every draw is seeded, so that packing again gives the same bytes. Values stay within the range of their
column: beyond it many estimators refuse to answer, and none was trained.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from lading.convert import Table
from lading.convert.table import is_missing
from lading.errors import SamplesRefused
from lading.pack.text_drawing import draw_texts
from lading.signature import Array

# Changing the seed or the order of the draws changes the golden rows, and with them every digest.
SEED = 20240229
UNSEEN_TEXT = "lading: a text that was never seen"
_GOLDEN_WORDS = 32
_FEW_VALUES = 20
_FEW_COLUMNS = 64
_KNOWN_SHARE = 0.5  # of the drawn rows those with any category that an encoder knows
_SMALL_INTEGER = 100  # one more still fits into every integer dtype: int8 ends at 127

ColumnDraw = Callable[[Array], Array]
"""Draws new values of a column from its values, ``[count] -> [rows]``."""


def between(table: Table, rows: int) -> Table:
    """Draw `rows` rows between, around and exactly halfway between the samples."""
    random = np.random.default_rng(SEED)
    draw = _MixedRows(table.rows, rows, random)
    arrays = {name: _each_column(array, draw.column) for name, array in table.arrays.items()}
    # Last, so that other columns are drawn as they would be without it.
    for (name, at), words in table.words.items():
        values = table.arrays[name].reshape(table.rows, -1)[:, at]
        arrays[name].reshape(rows, -1)[:, at] = draw_texts(words, values, rows, random)
    return table.with_arrays(_with_categories(table, arrays, rows, random))


def recombined(table: Table, rows: int) -> Table:
    """Draw `rows` rows whose every value is a value of its column in some sample, or a known category."""
    random = np.random.default_rng(SEED + 1)

    def column(values: Array) -> Array:
        return np.asarray(values[random.integers(0, len(values), rows)])

    arrays = {name: _each_column(array, column) for name, array in table.arrays.items()}
    return table.with_arrays(_with_categories(table, arrays, rows, random))


def _with_categories(
    table: Table, arrays: dict[str, Array], rows: int, random: np.random.Generator
) -> dict[str, Array]:
    """Draw the columns of encoders once more: a value of some sample, or a category that the encoder knows.

    Each category occurs as long as there are rows for it. Between two categories there is none.
    """
    for (name, at), known in table.categories.items():
        drawn = arrays[name].copy()
        values = table.arrays[name].reshape(table.rows, -1)[:, at]
        held = _held(known, values.dtype)
        if (name, at) in table.words or not len(held):
            continue
        seen = values[random.integers(0, len(values), rows)]
        turns = np.concatenate([random.permutation(len(held)) for _ in range(-(-rows // len(held)))])[:rows]
        drawn.reshape(rows, -1)[:, at] = np.where(random.random(rows) < _KNOWN_SHARE, held[turns], seen)
        arrays = {**arrays, name: drawn}
    return arrays


def _held(known: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    """Return the categories that a column of this dtype can have; missing ones are drawn elsewhere."""
    present = [value for value in known if not is_missing(value)]
    if dtype.kind == "O":
        return np.array([value for value in present if isinstance(value, str)], dtype=object)
    numbers = [value for value in present if not isinstance(value, str)]
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    if limits is not None:
        numbers = [value for value in numbers if limits.min <= value <= limits.max and value == int(value)]
    return np.array(numbers, dtype=dtype)


def known_texts(table: Table, rows: int) -> Table:
    """Draw `rows` rows with texts of words that the model knows, those outside ASCII first.

    Lower case is a matter of the machine: what another one does to such words, samples need not show.
    """
    random = np.random.default_rng(SEED + 5)
    few = table.take(np.arange(rows) % table.rows)
    arrays = dict(few.arrays)
    for (name, at), words in table.words.items():
        mixed = [words[index] for index in random.permutation(len(words))]
        chosen = sorted(mixed, key=str.isascii)[:_GOLDEN_WORDS]
        column = arrays[name].copy()
        # Without values: the words of samples are nobody's business where golden rows are drawn.
        column.reshape(rows, -1)[:, at] = draw_texts(tuple(chosen), column[:0], rows, random)
        arrays[name] = column
    return few.with_arrays(arrays)


def unseen(table: Table, rows: int = 4) -> Iterator[tuple[str, Table]]:
    """Return a few sample rows with one value that no sample has: what is unseen, and the rows.

    An unknown category, and a fraction or another whole number if all samples are whole.
    """
    few = table.take(np.arange(min(rows, table.rows)))
    for name, array in table.arrays.items():
        flat = array.reshape(len(array), -1)  # [count, columns]
        if flat.shape[1] > _FEW_COLUMNS:
            continue
        for at in range(flat.shape[1]):
            where = f"column `{name}`" if flat.shape[1] == 1 else f"column {at} of `{name}`"
            unseen_values = _unseen_values(flat[:, at])
            if table.kind == "named":
                unseen_values = chain(unseen_values, _negative(flat[:, at]))
            if known := table.categories.get((name, at)):
                unseen_values = _unseen_categories(flat[:, at], known)
            for kind, value in unseen_values:
                fraction = isinstance(value, float | np.floating) and array.dtype.kind in "iu"
                changed = few.arrays[name].astype(np.float64 if fraction else array.dtype)
                changed.reshape(len(changed), -1)[:, at] = value
                yield f"{kind} in {where}", few.with_arrays({**few.arrays, name: changed})


def _negative(values: Array) -> Iterator[tuple[str, Any]]:
    """Return -1 for whole numbers of which none is negative: networks look them up, or divide by them."""
    if values.dtype.kind == "i" and len(values) and values.min() >= 0:
        yield "a negative number", -1


def _unseen_values(values: Array) -> Iterator[tuple[str, Any]]:
    if values.dtype.kind == "O":
        yield "an unseen text", UNSEEN_TEXT
        return
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    # Converters look categories up as integers, and 1.5 would become 1.
    if values.dtype.kind not in "iuf" or not len(known) or not (known == np.round(known)).all():
        return
    if len(np.unique(known)) <= _FEW_VALUES and known.max() < _SMALL_INTEGER:
        yield "an unseen number", known.max() + 1
    yield "a fraction", known.min() + 0.5


def _unseen_categories(values: Array, known: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Return values near the categories of an encoder, none of which it knows."""
    if values.dtype.kind == "b":
        return
    present = [value for value in known if not is_missing(value)]
    if values.dtype.kind == "O":
        texts = [value for value in present if isinstance(value, str)]
        # Near known ones in the ways in which a lookup might take them for known.
        near = [
            form for text in texts[:_FEW_VALUES] for form in (text.upper(), f"{text} ", _decomposed(text))
        ]
        for text in (UNSEEN_TEXT, "", "nan", "None", *near[:_FEW_VALUES]):
            if text not in texts:
                yield f"the unseen text `{text}`" if text != UNSEEN_TEXT else "an unseen text", text
        return
    numbers = [value for value in present if not isinstance(value, str)]
    if not numbers:
        return
    most = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else np.inf
    if max(numbers) + 1 <= most:
        yield "an unseen number", max(numbers) + 1
    yield "a fraction", next(value for at in range(1, 99) if (value := min(numbers) + at / 8) not in numbers)


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def synthetic(table: Table, rows: int, title: str) -> Table:
    """Draw `rows` rows from the columns' quantiles and categories, independently; no row is a sample.

    Raises `SamplesRefused` for texts that do not repeat: drawing one would disclose a sample.
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


class _MixedRows:
    """One choice of pairs of rows and of how to mix each, used for every column alike.

    The styles are: on the line between the two rows (40 %), anywhere in the column's range, halfway between
    two neighbouring values, near the first row, and halfway as somebody types it (15 % each).
    """

    def __init__(self, count: int, rows: int, random: np.random.Generator) -> None:
        self.random = random
        self.rows = rows
        self.first = random.integers(0, count, rows)  # [rows], as all of these
        self.second = random.integers(0, count, rows)
        self.weight = random.random(rows)
        self.style = random.choice(5, rows, p=[0.4, 0.15, 0.15, 0.15, 0.15])

    def column(self, values: Array) -> Array:
        """Draw one column; texts and values of few kinds are picked, whole numbers stay whole."""
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
        # Missing values stay missing as often as the pairs of rows have them.
        mixed = np.where(np.isnan(mixed), picked.astype(np.float64), mixed)
        mixed = np.round(mixed) if whole else mixed
        return np.asarray(mixed.astype(values.dtype))

    def _mixed(self, values: Array, points: Array) -> Array:
        """Mix pairs of `values`; `points` are the distinct ones, ascending."""
        random, low, high = self.random, values[self.first], values[self.second]
        # What overflows is clipped in the end.
        with np.errstate(invalid="ignore", over="ignore"):
            line = low + self.weight * (high - low)
            near = low + random.normal(0.0, 0.05, self.rows) * np.std(points)
            anywhere = points[0] + random.random(self.rows) * (points[-1] - points[0])
            # Trees put their thresholds halfway between neighbouring values: there a rounding decides.
            at = random.integers(0, max(1, len(points) - 1), self.rows)
            halfway = (points[at] + points[np.minimum(at + 1, len(points) - 1)]) / 2
            # As somebody types it: 1.72 is another float64 than the mean of 1.71 and 1.73.
            typed = np.round(halfway, _decimals(points) + 1)
        mixed = np.choose(self.style, [line, anywhere, halfway, near, typed])
        return np.asarray(np.clip(mixed, points[0], points[-1]))


def _each_column(array: Array, draw: ColumnDraw) -> Array:
    """Apply a draw to every column of ``[count, …]``; return ``[rows, …]``."""
    if array.ndim == 1:
        return np.asarray(draw(array))
    flat = array.reshape(len(array), -1)  # [count, columns]
    drawn = [np.asarray(draw(flat[:, at])) for at in range(flat.shape[1])]
    return np.stack(drawn, axis=1).reshape(-1, *array.shape[1:])


def _decimals(points: Array) -> int:
    """Return the decimals with which the values were written, or 15 if they were computed."""
    few = points[:: max(1, len(points) // 100)]
    return next((count for count in range(8) if (np.round(few, count) == few).all()), 15)


def _quantiles(values: Array, rows: int, random: np.random.Generator) -> Array:
    """Draw from the column's distribution, interpolated between its values; as many are missing."""
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
    """Draw texts that occur more than once, as often as they do; of prose, words."""
    texts = [str(value) for value in values]
    if _is_prose(values):
        texts = [word for text in texts for word in set(text.split())]
    distinct, counts = np.unique(np.array(texts, dtype=object), return_counts=True)
    repeated = counts > 1
    if not repeated.any():
        raise SamplesRefused(
            where,
            expected="categories that repeat",
            found="texts that occur once each",
            hint="pass `--golden rows` (`golden='rows'` in Python), or samples in which categories repeat",
        )
    distinct, counts = distinct[repeated], counts[repeated]
    if _is_prose(values):
        return _joined(random.choice(distinct, (rows, 8), p=counts / counts.sum()))
    return np.asarray(random.choice(distinct, rows, p=counts / counts.sum()))


def _is_prose(values: Array) -> bool:
    """Distinguish sentences from categories: most are different and have a space."""
    if values.dtype.kind != "O" or len(values) < 2:
        return False
    with_spaces = sum(" " in str(value) for value in values)
    return with_spaces * 2 > len(values) and len(set(values.tolist())) * 2 > len(values)


def _prose(values: Array, rows: int, random: np.random.Generator) -> Array:
    words = np.array([word for value in values for word in str(value).split()], dtype=object)
    return _joined(random.choice(words, (rows, 12)))


def _joined(words: Array) -> Array:
    """Join the words of each row to a text, ``[rows, words] -> [rows]``."""
    texts = np.empty(len(words), dtype=object)
    texts[:] = [" ".join(row) for row in words]
    return texts
