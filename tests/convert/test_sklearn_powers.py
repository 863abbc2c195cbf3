"""PowerTransformer: scikit-learn's answers for every number that float32 holds, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer

from lading.errors import ValueRefused
from lading.pack import pack
from support.sklearn_asking import ask
from support.sklearn_models import OWNER

RANDOM = np.random.default_rng(0)
SKEWED = np.exp(RANDOM.normal(size=(120, 2)))
TARGET = (SKEWED[:, 0] > SKEWED[:, 1]).astype(int)
LARGEST = float(np.finfo(np.float32).max)
ESTIMATORS = [LinearRegression(), LogisticRegression(), RandomForestClassifier(5, random_state=0)]
SIZES = (0.0, 1e-30, 1e-12, 1e-3, 0.5, 1.0, 1e3, 1e8, 1e12, 1e19, 1e30, 1e36, 3e38, LARGEST)


def far(sizes=SIZES):
    """Return rows with each size, and its negative, in each column."""
    values = np.array([sign * size for size in sizes for sign in (1, -1)], dtype=np.float32)
    others = np.full(len(values), 0.7)
    return np.concatenate([np.column_stack([values, others]), np.column_stack([others, values])])


def packed(model, samples, folder):
    """Pack with a sample more, which allows requests all that float32 holds."""
    large = np.append(samples, [[1e31, 0.7]], axis=0)
    return pack(model, name="m", samples=large, owner=OWNER, to=folder / "b")


@pytest.mark.slow
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("exponents", [None, (0.0, 2.0), (1.0, -0.5), (2.4, 1.6)])
def test_every_number_is_answered_as_by_scikit_learn(tmp_path, exponents, standardize):
    model = PowerTransformer(standardize=standardize).fit(SKEWED)
    model.lambdas_ = model.lambdas_ if exponents is None else np.array(exponents)
    asked = ask(packed(model, SKEWED, tmp_path), model, [("far", far())], SKEWED)
    assert (asked.silent, asked.refused) == (0, 0), asked.examples


@pytest.mark.slow
@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_an_estimator_behind_it_is_right_or_refuses(tmp_path, estimator, method):
    model = make_pipeline(PowerTransformer(method=method), estimator).fit(SKEWED, TARGET)
    asked = ask(packed(model, SKEWED, tmp_path), model, [("far", far())], SKEWED)
    assert not asked.silent, asked.examples


@pytest.mark.slow
def test_box_cox_refuses_the_rows_that_are_not_positive(tmp_path):
    model = PowerTransformer(method="box-cox").fit(SKEWED)
    bundle = packed(model, SKEWED, tmp_path)
    asked = ask(bundle, model, [("far", far())], SKEWED)
    assert (asked.silent, asked.refused) == (0, 0), asked.examples
    rows = SKEWED[:4].copy()
    rows[2, 1] = 0.0
    with pytest.raises(ValueRefused, match="row 2 of this request: expected positive numbers"):
        bundle.predict(rows)


def test_a_power_that_float64_does_not_hold_is_refused(tmp_path):
    rows = 100.0 + RANDOM.normal(size=(120, 2))
    model = PowerTransformer().fit(rows)
    model.lambdas_ = np.array([9.0, -8.0])
    asked = ask(packed(model, rows, tmp_path), model, [("far", far())], rows)
    assert not asked.silent, asked.examples
    assert asked.rows > asked.refused
