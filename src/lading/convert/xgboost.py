"""XGBoost: estimators, native boosters, and estimators inside of scikit-learn's pipelines.

The trees are read from the model's own JSON. XGBoost's documentation says how they are used: features are
rounded to float32, a row goes left if its feature is below the threshold, a category that a split lists goes
right, and a missing value takes the side that the split learnt.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from lading.convert.boosters import (
    NativeBooster,
    finish_classifier,
    finish_labels,
    finish_two_classes,
    refuse_frame_categories,
    single_features,
    whole_categories,
)
from lading.convert.frame_codes import FrameCategories
from lading.convert.graph_nodes import DOUBLE, FLOAT, GraphNodes
from lading.convert.sklearn import SklearnModel
from lading.convert.sklearn_added import Added, class_count
from lading.convert.tree_ensemble import TreeEnsemble
from lading.errors import ConverterFailed
from lading.signature import Array

_IDENTITY = frozenset(
    {
        "binary:logitraw",
        "rank:map",
        "rank:ndcg",
        "rank:pairwise",
        "reg:absoluteerror",
        "reg:expectileerror",
        "reg:linear",
        "reg:pseudohubererror",
        "reg:quantileerror",
        "reg:squarederror",
        "reg:squaredlogerror",
    }
)
_LOGISTIC = frozenset({"binary:logistic", "reg:logistic"})
_EXPONENTIAL = frozenset({"count:poisson", "reg:gamma", "reg:tweedie", "survival:aft", "survival:cox"})
_SOFTMAX = frozenset({"multi:softmax", "multi:softprob"})
_ESTIMATORS: dict[str, Any] = {
    "classifier": xgboost.XGBClassifier,
    "ranker": xgboost.XGBRanker,
    "regressor": xgboost.XGBRegressor,
}


class NativeXgboost(NativeBooster):
    """An `xgboost.Booster` as an estimator."""

    def predict(self, rows: Any) -> Array:
        """Return the predictions of all iterations."""
        frame = hasattr(rows, "columns")
        matrix = xgboost.DMatrix(
            rows,
            feature_names=None if frame else self.native.feature_names,
            feature_types=None if frame else self.native.feature_types,
            enable_categorical=True,
        )
        return np.asarray(self.native.predict(matrix))


def open_booster(model: Any) -> SklearnModel:
    """Return the converter of an estimator or a native booster."""
    if not isinstance(model, xgboost.Booster):
        return SklearnModel(model)
    opened = SklearnModel(NativeXgboost(model, model.num_features(), model.feature_names or ()))
    opened.title = "Booster"
    return opened


def load_booster(path: Path) -> Any:
    """Return the model in a file: the estimator that saved it, or a native booster."""
    booster = xgboost.Booster(model_file=str(path))
    kind = json.loads(booster.attr("scikit_learn") or "{}").get("_estimator_type")
    estimator = _ESTIMATORS.get(kind)
    if estimator is None:
        return booster
    model = estimator(enable_categorical=True)
    model.load_model(str(path))
    return model


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a model."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    learner = _learner(_booster_of(model))
    if frame_categories(model) is not None:
        refuse_frame_categories(model)
    features = _features(nodes, operator, getattr(model, "missing", np.nan))
    objective = learner["objective"]["name"]
    base = _base(learner, objective)
    linear = learner["gradient_booster"]["name"] == "gblinear"
    raw = (
        _linear_sums(nodes, features, learner, base)
        if linear
        else _trees(nodes, features, model, learner, base)
    )
    if hasattr(model, "classes_") and objective == "binary:logitraw":
        raise ConverterFailed(
            f"`{type(model).__name__}`",
            expected="probabilities",
            found="scores, because of the objective `binary:logitraw`",
            hint="train with `binary:logistic`: its labels are those of the same trees",
        )
    value = _transformed(nodes, raw, objective, type(model).__name__)
    if not hasattr(model, "classes_"):
        nodes.finish(value, operator.outputs[0])
    elif objective in _SOFTMAX:
        finish_classifier(nodes, operator, value)
    elif len(base) == 1:
        finish_two_classes(nodes, operator, value, single=True)
    else:
        single = nodes.node("Cast", [value], to=FLOAT)
        finish_labels(
            nodes, operator, nodes.node("Greater", [single, nodes.constant(np.float32(0.5))]), single
        )


def _features(nodes: GraphNodes, operator: Any, missing: float) -> str:
    """Return the features rounded to float32, in float64; what the model takes for missing is NaN."""
    features = single_features(nodes, operator)
    if missing is not None and not np.isnan(missing):
        absent = nodes.node("Equal", [features, nodes.constant(np.float32(missing))])
        features = nodes.node("Where", [absent, nodes.constant(np.float32(np.nan)), features])
    return nodes.double(features)


def frame_categories(model: Any) -> FrameCategories | None:
    """Return the categories of the data frame that a model was trained on; None if it had none.

    XGBoost 3.2 raises for an unknown category above its largest, and takes one below for the next larger:
    the answer is that of another row. All unknown ones are refused.
    """
    booster = _booster_of(model)
    if "c" not in (booster.feature_types or ()):
        return None
    encoded = _learner(booster)["gradient_booster"].get("model", {}).get("cats", {}).get("enc", [])
    values = {at: own for at, each in enumerate(encoded) if (own := _values(each))}
    cut = next((own for column in values.values() for own in column if not str(own).isascii()), None)
    if cut is not None:
        raise ConverterFailed(
            f"`{type(model).__name__}`",
            expected="categories of a data frame that XGBoost keeps",
            found="texts outside ASCII, of which it keeps as many bytes as they have characters",
            hint="encode them in a step before (`OrdinalEncoder`), and name the types (`feature_types`)",
        )
    return FrameCategories(tuple(values.values()), tuple(values), refuses_unknown=True) if values else None


def _values(encoded: dict[str, Any]) -> tuple[Any, ...]:
    """Return the categories of a column: whole numbers, or texts as the bytes of all of them."""
    if "offsets" not in encoded:
        return tuple(encoded["values"])
    whole = bytes(byte & 0xFF for byte in encoded["values"])
    return tuple(whole[begin:end].decode(errors="replace") for begin, end in pairwise(encoded["offsets"]))


def _booster_of(model: Any) -> xgboost.Booster:
    booster: xgboost.Booster = model.native if isinstance(model, NativeXgboost) else model.get_booster()
    return booster


def _learner(booster: xgboost.Booster) -> dict[str, Any]:
    learner: dict[str, Any] = json.loads(bytes(booster.save_raw("json")))["learner"]
    return learner


def _base(learner: dict[str, Any], objective: str) -> Array:
    """Return what each sum begins with, ``[targets]``: the model's base score before its objective."""
    facts = learner["learner_model_param"]
    scores = np.atleast_1d(np.array(json.loads(facts["base_score"]), dtype=np.float32))
    targets = max(int(facts["num_class"]), int(facts["num_target"]), 1)
    scores = np.broadcast_to(scores, targets) if len(scores) == 1 else scores
    if objective in _LOGISTIC:
        scores = -np.log(np.float32(1) / scores - np.float32(1))
    elif objective in _EXPONENTIAL:
        scores = np.log(scores)
    return np.asarray(scores, dtype=np.float64)


def _linear_sums(nodes: GraphNodes, features: str, learner: dict[str, Any], base: Array) -> str:
    """Add a linear booster; a missing value adds nothing.

    XGBoost 3.2 begins the sums of all classes with the base score of the first.
    """
    weights = np.array(learner["gradient_booster"]["model"]["weights"], dtype=np.float64).reshape(
        -1, len(base)
    )
    zero = nodes.constant(np.float64(0.0))
    known = nodes.node("Where", [nodes.node("IsNaN", [features]), zero, features])
    product = nodes.node("MatMul", [known, nodes.constant(weights[:-1])])
    return nodes.node("Add", [product, nodes.constant(weights[-1:] + base[0])])


def _trees(nodes: GraphNodes, features: str, model: Any, learner: dict[str, Any], base: Array) -> str:
    gradient = learner["gradient_booster"]
    trees = gradient.get("gbtree", gradient)["model"]
    bounds, last = trees["iteration_indptr"], _last_iteration(model)
    count = bounds[-1 if last is None else min(last, len(bounds) - 1)]
    drops = np.array(gradient.get("weight_drop", np.ones(count)), dtype=np.float32)
    ensemble, categorical = TreeEnsemble(len(base), base), set()
    for tree, target, drop in zip(trees["trees"][:count], trees["tree_info"], drops, strict=False):
        categorical |= _add_tree(ensemble, tree, target, drop)
    width = int(learner["learner_model_param"]["num_feature"])
    return ensemble.sums(nodes, whole_categories(nodes, features, sorted(categorical), width))


def _last_iteration(model: Any) -> int | None:
    """Return how many iterations an estimator predicts with, None for all: those up to the best one."""
    if isinstance(model, NativeXgboost):
        return None
    try:
        return int(model.best_iteration) + 1
    except AttributeError:  # it was not stopped early
        return None


def _add_tree(ensemble: TreeEnsemble, tree: dict[str, Any], target: int, drop: np.float32) -> set[int]:
    """Add a tree of XGBoost's JSON; return its columns of categories."""
    lefts, rights, columns = tree["left_children"], tree["right_children"], tree["split_indices"]
    values = np.array(tree["split_conditions"], dtype=np.float32)
    codes = {
        node: tree["categories"][begin : begin + size]
        for node, begin, size in zip(
            tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
        )
    }
    width = int(tree["tree_param"]["size_leaf_vector"])
    vectors = (
        np.array(tree.get("leaf_weights") or tree["base_weights"], dtype=np.float32) if width > 1 else None
    )
    ensemble.begin(len(lefts))
    for number, left in enumerate(lefts):
        to_left = bool(tree["default_left"][number])
        if left == -1:
            if vectors is None:
                ensemble.leaf(number, {target: float(values[number] * drop)})
            else:
                first = (rights[number] if "leaf_weights" in tree else number) * width
                ensemble.leaf(number, dict(enumerate((vectors[first : first + width] * drop).tolist())))
        elif number in codes:
            ensemble.among(
                number, columns[number], codes[number], rights[number], left, missing_then=not to_left
            )
        else:
            ensemble.branch(
                number,
                columns[number],
                "BRANCH_LT",
                float(values[number]),
                left,
                rights[number],
                missing_then=to_left,
            )
    return {columns[number] for number in codes}


def _transformed(nodes: GraphNodes, raw: str, objective: str, title: str) -> str:
    """Return what an objective makes of the sums, in float64."""
    wide = nodes.double(raw)
    if objective in _LOGISTIC:
        return nodes.node("Sigmoid", [wide])
    if objective in _EXPONENTIAL:
        return nodes.node("Exp", [wide])
    if objective in _SOFTMAX:
        return nodes.node("Softmax", [wide], axis=1)
    if objective == "binary:hinge":
        above = nodes.node("Greater", [wide, nodes.constant(np.float64(0.0))])
        return nodes.node("Cast", [above], to=DOUBLE)
    if objective in _IDENTITY:
        return wide
    known = ", ".join(sorted(_IDENTITY | _LOGISTIC | _EXPONENTIAL | _SOFTMAX))
    raise ConverterFailed(f"`{title}`", expected=f"one of the objectives {known}", found=f"`{objective}`")


ADDED: dict[type, Added] = {
    **dict.fromkeys(
        (xgboost.XGBClassifier, xgboost.XGBRFClassifier),
        Added(convert, ("label", "probabilities"), class_count, categories=frame_categories),
    ),
    **dict.fromkeys(
        (xgboost.XGBRegressor, xgboost.XGBRFRegressor, xgboost.XGBRanker, NativeXgboost),
        Added(convert, ("value",), categories=frame_categories),
    ),
}
