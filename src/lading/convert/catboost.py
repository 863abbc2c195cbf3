"""CatBoost: estimators, native models, and estimators inside of scikit-learn's pipelines.

The trees are read from the JSON that CatBoost saves a model as. Features are rounded to float32; a split asks
whether one is above its border, or whether a category is the one that it names. What is missing is below or
above all borders, as each feature says. Statistics of categories (CTR) are not converted.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import catboost
import numpy as np

from lading.convert.boosters import (
    NativeBooster,
    finish_classifier,
    finish_labels,
    refuse_frame_categories,
    single_features,
)
from lading.convert.frame_codes import FrameCategories
from lading.convert.graph_nodes import INT64, GraphNodes
from lading.convert.sklearn import SklearnModel
from lading.convert.sklearn_added import Added, class_count
from lading.convert.table import Table
from lading.convert.tree_ensemble import TreeEnsemble
from lading.errors import ConverterFailed, SamplesRefused, one_line

_LABELS = frozenset({"MultiCrossEntropy", "MultiLogloss"})
_ONE_CLASS_EACH = frozenset({"MultiClassOneVsAll", *_LABELS})
_RANKING = ("LambdaMart", "PairLogit", "Query", "Stochastic", "YetiRank")
_CATEGORIES_HINT = "train with a larger one_hot_max_size, or encode the categories in a step before"


class NativeCatboost(NativeBooster):
    """A `catboost.CatBoost` as an estimator: it answers the sums of its trees."""


@dataclass(frozen=True)
class CatboostCategories(FrameCategories):
    """The categories by which a model splits: CatBoost keeps their hashes, and samples show the texts."""

    model: Any = None

    def behind(self, passed: tuple[str, ...]) -> FrameCategories | None:  # noqa: ARG002
        """Return None: the texts of categories are known from samples as they reach the model."""
        return None

    def named(self, table: Table, title: str) -> dict[str, tuple[Any, ...]]:
        """Return the values by the name of the column; raises `SamplesRefused` if samples lack some."""
        names = [list(table.arrays)[at] for at in self.columns or ()] if table.kind == "frame" else []
        if names and all((name, 0) in table.categories for name in names):
            return {name: table.categories[name, 0] for name in names}
        if not names:
            return super().named(table, title)
        saved = _saved(self.model, title, table, self.columns or ())
        texts = {each["hash"]: each["value"] for each in saved.facts["features_info"]["cat_features_hash"]}
        named = {}
        for name, hashes in zip(names, saved.categories.values(), strict=True):
            own = [texts.get(each & 0xFFFFFFFF) for each in hashes]
            if None in own:
                raise SamplesRefused(
                    f"samples of `{title}`, column `{name}`",
                    expected=f"each of the {len(own)} categories by which the model splits",
                    found=f"{len(own) - own.count(None)} of them: CatBoost keeps their hashes only",
                    hint="pass samples in which every category occurs, such as the training data",
                )
            whole = table.arrays[name].dtype.kind in "iu"
            named[name] = tuple(int(text) if whole else text for text in own if text is not None)
        return named


@dataclass(frozen=True)
class _Saved:
    """A model as CatBoost saves it."""

    facts: dict[str, Any]

    @property
    def loss(self) -> str:
        """The name of the loss function that it was trained with."""
        settings = self.facts["model_info"]["params"]
        settings = json.loads(settings) if isinstance(settings, str) else settings
        return str(settings["loss_function"]["type"])

    @property
    def categories(self) -> dict[int, list[int]]:
        """The hashes of the categories that splits name, by the number of the categorical feature."""
        known = self.facts["features_info"].get("categorical_features", ())
        return {each["feature_index"]: each.get("values", []) for each in known}

    def columns(self, kind: str) -> dict[int, int]:
        """Return the column of each feature of a kind, by its number among those."""
        known = self.facts["features_info"].get(kind, ())
        return {each["feature_index"]: each["flat_feature_index"] for each in known}


def open_booster(model: Any) -> SklearnModel:
    """Return the converter of an estimator or a native model."""
    if type(model) in ADDED:
        return SklearnModel(model)
    names = model.feature_names_ or ()
    plain = list(names) == [str(at) for at in range(len(names))]
    opened = SklearnModel(NativeCatboost(model, len(names), () if plain else names))
    opened.title = "CatBoost"
    return opened


def load_booster(path: Path) -> Any:
    """Return the model in a file as an estimator: its loss says of which kind."""
    form = "cbm" if path.suffix != ".json" else "json"
    model = catboost.CatBoost().load_model(str(path), format=form)
    if len(model.classes_):
        kind = catboost.CatBoostClassifier
    elif _saved(model, "CatBoost").loss.startswith(_RANKING):
        kind = catboost.CatBoostRanker
    else:
        kind = catboost.CatBoostRegressor
    return kind().load_model(str(path), format=form)


def frame_categories(model: Any) -> FrameCategories | None:
    """Return the columns of categories of a model; None if it has none."""
    native = _native(model)
    columns = native.get_cat_feature_indices()
    if not len(columns):
        return None
    return CatboostCategories((), tuple(columns), refuses_unknown=False, takes_missing=False, model=native)


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a model."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    title = type(model).__name__
    if frame_categories(model) is not None:
        refuse_frame_categories(model)
    saved = _saved(_native(model), title)
    sums = _sums(nodes, nodes.double(single_features(nodes, operator)), saved, title)
    if not hasattr(model, "predict_proba"):
        nodes.finish(_transformed(nodes, sums, saved, model), operator.outputs[0])
    elif len(saved.facts["scale_and_bias"][1]) == 1:
        _finish_two_classes(nodes, operator, sums, saved)
    elif saved.loss in _LABELS:
        limit = nodes.constant(np.float64(_limit(saved)))
        finish_labels(nodes, operator, nodes.node("Greater", [sums, limit]), nodes.node("Sigmoid", [sums]))
    else:
        own = saved.loss in _ONE_CLASS_EACH
        shares = nodes.node("Sigmoid", [sums]) if own else nodes.node("Softmax", [sums], axis=1)
        best = nodes.node("ArgMax", [sums], axis=1, keepdims=0)
        finish_classifier(nodes, operator, shares, index=best)


def _native(model: Any) -> Any:
    return model.native if isinstance(model, NativeCatboost) else model


def _saved(model: Any, title: str, table: Table | None = None, columns: Sequence[int] = ()) -> _Saved:
    """Read what CatBoost saves of a model, with the texts of the categories in a table."""
    with tempfile.TemporaryDirectory(prefix="lading-") as folder:
        path = Path(folder, "model.json")
        try:
            rows = (
                None if table is None else catboost.Pool(table.framework_rows(), cat_features=list(columns))
            )
            model.save_model(str(path), format="json", pool=rows)
        except (catboost.CatBoostError, TypeError, ValueError) as error:
            if table is not None:
                expected = "rows that the estimator itself answers"
                raise SamplesRefused(
                    f"samples of `{title}`", expected=expected, found=one_line(error)
                ) from error
            raise ConverterFailed(
                f"`{title}`", expected="a model that CatBoost saves as JSON", found=one_line(error)
            ) from error
        return _Saved(json.loads(path.read_bytes()))


def _sums(nodes: GraphNodes, features: str, saved: _Saved, title: str) -> str:
    """Add the trees; return their sums as CatBoost scales and shifts them, ``[batch, targets]``."""
    scale, bias = saved.facts["scale_and_bias"]
    ensemble = TreeEnsemble(len(bias), np.zeros(len(bias)))
    splits = _Splits(saved, ensemble, title)
    for tree in saved.facts.get("oblivious_trees", ()):
        _add_symmetric(splits, tree, len(bias))
    for tree in saved.facts.get("trees", ()):
        _add_tree(splits, tree)
    if not (saved.facts.get("oblivious_trees") or saved.facts.get("trees")):
        ensemble.begin(1)
        ensemble.leaf(0, {0: 0.0})
    scaled = nodes.node(
        "Mul", [nodes.double(ensemble.sums(nodes, features)), nodes.constant(np.float64(scale))]
    )
    return nodes.node("Add", [scaled, nodes.constant(np.array([bias], dtype=np.float64))])


class _Splits:
    """Adds the splits of one model to its ensemble."""

    def __init__(self, saved: _Saved, ensemble: TreeEnsemble, title: str) -> None:
        self.ensemble = ensemble
        self._title = title
        self._numbers = saved.columns("float_features")
        self._categories = saved.columns("categorical_features")
        self._codes = {
            (feature, value): code
            for feature, values in saved.categories.items()
            for code, value in enumerate(values)
        }
        self._above = {
            each["feature_index"]
            for each in saved.facts["features_info"].get("float_features", ())
            if each["nan_value_treatment"] == "AsTrue"
        }

    def add(self, number: int, split: dict[str, Any], left: int, right: int) -> None:
        """Add a node that goes to `right` if what its split asks is so."""
        kind = split["split_type"]
        if kind == "FloatFeature":
            feature, border = split["float_feature_index"], float(split["border"])
            self.ensemble.branch(
                number,
                self._numbers[feature],
                "BRANCH_LEQ",
                border,
                left,
                right,
                missing_then=feature not in self._above,
            )
        elif kind == "OneHotFeature":
            feature = split["cat_feature_index"]
            code = float(self._codes[feature, split["value"]])
            column = self._categories[feature]
            self.ensemble.branch(number, column, "BRANCH_EQ", code, right, left, missing_then=False)
        else:
            raise ConverterFailed(
                f"`{self._title}`",
                expected="splits by numbers and by single categories",
                found="splits by statistics of categories" if "Ctr" in kind else f"splits of kind `{kind}`",
                hint=_CATEGORIES_HINT,
            )


def _add_symmetric(splits: _Splits, tree: dict[str, Any], targets: int) -> None:
    """Add a tree that asks the same on each level: the answer to its first split is a leaf's lowest bit."""
    levels = list(reversed(tree["splits"] or ()))
    leaves = np.array(tree["leaf_values"], dtype=np.float64).reshape(-1, targets)
    first = len(leaves) - 1  # the nodes of a level come one after another, the leaves last
    splits.ensemble.begin(first + len(leaves))
    for number in range(first):
        split = levels[(number + 1).bit_length() - 1]
        splits.add(number, split, 2 * number + 1, 2 * number + 2)
    for at, weights in enumerate(leaves.tolist()):
        splits.ensemble.leaf(first + at, dict(enumerate(weights)))


def _add_tree(splits: _Splits, tree: dict[str, Any]) -> None:
    """Add a tree of another shape, node by node."""
    nodes = list(_numbered(tree))
    splits.ensemble.begin(len(nodes))
    for number, (node, left, right) in enumerate(nodes):
        if "split" in node:
            splits.add(number, node["split"], left, right)
        else:
            weights = np.atleast_1d(np.array(node["value"], dtype=np.float64))
            splits.ensemble.leaf(number, dict(enumerate(weights.tolist())))


def _numbered(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Return the nodes level by level, with the numbers of their children."""
    waiting, unused = [tree], 1
    for node in waiting:  # it grows
        if "split" in node:
            waiting += [node["left"], node["right"]]
            yield node, unused, unused + 1
            unused += 2
        else:
            yield node, 0, 0


def _limit(saved: _Saved) -> float:
    """Return the sum above which the label is the second class: that of the probability stated for it."""
    share = float(saved.facts["model_info"].get("binclass_probability_threshold") or 0.5)
    return float(np.log(share / (1 - share)))


def _finish_two_classes(nodes: GraphNodes, operator: Any, sums: str, saved: _Saved) -> None:
    second = nodes.node("Sigmoid", [sums])
    first = nodes.node("Sub", [nodes.constant(np.float64(1.0)), second])
    both = nodes.node("Concat", [first, second], axis=1)
    above = nodes.node("Greater", [sums, nodes.constant(np.float64(_limit(saved)))])
    index = nodes.node("Squeeze", [nodes.node("Cast", [above], to=INT64), nodes.axis(1)])
    finish_classifier(nodes, operator, both, index=index)


def _transformed(nodes: GraphNodes, sums: str, saved: _Saved, model: Any) -> str:
    """Return what `predict` of a model without classes makes of the sums: it is asked."""
    if not isinstance(model, catboost.CatBoostRegressor):
        return sums
    columns: dict[int, Any] = dict.fromkeys(saved.columns("float_features").values(), 0.0)
    columns |= dict.fromkeys(saved.columns("categorical_features").values(), "0")
    row = [[columns[at] for at in range(len(columns))]]
    own, raw = (np.ravel(model.predict(row, **kind)) for kind in ({}, {"prediction_type": "RawFormulaVal"}))
    if np.array_equal(own, raw):
        return sums
    if np.allclose(own, np.exp(raw)):
        return nodes.node("Exp", [sums])
    if len(own) == len(raw) == 2 and np.allclose(own, [raw[0], np.exp(2 * raw[1])]):
        # A mean, and the logarithm of a standard deviation where `predict` has a variance.
        mean, spread = (nodes.node("Gather", [sums, nodes.axis(at)], axis=1) for at in (0, 1))
        doubled = nodes.node("Exp", [nodes.node("Add", [spread, spread])])
        return nodes.node("Concat", [mean, doubled], axis=1)
    raise ConverterFailed(
        f"`{type(model).__name__}`",
        expected="predictions that are the sums of the trees, or their exponents",
        found="others",
    )


ADDED: dict[type, Added] = {
    catboost.CatBoostClassifier: Added(
        convert, ("label", "probabilities"), class_count, categories=frame_categories
    ),
    **dict.fromkeys(
        (catboost.CatBoostRegressor, catboost.CatBoostRanker, NativeCatboost),
        Added(convert, ("value",), categories=frame_categories),
    ),
}
