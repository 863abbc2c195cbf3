"""Which columns may be missing: those in which the framework takes NaN and the packed model answers alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from lading.errors import ValueRefused
from lading.pack import pack
from support.sklearn_models import OWNER, answer

TREES = [
    DecisionTreeClassifier(random_state=0),
    ExtraTreeClassifier(random_state=0),
    RandomForestClassifier(21, random_state=0),  # odd: of 20 trees more than a row in a hundred is a tie
    ExtraTreesClassifier(21, random_state=0),
    BaggingClassifier(random_state=0),
    HistGradientBoostingClassifier(max_iter=20),
]


def gaps(rows: int = 300) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw two columns, of which the first misses values, and a target."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=rows), "b": random.normal(size=rows)})
    target = (frame["a"] + frame["b"] > 0).to_numpy().astype(int)
    frame.loc[::7, "a"] = np.nan
    return frame, target


def imputed_first():
    """Fit a classifier that fills the first column and refuses gaps in the second."""
    frame, target = gaps()
    columns = ColumnTransformer([("fill", SimpleImputer(), ["a"]), ("keep", "passthrough", ["b"])])
    return make_pipeline(columns, LogisticRegression()).fit(frame, target), frame


@pytest.mark.slow
def test_a_column_that_the_framework_refuses_as_missing_is_refused_alone(tmp_path):
    model, frame = imputed_first()
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    (tensor,) = bundle.manifest.signature.inputs
    assert (tensor.columns, tensor.allows_nan, tensor.nan_columns) == (("a", "b"), True, (0,))
    served = answer(bundle, [{"a": None, "b": 1.0}])["probabilities"]
    expected = model.predict_proba(pd.DataFrame({"a": [np.nan], "b": [1.0]}))
    np.testing.assert_allclose(served, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="contains NaN"):
        model.predict(frame.head(1).assign(b=np.nan))
    with pytest.raises(ValueRefused, match="null in a column that may not be missing") as refused:
        answer(bundle, [{"a": 1.0, "b": None}])
    assert refused.value.path == "$.data[0].b"


@pytest.mark.slow
@pytest.mark.parametrize("model", TREES, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_trees_answer_a_gap_in_any_column_as_they_were_trained(tmp_path, model, dtype):
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 4)).astype(dtype)
    target = (rows.sum(axis=1) > 0).astype(int)
    rows[::5, 0] = np.nan
    bundle = pack(model.fit(rows, target), name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    unseen = random.normal(size=(200, 4)).astype(dtype)
    for column in range(4):
        gap = unseen.copy()
        gap[:, column] = np.nan
        served = answer(bundle, np.where(np.isnan(gap), None, gap.astype(object)).tolist())
        np.testing.assert_allclose(served["probabilities"], model.predict_proba(gap), rtol=1e-4, atol=1e-5)


def test_a_model_whose_samples_miss_nothing_refuses_every_gap(tmp_path):
    frame, target = gaps()
    whole = frame.dropna()
    model = DecisionTreeClassifier(random_state=0).fit(whole, target[whole.index])
    bundle = pack(model, name="m", samples=whole, owner=OWNER, to=tmp_path / "b")
    assert not bundle.manifest.signature.inputs[0].allows_nan
    with pytest.raises(ValueRefused):
        answer(bundle, [{"a": None, "b": 1.0}])


@pytest.mark.slow
@pytest.mark.parametrize("golden", ["rows", "synthetic"])
def test_each_column_that_may_be_missing_is_missing_in_a_golden_row(tmp_path, golden):
    frame, target = gaps()
    model = HistGradientBoostingClassifier(max_iter=10).fit(frame, target)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, golden=golden, to=tmp_path / "b")
    assert np.isnan(bundle.samples().inputs["X"]).any(axis=0).all()


@pytest.mark.slow
def test_a_column_of_whole_numbers_may_be_missing_if_the_framework_fills_it(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=200), "kind": random.integers(0, 3, 200)})
    frame.loc[::7, "a"] = np.nan
    columns = ColumnTransformer([("fill", SimpleImputer(), ["a"]), ("keep", SimpleImputer(), ["kind"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, frame["kind"] > 0)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    for gap in ({"a": None, "kind": 1}, {"a": 1.0, "kind": None}):
        row = pd.DataFrame({name: [np.nan if value is None else value] for name, value in gap.items()})
        np.testing.assert_allclose(
            answer(bundle, [gap])["probabilities"], model.predict_proba(row), rtol=1e-4
        )
