"""Imputers: what is missing is filled and marked as the fitted imputer does it, in every dtype."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lading.errors import ConverterFailed, SamplesRefused, ValueRefused
from lading.pack import pack
from support.packed_graphs import tensors
from support.sklearn_categories import gaps, served_features
from support.sklearn_models import OWNER
from support.sklearn_survey import count_disagreements

IMPUTERS = [
    SimpleImputer(),
    SimpleImputer(strategy="median", add_indicator=True),
    SimpleImputer(strategy="most_frequent"),
    SimpleImputer(strategy="constant", fill_value=7.5, add_indicator=True),
    SimpleImputer(keep_empty_features=True),
    MissingIndicator(),
    MissingIndicator(features="all"),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipping features")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("empty", [False, True], ids=["every column has values", "one column is empty"])
@pytest.mark.parametrize("imputer", IMPUTERS, ids=repr)
def test_an_imputer_answers_as_it_does_itself(tmp_path, imputer, empty, dtype):
    rows = gaps()
    rows[:, 1] = np.nan if empty else rows[:, 1]
    rows = rows.astype(dtype)
    imputer.fit(rows)
    bundle = pack(imputer, name="m", samples=rows, owner=OWNER, dtype=dtype, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"X": f"{dtype} [batch, 4]"}
    np.testing.assert_array_equal(served_features(bundle, rows), imputer.transform(rows))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("missing", [-1, 0])
def test_a_number_that_stands_for_missing_is_filled_in_a_column_of_integers(tmp_path, strategy, missing):
    rows = np.random.default_rng(0).integers(-1, 5, (100, 3))
    imputer = SimpleImputer(missing_values=missing, strategy=strategy, add_indicator=True).fit(rows)
    bundle = pack(imputer, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(served_features(bundle, rows), imputer.transform(rows), rtol=1e-6)


@pytest.mark.parametrize("strategy", ["most_frequent", "constant"])
def test_a_text_that_stands_for_missing_is_filled(tmp_path, strategy):
    texts = np.array(np.random.default_rng(0).choice(["", "a", "\u00e9"], (60, 2)), dtype=object)
    imputer = SimpleImputer(missing_values="", strategy=strategy).fit(texts)
    bundle = pack(imputer, name="m", samples=texts, owner=OWNER, to=tmp_path / "b")
    assert served_features(bundle, texts).tolist() == imputer.transform(texts).tolist()


def test_missing_texts_are_refused_with_the_way_out(tmp_path):
    texts = np.array([["a"], [None], ["a"]], dtype=object)
    imputer = SimpleImputer(missing_values=None, strategy="most_frequent").fit(texts)
    with pytest.raises(SamplesRefused, match=r'fill them with "".*SimpleImputer\(missing_values=""\)'):
        pack(imputer, name="m", samples=texts, owner=OWNER, to=tmp_path / "b")
    bundle = pack(imputer, name="m", samples=texts[:1], owner=OWNER, to=tmp_path / "b")
    assert served_features(bundle, texts[2:]).tolist() == [["a"]]  # present texts stay as they are


def test_an_indicator_of_texts_is_refused_with_the_way_out(tmp_path):
    texts = np.array([["a"], [""], ["a"]] * 9, dtype=object)
    imputer = SimpleImputer(missing_values="", strategy="most_frequent", add_indicator=True).fit(texts)
    with pytest.raises(ConverterFailed, match="use a MissingIndicator beside it"):
        pack(imputer, name="m", samples=texts, owner=OWNER, to=tmp_path / "b")
    both = make_union(
        make_pipeline(SimpleImputer(missing_values="", strategy="most_frequent"), OneHotEncoder()),
        MissingIndicator(missing_values=""),
    ).fit(texts)
    bundle = pack(both, name="m", samples=texts, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_array_equal(served_features(bundle, texts), both.transform(texts).toarray())


def test_a_new_missing_value_that_the_indicator_refuses_is_refused(tmp_path):
    rows = np.array([[-1, 1], [2, 3], [4, 5]] * 10)
    indicator = MissingIndicator(missing_values=-1).fit(rows)
    bundle = pack(indicator, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    with pytest.raises(
        ValueError, match="have missing values in transform but have no missing values in fit"
    ):
        indicator.transform([[1, -1]])
    with pytest.raises(ValueRefused):
        served_features(bundle, np.array([[1, -1]]))


@pytest.mark.slow
@pytest.mark.parametrize("indicator", [False, True], ids=["", "with indicator"])
@pytest.mark.parametrize(
    "last",
    [
        LogisticRegression(),
        RandomForestClassifier(8, random_state=0),
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
        AdaBoostClassifier(n_estimators=8, random_state=0),
        AdaBoostRegressor(n_estimators=8, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_behind_an_imputer_and_a_scaler_are_packed(tmp_path, last, indicator):
    rows = gaps(240)
    target = (np.nan_to_num(rows).sum(axis=1) > 0).astype(int)
    model = make_pipeline(SimpleImputer(add_indicator=indicator), StandardScaler(), last)
    model.fit(rows[:160], target[:160])
    bundle = pack(model, name="m", samples=rows[:160], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows[160:]) == 0


@pytest.mark.slow
def test_columns_of_numbers_and_of_texts_have_imputers_of_their_own(tmp_path):
    random = np.random.default_rng(0)
    port = np.array(random.choice(["S", "C", ""], 120), dtype=object)
    frame = pd.DataFrame({"fare": gaps(120)[:, 0], "port": port})
    texts = make_pipeline(SimpleImputer(missing_values="", strategy="most_frequent"), OneHotEncoder())
    columns = [("numbers", SimpleImputer(add_indicator=True), ["fare"]), ("texts", texts, ["port"])]
    model = ColumnTransformer(columns).fit(frame)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(served_features(bundle, frame), model.transform(frame), rtol=1e-6)


def test_an_imputer_of_numbers_and_texts_together_is_refused_with_the_way_out(tmp_path):
    frame = pd.DataFrame({"port": ["S", "C"] * 20, "deck": [1, 2, 3, 4] * 10})
    both = SimpleImputer(strategy="most_frequent")
    model = ColumnTransformer([("both", both, ["port", "deck"])]).fit(frame)
    with pytest.raises(ConverterFailed, match="one for those of texts"):
        pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")


def test_an_indicator_that_marks_nothing_is_refused(tmp_path):
    rows = np.arange(40.0).reshape(-1, 2)
    with pytest.raises(ConverterFailed, match="expected at least one column"):
        pack(MissingIndicator().fit(rows), name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
