"""Trees: the branches and the sums of scikit-learn, where skl2onnx alone takes others."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier

from lading.errors import ParityLost
from lading.pack import pack
from support.packed_graphs import tensors
from support.sklearn_models import OWNER, X, Y, answer
from support.sklearn_survey import count_disagreements


@pytest.mark.slow
def test_histogram_boosting_compares_in_float64_as_it_was_trained(tmp_path):
    rows = np.round(np.random.default_rng(0).uniform(0, 4, (200, 3)), 2)
    model = HistGradientBoostingRegressor(max_iter=8, random_state=0).fit(rows, rows.sum(axis=1))
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"X": "float64 [batch, 3]"}
    typed = np.round(np.random.default_rng(1).uniform(0, 4, (1500, 3)), 3)
    assert count_disagreements(bundle, model, typed) == 0


@pytest.mark.slow
def test_histogram_boosting_of_float32_rows_rounds_no_threshold_upwards(tmp_path):
    # Neighbours among float32 numbers: the threshold between two rounds to the upper one half of the time.
    steps = np.arange(256, dtype=np.float32) * np.spacing(np.float32(1)) + np.float32(1)
    rows = np.random.default_rng(0).choice(steps, (400, 2))
    target = (rows.sum(axis=1) > 2 + 256 * np.spacing(np.float32(1))).astype(int)
    model = HistGradientBoostingClassifier(max_iter=4, random_state=0).fit(rows, target)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"X": "float32 [batch, 2]"}
    assert count_disagreements(bundle, model, np.random.default_rng(1).choice(steps, (2000, 2))) == 0


def test_impure_leaves_of_several_targets_are_refused(tmp_path):
    # skl2onnx 1.20 makes 0 or 1 of such a leaf's shares.
    targets = np.column_stack([Y > 0, X[:, 0] > 6]).astype(int)
    model = DecisionTreeClassifier(max_depth=1).fit(X, targets)
    with pytest.raises(ParityLost, match="output `probabilities`, row"):
        pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
def test_histogram_boosting_is_converted_although_skl2onnx_alone_fails(tmp_path):
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, Y)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, X + 0.01) == 0


@pytest.mark.slow
@pytest.mark.parametrize("trees", [2, 10, 20, 33, 100])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_the_votes_of_a_forest_sum_as_exactly_as_those_of_scikit_learn(tmp_path, kind, classes, trees):
    rows, target = _noisy(600, classes)
    forest = kind(trees, random_state=0).fit(rows, target)
    bundle = pack(forest, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"X": "float32 [batch, 6]"}
    others, _ = _noisy(3000, classes, seed=1)
    answers, expected = answer(bundle, others.tolist()), forest.predict_proba(others)
    assert answers["probabilities"].min() >= 0
    assert answers["probabilities"].max() <= 1
    np.testing.assert_allclose(answers["probabilities"], expected, rtol=0, atol=6e-8)  # half a bit of 1
    clear = np.abs(np.diff(np.sort(expected)[:, -2:])).ravel() > 1e-12  # else their own rounding decides
    np.testing.assert_array_equal(answers["label"][clear], forest.predict(others)[clear])


@pytest.mark.slow
def test_a_tie_of_ten_trees_with_ten_goes_to_the_first_class_as_in_scikit_learn(tmp_path):
    rows, target = _noisy(600, 2)
    forest = RandomForestClassifier(20, random_state=0).fit(rows, target)
    bundle = pack(forest, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    others, _ = _noisy(4000, 2, seed=1)
    ties = others[(forest.predict_proba(others) == 0.5).all(axis=1)]
    assert len(ties) > 50
    np.testing.assert_array_equal(answer(bundle, ties.tolist())["label"], forest.predict(ties))


@pytest.mark.slow
def test_the_votes_of_a_forest_with_missing_values_go_where_it_learnt(tmp_path):
    rows, target = _noisy(600, 2)
    rows[np.random.default_rng(2).random(rows.shape) < 0.2] = np.nan
    forest = RandomForestClassifier(20, random_state=0).fit(rows, target)
    bundle = pack(forest, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, forest, rows) == 0


def _noisy(rows, classes, seed=0):
    """Draw whole numbers with a target that is often another: forests are full of ties on them."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 6, (rows, 6))
    target = np.where(random.random(rows) < 0.4, random.integers(0, classes, rows), numbers[:, 0] % classes)
    return numbers.astype(np.float32), target
