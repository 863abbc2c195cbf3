"""Repaired converters: the answers of the estimator where skl2onnx alone is wrong."""

from __future__ import annotations

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from lading.errors import ParityLost
from lading.pack import pack
from lading.runtime.open import load_runtime
from support.packed_graphs import tensors
from support.sklearn_models import OWNER, X, Y
from support.sklearn_survey import count_disagreements

SCALERS = [StandardScaler(), StandardScaler(with_mean=False), RobustScaler(), MaxAbsScaler()]


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_a_voting_classifier_is_packed_and_left_unchanged(tmp_path, voting):
    rows, target = load_breast_cancer(return_X_y=True)
    members = [("line", LogisticRegression(max_iter=1000)), ("bayes", GaussianNB())]
    model = make_pipeline(StandardScaler(), VotingClassifier(members, voting=voting)).fit(rows, target)
    bundle = pack(model, name="m", samples=rows[:300], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows[300:]) == 0
    assert model[-1].flatten_transform


def test_histogram_boosting_compares_in_float64_as_it_was_trained(tmp_path):
    rows = np.round(np.random.default_rng(0).uniform(0, 4, (200, 3)), 2)
    model = HistGradientBoostingRegressor(max_iter=8, random_state=0).fit(rows, rows.sum(axis=1))
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"X": "float64 [batch, 3]"}
    typed = np.round(np.random.default_rng(1).uniform(0, 4, (1500, 3)), 3)
    assert count_disagreements(bundle, model, typed) == 0


def test_histogram_boosting_of_float32_rows_rounds_no_threshold_upwards(tmp_path):
    # Neighbours among float32 numbers: the threshold between two rounds to the upper one half of the time.
    steps = np.arange(256, dtype=np.float32) * np.spacing(np.float32(1)) + np.float32(1)
    rows = np.random.default_rng(0).choice(steps, (400, 2))
    target = (rows.sum(axis=1) > 2 + 256 * np.spacing(np.float32(1))).astype(int)
    model = HistGradientBoostingClassifier(max_iter=4, random_state=0).fit(rows, target)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"X": "float32 [batch, 2]"}
    assert count_disagreements(bundle, model, np.random.default_rng(1).choice(steps, (2000, 2))) == 0


def test_discriminant_analysis_of_two_classes_keeps_its_odds(tmp_path):
    rows, target = load_breast_cancer(return_X_y=True)
    model = LinearDiscriminantAnalysis().fit(rows, target)
    bundle = pack(model, name="m", samples=rows[:300], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows[300:]) == 0


@pytest.mark.parametrize("scaler", SCALERS)
def test_scalers_become_plain_arithmetic_with_the_bits_of_scikit_learn(tmp_path, scaler):
    rows = load_breast_cancer(return_X_y=True)[0].astype(np.float32)
    model = clone(scaler).fit(rows)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert "Scaler" not in {node.op_type for node in onnx.load(bundle.path / "model.onnx").graph.node}
    runtime = load_runtime(bundle)
    (features,) = runtime.run({"X": rows}).values()
    runtime.close()
    assert features.tobytes() == model.transform(rows).tobytes()


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize(
    "trees",
    [
        DecisionTreeClassifier(random_state=0),
        RandomForestClassifier(10, random_state=0),
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_trees_behind_a_scaler_are_packed_with_float32_samples(tmp_path, scaler, trees):
    rows, target = make_classification(800, 8, n_informative=5, n_classes=3, random_state=0)
    single = rows.astype(np.float32)
    model = make_pipeline(clone(scaler), clone(trees)).fit(single, target)
    bundle = pack(model, name="m", samples=single, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.inputs[0].dtype == "float32"


def test_the_distance_of_a_row_that_is_a_centre_is_not_nan(tmp_path):
    rows = np.vstack([X, [[90.3, 70.7, 80.1, 60.9]]])
    model = KMeans(3, random_state=0, n_init=3).fit(rows)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    runtime = load_runtime(bundle)
    answers = runtime.run({"X": rows.astype(bundle.manifest.signature.inputs[0].dtype)})
    runtime.close()
    assert not np.isnan(answers["distances"]).any()


def test_impure_leaves_of_several_targets_are_refused(tmp_path):
    # skl2onnx 1.20 makes 0 or 1 of such a leaf's shares.
    targets = np.column_stack([Y > 0, X[:, 0] > 6]).astype(int)
    model = DecisionTreeClassifier(max_depth=1).fit(X, targets)
    with pytest.raises(ParityLost, match="output `probabilities`, row"):
        pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")


def test_histogram_boosting_is_converted_although_skl2onnx_alone_fails(tmp_path):
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, Y)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, X + 0.01) == 0


@pytest.mark.parametrize("scaler", SCALERS)
def test_whole_numbers_beside_categories_are_scaled(tmp_path, scaler):
    random, rows = np.random.default_rng(0), 300
    columns = {"city": (0, 4), "age": (18, 80), "children": (0, 4)}
    frame = pd.DataFrame({name: random.integers(*span, rows) for name, span in columns.items()})
    city = ("city", OneHotEncoder(handle_unknown="ignore"), ["city"])
    numbers = ("numbers", clone(scaler), ["age", "children"])
    model = make_pipeline(ColumnTransformer([city, numbers]), LogisticRegression())
    model.fit(frame, frame["age"] > 40)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    # That the answers agree is what packing has proved, or it would have refused the model.
    assert set(tensors(bundle, "inputs").values()) == {"int64 [batch, 1]"}
