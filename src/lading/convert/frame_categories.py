"""Finds the booster that gets a data frame's categories as they are, and puts their codes in front of it."""

from __future__ import annotations

import copy
from typing import Any

from sklearn.pipeline import Pipeline

from lading.convert.frame_codes import FrameCategories, FrameCodes
from lading.convert.sklearn_added import all_added
from lading.convert.table import Table


def frame_categories(model: Any) -> FrameCategories | None:
    """Return what the booster in a model knows of the data frame that it was trained on, if it is all."""
    booster = _booster_of(model)
    added = all_added().get(type(booster))
    return added.categories(booster) if added is not None and added.categories is not None else None


def with_frame_codes(model: Any, table: Table, title: str) -> Any:
    """Return the booster behind the codes of its categories; any other model as it is."""
    known = frame_categories(model)
    if known is None:
        return model
    booster = copy.copy(_booster_of(model))
    booster.gets_codes = True
    names = list(table.arrays)
    values = {names.index(name): own for name, own in known.named(table, title).items()}
    codes = FrameCodes(values, len(names), refuses_unknown=known.refuses_unknown)
    return Pipeline([("categories", codes), ("booster", booster)])


def _booster_of(model: Any) -> Any:
    """Return the estimator that gets the samples as they are and answers: a model, or its only step."""
    if hasattr(model, "best_estimator_"):
        return _booster_of(model.best_estimator_)
    if not hasattr(model, "steps"):
        return model
    steps = [step for _, step in model.steps if step not in (None, "passthrough")]
    return _booster_of(steps[0]) if len(steps) == 1 else None
