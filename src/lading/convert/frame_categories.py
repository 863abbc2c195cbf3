"""Finds the booster that gets a data frame's categories as they are, and puts their codes in front of it.

It is the model itself, or the last step of a pipeline behind a ColumnTransformer that passes them through.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from lading.convert.frame_codes import FrameCategories, FrameCodes
from lading.convert.sklearn_added import all_added
from lading.convert.table import Table


@dataclass(frozen=True)
class _Place:
    """A booster, and the ColumnTransformer in front of it, if one is."""

    booster: Any
    before: ColumnTransformer | None = None


def frame_categories(model: Any) -> FrameCategories | None:
    """Return what the booster in a model knows of the columns of the data frame that reach it as they are."""
    place = _place_of(model)
    added = all_added().get(type(place.booster)) if place is not None else None
    if place is None or added is None or added.categories is None:
        return None
    known = added.categories(place.booster)
    if known is None or place.before is None:
        return known
    passed = _passed(place.before)
    return None if passed is None else known.behind(passed)


def with_frame_codes(model: Any, table: Table, title: str) -> Any:
    """Return the booster behind the codes of its categories; any other model as it is."""
    known, place = frame_categories(model), _place_of(model)
    if known is None or place is None:
        return model
    values = known.named(table, title)
    booster = copy.copy(place.booster)
    booster.gets_codes = True
    if place.before is not None:
        before = _with_codes(place.before, values, refuses_unknown=known.refuses_unknown)
        return Pipeline([("columns", before), ("booster", booster)])
    names = list(table.arrays)
    own = {names.index(name): each for name, each in values.items()}
    codes = FrameCodes(own, len(names), refuses_unknown=known.refuses_unknown)
    return Pipeline([("categories", codes), ("booster", booster)])


def _place_of(model: Any) -> _Place | None:
    """Return the estimator that answers, if nothing but a ColumnTransformer stands before it."""
    if hasattr(model, "best_estimator_"):
        return _place_of(model.best_estimator_)
    if not hasattr(model, "steps"):
        return _Place(model)
    steps = [step for _, step in model.steps if step not in (None, "passthrough")]
    if len(steps) == 2 and isinstance(steps[0], ColumnTransformer) and not hasattr(steps[1], "steps"):
        return _Place(getattr(steps[1], "best_estimator_", steps[1]), steps[0])
    return _place_of(steps[0]) if len(steps) == 1 else None


def _passed(before: ColumnTransformer) -> tuple[str, ...] | None:
    """Return the column of the data frame that each output is, "" where a step made it; None if unknown."""
    passed: list[str] = []
    for name, transformer, columns in before.transformers_:
        outputs = before.output_indices_[name]
        if not _passes(transformer):
            passed += [""] * (outputs.stop - outputs.start)
        elif isinstance(columns, str | slice) or not all(isinstance(each, str) for each in columns):
            return None
        else:
            passed += columns
    return tuple(passed)


def _passes(transformer: Any) -> bool:
    identity = isinstance(transformer, FunctionTransformer) and transformer.func is None
    return identity or (isinstance(transformer, str) and transformer == "passthrough")


def _with_codes(
    before: ColumnTransformer, values: Mapping[str, tuple[Any, ...]], *, refuses_unknown: bool
) -> ColumnTransformer:
    """Return a ColumnTransformer that makes codes of the categories that it passed through."""

    def parts() -> Iterator[tuple[str, Any, Any]]:
        for name, transformer, columns in before.transformers_:
            if not _passes(transformer) or not set(columns) & set(values):
                yield name, transformer, columns
                continue
            for column in columns:  # alone, since skl2onnx puts several into one tensor first
                codes = FrameCodes({0: values.get(column, ())}, 1, refuses_unknown=refuses_unknown)
                yield f"{name}/{column}", codes if column in values else "passthrough", [column]

    changed = copy.copy(before)
    changed.transformers_ = list(parts())
    return changed
