"""What the converters of boosters share: native boosters as estimators, and the ends of their graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from lading.convert.graph_nodes import DOUBLE, FLOAT, INT64, GraphNodes
from lading.errors import ConverterFailed
from lading.signature import Array


class NativeBooster(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A booster with the methods of an estimator: it answers what the booster's own `predict` answers.

    `names` are the columns that it was trained on, if these had names.
    """

    def __init__(self, native: Any = None, columns: int = 0, names: Sequence[str] = ()) -> None:
        self.native = native
        self.columns = self.n_features_in_ = columns
        self.names = names
        if names:
            self.feature_names_in_ = np.array(names, dtype=object)

    def fit(self, X: Any, y: Any) -> NativeBooster:  # noqa: ARG002, N803 - scikit-learn asks it of an estimator
        """Return itself: it has been trained."""
        return self

    def predict(self, rows: Any) -> Array:
        """Return the booster's predictions."""
        return np.asarray(self.native.predict(rows))

    def __sklearn_is_fitted__(self) -> bool:
        return True


def refuse_frame_categories(model: Any) -> None:
    """Raise `ConverterFailed` for a booster that knows a data frame's categories, and does not get codes."""
    if getattr(model, "gets_codes", False):
        return
    raise ConverterFailed(
        f"`{type(model).__name__}`",
        expected="numbers, or a booster that gets the data frame itself",
        found="categories of a data frame behind another step, or inside of another estimator",
        hint="encode them in a step before (`OrdinalEncoder`), and name their columns to the booster",
    )


def single_features(nodes: GraphNodes, operator: Any) -> str:
    """Return the columns that an operator gets, rounded to float32, ``[batch, columns]``."""
    columns = [nodes.node("Cast", [variable.full_name], to=FLOAT) for variable in operator.inputs]
    return columns[0] if len(columns) == 1 else nodes.node("Concat", columns, axis=1)


def chosen_columns(nodes: GraphNodes, columns: Sequence[int], width: int) -> str:
    """Return marks of some of `width` columns, ``[1, width]``."""
    chosen = np.zeros((1, width), dtype=bool)
    chosen[0, list(columns)] = True
    return nodes.constant(chosen)


def whole_categories(nodes: GraphNodes, features: str, columns: Sequence[int], width: int) -> str:
    """Cut the fractions off the columns of categories, as a cast to an integer does in C."""
    if not columns:
        return features
    negative = nodes.node("Less", [features, nodes.constant(np.float64(0.0))])
    whole = nodes.node("Where", [negative, nodes.node("Ceil", [features]), nodes.node("Floor", [features])])
    return nodes.node("Where", [chosen_columns(nodes, columns, width), whole, features])


def finish_classifier(
    nodes: GraphNodes,
    operator: Any,
    probabilities: str,
    *,
    index: str | None = None,
    scores: str | None = None,
) -> None:
    """Make the outputs of a classifier of its probabilities ``[batch, classes]``.

    `index` is that of the label, ``[batch]``; without it the label is the class with the largest one.
    `scores` are put out in the place of the probabilities.
    """
    label, output = operator.outputs
    best = index or nodes.node("ArgMax", [probabilities], axis=1, keepdims=0)
    nodes.label(best, np.asarray(operator.raw_operator.classes_), label)
    nodes.finish(scores or probabilities, output)


def finish_labels(nodes: GraphNodes, operator: Any, labels: str, probabilities: str) -> None:
    """Make the outputs of a classifier of several labels, each of which may be true, ``[batch, labels]``."""
    nodes.finish(labels, operator.outputs[0])
    nodes.finish(probabilities, operator.outputs[1])


def finish_two_classes(
    nodes: GraphNodes, operator: Any, second: str, *, single: bool = False, scores: str | None = None
) -> None:
    """Make the outputs of a classifier of the probability of its second class, ``[batch, 1]``.

    With ``single`` the framework has it, and the other one, in float32. `scores` are put out in their place.
    """
    kind, dtype = (FLOAT, np.float32) if single else (DOUBLE, np.float64)
    second = nodes.node("Cast", [second], to=kind)
    unit, half = (nodes.constant(np.array([value], dtype)) for value in (1.0, 0.5))
    both = nodes.node("Concat", [nodes.node("Sub", [unit, second]), second], axis=1)
    above = nodes.node("Cast", [nodes.node("Greater", [second, half])], to=INT64)
    index = nodes.node("Squeeze", [above, nodes.axis(1)])
    finish_classifier(nodes, operator, both, index=index, scores=scores)
