"""The texts that a fitted model knows of its columns: vocabularies and stop words, found step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lading.convert.table import Table

Column = tuple[str, int]


def known_words(model: Any, table: Table) -> dict[Column, tuple[str, ...]]:
    """Return the words that the model knows of each text column, sorted."""
    if table.kind == "frame":
        columns = [(name, 0) for name in table.arrays]
    else:
        array = table.arrays["X"]
        columns = [("X", at) for at in range(int(np.prod(array.shape[1:], dtype=np.int64)))]
    words: dict[Column, set[str]] = {}
    for column, own in _walk(model, columns):
        words.setdefault(column, set()).update(own)
    return {
        column: tuple(sorted(own))
        for column, own in words.items()
        if table.arrays[column[0]].dtype.kind == "O"
    }


def _walk(model: Any, columns: list[Column]) -> Iterator[tuple[Column, set[str]]]:
    """Return (column, words) of each vectorizer that gets a column of the samples as it is."""
    if hasattr(model, "get_stop_words") and hasattr(model, "build_analyzer"):
        for column in columns[:1]:
            yield column, _words_of(model)
    elif hasattr(model, "transformers_"):
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
        yield model.steps[0][1]
    elif hasattr(model, "transformer_list"):
        yield from (transformer for _, transformer in model.transformer_list)
    else:
        yield from (member.estimator for member in getattr(model, "calibrated_classifiers_", ()))
        members = getattr(model, "estimators_", ())
        yield from (member for member in np.ravel(np.array(members, dtype=object)) if hasattr(member, "fit"))
        if hasattr(model, "estimator_"):
            yield model.estimator_


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
