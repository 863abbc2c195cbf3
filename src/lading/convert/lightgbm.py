"""LightGBM: estimators, native boosters, and estimators inside of scikit-learn's pipelines.

The trees are read from the text that LightGBM itself saves a model as. Features are float64; a row goes left
if its feature is not above the threshold, or if its category is one that the split lists. What is missing is
said by each split: NaN, zero and NaN, or nothing, and then NaN counts as zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from lading.convert.boosters import (
    NativeBooster,
    chosen_columns,
    finish_classifier,
    finish_two_classes,
    refuse_frame_categories,
    whole_categories,
)
from lading.convert.frame_codes import FrameCategories
from lading.convert.graph_nodes import GraphNodes
from lading.convert.sklearn import SklearnModel
from lading.convert.sklearn_added import Added, class_count
from lading.convert.tree_ensemble import TreeEnsemble
from lading.errors import ConverterFailed
from lading.signature import Array

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_ZERO_MISSING = 1  # of the two bits above; 2 is NaN alone
_ZERO = float(np.float32(1e-35))  # what is not larger is zero to LightGBM
_IDENTITY = frozenset(
    {
        "custom",
        "fair",
        "huber",
        "lambdarank",
        "mape",
        "quantile",
        "rank_xendcg",
        "regression",
        "regression_l1",
    }
)
_EXPONENTIAL = frozenset({"gamma", "poisson", "tweedie"})
_LOGISTIC = frozenset({"binary", "cross_entropy", "multiclassova"})
_DEFAULT_NAME = re.compile(r"Column_\d+")


@dataclass(frozen=True)
class _Saved:
    """A model as LightGBM saves it: facts of the whole, and each tree's, by name."""

    facts: dict[str, str]
    trees: list[dict[str, str]]

    @property
    def objective(self) -> tuple[str, dict[str, str]]:
        """The name of the objective and its settings, such as ``sigmoid``; ``custom`` if it has none."""
        name, *settings = self.facts.get("objective", "custom").split()
        parts = (setting.partition(":") for setting in settings)
        return name, {key: value for key, _, value in parts}

    def columns(self, is_of: Callable[[int], bool]) -> list[int]:
        """Return the columns that have a split of a kind."""
        splits = (
            zip(_whole(tree, "split_feature"), _whole(tree, "decision_type"), strict=True)
            for tree in self.trees
        )
        return sorted({column for each in splits for column, kind in each if is_of(kind)})


def _whole(tree: dict[str, str], name: str) -> list[int]:
    return [int(value) for value in tree.get(name, "").split()]


def open_booster(model: Any) -> SklearnModel:
    """Return the converter of an estimator or a native booster."""
    if not isinstance(model, lightgbm.Booster):
        return SklearnModel(model)
    names = model.feature_name()
    names = [] if all(_DEFAULT_NAME.fullmatch(name) for name in names) else names
    opened = SklearnModel(NativeLightgbm(model, model.num_feature(), names))
    opened.title = "Booster"
    return opened


class NativeLightgbm(NativeBooster):
    """A `lightgbm.Booster` as an estimator."""


def load_booster(path: Path) -> lightgbm.Booster:
    """Return the model in a file: a native booster, since the file has no labels."""
    return lightgbm.Booster(model_file=str(path))


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a model."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    title = type(model).__name__
    if frame_categories(model) is not None:
        refuse_frame_categories(model)
    saved = _saved(_booster_of(model).model_to_string(), title)
    ensemble, width = _trees(saved), int(saved.facts["max_feature_idx"]) + 1
    features = _without_zeros(nodes, nodes.features(operator), saved, width)
    features = whole_categories(nodes, features, saved.columns(_is_categorical), width)
    sums = ensemble.sums(nodes, features)
    value = _transformed(nodes, sums, saved, title)
    if not hasattr(model, "classes_"):
        nodes.finish(value, operator.outputs[0])
        return
    if saved.objective[0] in _IDENTITY:
        raise ConverterFailed(
            f"`{title}`",
            expected="probabilities",
            found="scores, because of an objective of one's own",
            hint="pack its `booster_`: the bundle answers these scores",
        )
    # A calibration asks for the sums.
    raw = sums if container.get_options(model, {"raw_scores": False})["raw_scores"] else None
    if ensemble.targets > 1:
        finish_classifier(nodes, operator, value, scores=raw)
    else:
        finish_two_classes(nodes, operator, value, scores=raw)


def frame_categories(model: Any) -> FrameCategories | None:
    """Return the categories of the data frame that a model was trained on; None if it had none.

    LightGBM has them in the order of their columns, and does not say which columns these are.
    """
    known = _booster_of(model).pandas_categorical
    return FrameCategories(tuple(map(tuple, known)), None, refuses_unknown=False) if known else None


def _booster_of(model: Any) -> lightgbm.Booster:
    booster: lightgbm.Booster = model.native if isinstance(model, NativeLightgbm) else model.booster_
    return booster


def _saved(text: str, title: str) -> _Saved:
    """Read the text of a model; raises `ConverterFailed` for what its graph would not have."""
    body, _, _ = text.partition("end of trees")
    head, *trees = re.split(r"^Tree=\d+$", body, flags=re.MULTILINE)
    facts, *parts = (_facts(part) for part in (head, *trees))
    if any(tree.get("is_linear", "0") != "0" for tree in parts):
        raise ConverterFailed(
            f"`{title}`",
            expected="leaves that are numbers",
            found="leaves that are lines (`linear_tree`)",
            hint="train without `linear_tree`",
        )
    return _Saved(facts, parts)


def _facts(text: str) -> dict[str, str]:
    lines = (line.partition("=") for line in text.splitlines())
    return {name: value for name, _, value in lines if name}


def _is_categorical(kind: int) -> bool:
    return bool(kind & _CATEGORICAL)


def _takes_zero_for_missing(kind: int) -> bool:
    return not _is_categorical(kind) and kind >> 2 == _ZERO_MISSING


def _without_zeros(nodes: GraphNodes, features: str, saved: _Saved, width: int) -> str:
    """Make zeros NaN in the columns where LightGBM takes them for missing: all of them, or none."""
    columns = saved.columns(_takes_zero_for_missing)
    if not columns:
        return features
    chosen = chosen_columns(nodes, columns, width)
    small = nodes.node("LessOrEqual", [nodes.node("Abs", [features]), nodes.constant(np.float64(_ZERO))])
    zero = nodes.node("And", [small, chosen])
    return nodes.node("Where", [zero, nodes.constant(np.float64(np.nan)), features])


def _trees(saved: _Saved) -> TreeEnsemble:
    targets = int(saved.facts["num_tree_per_iteration"])
    # A random forest answers the mean of its iterations.
    share = targets / len(saved.trees) if "average_output" in saved.facts else 1.0
    ensemble = TreeEnsemble(targets, np.zeros(targets))
    for number, tree in enumerate(saved.trees):
        _add_tree(ensemble, tree, number % targets, share)
    return ensemble


def _add_tree(ensemble: TreeEnsemble, tree: dict[str, str], target: int, share: float) -> None:
    names = ("split_feature", "decision_type", "left_child", "right_child")
    columns, kinds, lefts, rights = (_whole(tree, name) for name in names)
    thresholds = [float(value) for value in tree.get("threshold", "").split()]
    leaves = [float(value) for value in tree["leaf_value"].split()]
    splits = len(leaves) - 1
    ensemble.begin(splits + len(leaves))
    for at, weight in enumerate(leaves):
        ensemble.leaf(splits + at, {target: weight * share})
    for number in range(splits):
        # A child below zero is a leaf.
        left, right = (at if at >= 0 else splits + ~at for at in (lefts[number], rights[number]))
        column, kind, threshold = columns[number], kinds[number], thresholds[number]
        if kind & _CATEGORICAL:
            codes = _codes(tree, int(threshold))
            ensemble.among(number, column, codes, left, right, missing_then=False)
        else:
            missing_left = bool(kind & _DEFAULT_LEFT) if kind >> 2 else threshold >= 0
            ensemble.branch(number, column, "BRANCH_LEQ", threshold, left, right, missing_then=missing_left)


def _codes(tree: dict[str, str], at: int) -> list[float]:
    """Return the categories of a split, which has a set of bits."""
    bounds = [int(value) for value in tree["cat_boundaries"].split()]
    words = np.array(tree["cat_threshold"].split(), dtype="<u4")[bounds[at] : bounds[at + 1]]
    bits: Array = np.unpackbits(words.view(np.uint8), bitorder="little")
    return [float(code) for code in np.flatnonzero(bits)]


def _transformed(nodes: GraphNodes, raw: str, saved: _Saved, title: str) -> str:
    """Return what the objective makes of the sums, in float64."""
    (name, settings), wide = saved.objective, nodes.double(raw)
    if name in _LOGISTIC:
        steepness = nodes.constant(np.float64(settings.get("sigmoid", 1)))
        return nodes.node("Sigmoid", [nodes.node("Mul", [wide, steepness])])
    if name in _EXPONENTIAL:
        return nodes.node("Exp", [wide])
    if name == "multiclass":
        return nodes.node("Softmax", [wide], axis=1)
    if name == "cross_entropy_lambda":
        unit = nodes.constant(np.float64(1.0))
        return nodes.node("Log", [nodes.node("Add", [unit, nodes.node("Exp", [wide])])])
    if name in _IDENTITY and "sqrt" in settings:
        return nodes.node("Mul", [wide, nodes.node("Abs", [wide])])
    if name in _IDENTITY:
        return wide
    known = ", ".join(sorted(_IDENTITY | _LOGISTIC | _EXPONENTIAL | {"multiclass", "cross_entropy_lambda"}))
    raise ConverterFailed(f"`{title}`", expected=f"one of the objectives {known}", found=f"`{name}`")


ADDED: dict[type, Added] = {
    lightgbm.LGBMClassifier: Added(
        convert, ("label", "probabilities"), class_count, categories=frame_categories
    ),
    **dict.fromkeys(
        (lightgbm.LGBMRegressor, lightgbm.LGBMRanker, NativeLightgbm),
        Added(convert, ("value",), categories=frame_categories),
    ),
}
