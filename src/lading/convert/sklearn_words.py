"""What a fitted model knows of its columns: vocabularies, stop words and categories, found step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lading.convert.table import Table, is_missing

Column = tuple[str, int]


def known_words(model: Any, table: Table) -> dict[Column, tuple[str, ...]]:
    """Return the words that the model knows of each text column, sorted."""
    words: dict[Column, set[str]] = {}
    for step, columns in _walk(model, _columns(table)):
        if hasattr(step, "get_stop_words") and hasattr(step, "build_analyzer"):
            for column in columns[:1]:
                words.setdefault(column, set()).update(_words_of(step))
    return {
        column: tuple(sorted(own))
        for column, own in words.items()
        if table.arrays[column[0]].dtype.kind == "O"
    }


def known_categories(model: Any, table: Table) -> dict[Column, tuple[Any, ...]]:
    """Return the categories that the encoders of each column were fitted with, as Python values.

    A missing one is NaN. Of a column with several encoders, all that any of them knows.
    """
    categories: dict[Column, dict[Any, None]] = {}
    for step, columns in _walk(model, _columns(table)):
        fitted = getattr(step, "categories_", None)
        if fitted is None or len(fitted) != len(columns):
            continue
        for column, own in zip(columns, fitted, strict=True):
            values = (np.nan if is_missing(value) else value for value in np.asarray(own).tolist())
            categories.setdefault(column, {}).update(dict.fromkeys(values))
    return {column: tuple(own) for column, own in categories.items()}


def _columns(table: Table) -> list[Column]:
    if table.kind == "frame":
        return [(name, 0) for name in table.arrays]
    array = table.arrays["X"]
    return [("X", at) for at in range(int(np.prod(array.shape[1:], dtype=np.int64)))]


def _walk(model: Any, columns: list[Column]) -> Iterator[tuple[Any, list[Column]]]:
    """Return each step that gets columns of the samples as they are, with those columns."""
    yield model, columns
    if hasattr(model, "transformers_"):
        for _, transformer, chosen in model.transformers_:
            yield from _walk(transformer, _chosen(columns, chosen))
    else:
        for inner in _inner(model):
            yield from _walk(inner, columns)


def _words_of(vectorizer: Any) -> set[str]:
    words = {str(word) for word in getattr(vectorizer, "vocabulary_", ())}
    return words | {str(word) for word in vectorizer.get_stop_words() or ()}


def _inner(model: Any) -> Iterator[Any]:
    """Return the estimators that get what the model gets: the first step, each member, the one wrapped."""
    if hasattr(model, "best_estimator_"):
        yield model.best_estimator_
    elif hasattr(model, "steps"):
        for _, step in model.steps:
            yield step
            if not _keeps_columns(step):
                break
    elif hasattr(model, "transformer_list"):
        yield from (transformer for _, transformer in model.transformer_list)
    else:
        yield from (member.estimator for member in getattr(model, "calibrated_classifiers_", ()))
        members = getattr(model, "estimators_", ())
        yield from (member for member in np.ravel(np.array(members, dtype=object)) if hasattr(member, "fit"))
        if hasattr(model, "estimator_"):
            yield model.estimator_


def _keeps_columns(step: Any) -> bool:
    """Return whether the next step gets the same columns with the same values, but for missing ones."""
    if isinstance(step, str) or step is None:
        return step != "drop"
    if not hasattr(step, "statistics_") or getattr(step, "indicator_", None) is not None:
        return False
    return bool(step.keep_empty_features) or not any(is_missing(value) for value in step.statistics_)


def _chosen(columns: list[Column], chosen: Any) -> list[Column]:
    """Return the columns that a step of a ColumnTransformer gets: by name, number, mask or slice."""
    names = [name for name, _ in columns]
    if isinstance(chosen, slice):
        return (
            columns[chosen] if not isinstance(chosen.start, str) and not isinstance(chosen.stop, str) else []
        )
    asked = np.atleast_1d(np.asarray(chosen, dtype=object)).tolist()
    if asked and all(isinstance(name, bool | np.bool_) for name in asked):
        return [column for column, taken in zip(columns, asked, strict=False) if taken]
    wanted = []
    for name in asked:
        if isinstance(name, str) and name in names:
            wanted.append(columns[names.index(name)])
        elif isinstance(name, int | np.integer) and -len(columns) <= name < len(columns):
            wanted.append(columns[int(name)])
    return wanted
