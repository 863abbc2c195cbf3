"""Probabilities within 0 and 1: clipped where a graph could leave the range, and only there."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from lading.convert import graph
from lading.convert.probabilities import keep_inside
from lading.pack import pack
from support.packed_graphs import FLOAT, node, value
from support.sklearn_models import OWNER, answer

DOUBLE = onnx.TensorProto.DOUBLE
TREE = DecisionTreeClassifier(random_state=0)
ENSEMBLES = [
    RandomForestClassifier(10, random_state=0),
    RandomForestClassifier(20, random_state=0),
    ExtraTreesClassifier(20, random_state=0),
    BaggingClassifier(TREE, 13, random_state=0),
    AdaBoostClassifier(n_estimators=10, random_state=0),
    GradientBoostingClassifier(n_estimators=10, random_state=0),
    HistGradientBoostingClassifier(max_iter=10, random_state=0),
    VotingClassifier([("a", TREE), ("b", TREE), ("c", TREE)], voting="soft", weights=[0.1, 0.7, 0.3]),
    OneVsRestClassifier(RandomForestClassifier(20, random_state=0)),
]


@pytest.mark.slow
@pytest.mark.parametrize("model", ENSEMBLES, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("classes", [2, 3])
def test_no_probability_of_an_ensemble_is_outside_0_and_1(tmp_path, model, classes):
    rows, target = make_classification(600, 6, n_informative=4, n_classes=classes, flip_y=0.2, random_state=0)
    rows = rows.astype(np.float32)
    model.fit(rows[:400], target[:400])
    bundle = pack(model, name="m", samples=rows[:400], owner=OWNER, to=tmp_path / "b")
    probabilities = answer(bundle, rows.tolist())["probabilities"]
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "clipped"),
    [
        (RandomForestClassifier(20, random_state=0), False),
        (DecisionTreeClassifier(random_state=0), False),
        (GradientBoostingClassifier(n_estimators=3, random_state=0), False),
        (LogisticRegression(), False),
        (GaussianNB(), True),
        (VotingClassifier([("a", TREE), ("b", TREE), ("c", TREE)], voting="soft"), True),
    ],
    ids=lambda model: type(model).__name__,
)
def test_only_what_could_leave_the_range_is_clipped(tmp_path, model, clipped):
    rows, target = make_classification(200, 6, n_informative=4, random_state=0)
    bundle = pack(
        model.fit(rows, target),
        name="m",
        samples=rows,
        owner=OWNER,
        to=tmp_path / "b",
    )
    operators = {node.op_type for node in onnx.load(bundle.path / "model.onnx").graph.node}
    assert ("Clip" in operators) == clipped


@pytest.mark.parametrize("opset", [9, 18])  # `Clip` takes float64 since 12
@pytest.mark.parametrize(("kind", "dtype"), [(FLOAT, np.float32), (DOUBLE, np.float64)])
def test_values_outside_become_the_bound_and_nan_stays_nan(opset, kind, dtype):
    model = _model([node("Identity", ["a"], ["c"])], opset, kind)
    keep_inside(model, "c")
    rows = np.array([[-1.19e-07, 1.0000001], [np.nan, 0.25]], dtype=dtype)
    answers = graph.evaluator("m", model.SerializeToString())({"a": rows})["c"]
    np.testing.assert_array_equal(answers, np.array([[0, 1], [np.nan, 0.25]], dtype=dtype))


def test_what_a_softmax_gives_stays_inside_through_moves_but_not_through_sums():
    moved = _model([node("Softmax", ["a"], ["s"]), node("Transpose", ["s"], ["c"], perm=[0, 1])])
    summed = _model([node("Softmax", ["a"], ["s"]), node("Add", ["s", "s"], ["c"])])
    for model in (moved, summed):
        keep_inside(model, "c")
    assert [step.op_type for step in moved.graph.node] == ["Softmax", "Transpose"]
    assert [step.op_type for step in summed.graph.node] == ["Softmax", "Add", "Clip"]


def test_votes_whose_sum_is_above_one_when_rounded_are_clipped():
    clipped = []
    for trees in (1, 2, 3):
        model = _model([_stumps(trees, np.float32(1) / np.float32(trees))])
        keep_inside(model, "c")
        clipped.append("Clip" in {step.op_type for step in model.graph.node})
    assert clipped == [False, True, True]  # single precision is exact for one tree only


def _stumps(trees, weight):
    """Make a classifier of single leaves that each give `weight` to the second of two classes."""
    zeros, ids = [0] * trees, list(range(trees))
    return helper.make_node(
        "TreeEnsembleClassifier",
        ["a"],
        ["label", "c"],
        domain="ai.onnx.ml",
        nodes_treeids=ids,
        nodes_nodeids=zeros,
        nodes_featureids=zeros,
        nodes_modes=["LEAF"] * trees,
        nodes_values=[0.0] * trees,
        nodes_truenodeids=zeros,
        nodes_falsenodeids=zeros,
        class_treeids=ids,
        class_nodeids=zeros,
        class_ids=zeros,
        class_weights=[weight] * trees,
        classlabels_int64s=[0, 1],
    )


def _model(nodes, opset=18, kind=FLOAT):
    sides = [[value(name, kind, ["n", 2])] for name in ("a", "c")]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(helper.make_graph(nodes, "g", *sides), opset_imports=opsets, ir_version=8)
