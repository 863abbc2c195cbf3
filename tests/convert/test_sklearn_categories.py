"""Histogram boosting by category: the side that training learnt, also for categories that it never had."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from lading.errors import SamplesRefused
from lading.pack import pack
from support.sklearn_models import OWNER, answer
from support.sklearn_survey import count_disagreements

KINDS = [HistGradientBoostingClassifier, HistGradientBoostingRegressor]


def numbers(rows=500, seed=0, kinds=(7, 4)):
    random = np.random.default_rng(seed)
    columns = [random.normal(size=rows), *(9.0 * random.integers(-1, kind, rows) for kind in kinds)]
    return np.column_stack(columns)


def target_of(rows):
    return ((rows[:, 1] % 2 == 0) ^ (rows[:, 0] > 0)).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [[1], [False, True, True]])
def test_a_split_by_category_takes_the_side_that_training_learnt(tmp_path, kind, mask, dtype):
    rows = numbers().astype(dtype)
    model = kind(max_iter=10, categorical_features=mask).fit(rows, target_of(rows))
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    others = numbers(800, 1, (12, 9)).astype(dtype)  # categories that training did not have, too
    others[::5, 1] += 0.5
    assert count_disagreements(bundle, model, others) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_category_takes_the_side_of_missing_values(tmp_path, kind):
    rows = numbers()
    target = target_of(rows)
    rows[np.random.default_rng(1).random(len(rows)) < 0.2, 1] = np.nan
    model = kind(max_iter=10, categorical_features=[1, 2]).fit(rows, target)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    others = numbers(800, 2, (12, 9))
    others[::3, 1] = np.nan
    others[::7, 2] = np.nan
    assert count_disagreements(bundle, model, others) == 0


def frame(rows=500, seed=0):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "a": random.normal(size=rows),
            "city": pd.Categorical(random.choice(["Ulm", "Köln", "Rom", "Oslo"], rows)),
            "b": random.integers(0, 9, rows),
            "floor": pd.Categorical(random.choice([3, 7, 11], rows)),
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [["a", "city", "b"], ["a", "floor", "b"], ["city", "a", "floor"]])
def test_categories_of_pandas_are_packed(tmp_path, kind, columns):
    rows = frame()
    target = (rows["city"].isin(["Ulm", "Rom"]) ^ (rows["a"] > 0) ^ (rows["floor"] == 7)).astype(int)
    model = kind(max_iter=10).fit(rows[columns], target)
    bundle = pack(model, name="m", samples=rows[columns], owner=OWNER, to=tmp_path / "b")
    others = frame(300, 1)[columns]
    records = others.astype(object).to_dict("records")
    ask = model.predict_proba if hasattr(model, "predict_proba") else model.predict
    answers = answer(bundle, records)
    np.testing.assert_allclose(answers.get("probabilities", answers.get("value")), ask(others), atol=1e-5)
    if "city" in columns:  # a text that training did not have is no mistake for scikit-learn either
        answer(bundle, [{**records[0], "city": "Wien"}])


@pytest.mark.slow
def test_a_missing_text_is_refused_with_the_way_out(tmp_path):
    rows = frame()[["a", "city"]]
    rows.loc[3, "city"] = None
    model = HistGradientBoostingClassifier(max_iter=3).fit(rows, rows["a"] > 0)
    with pytest.raises(SamplesRefused, match="column `city`: expected texts only") as refusal:
        pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert "fill them" in (refusal.value.hint or "")
