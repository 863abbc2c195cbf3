"""Isotonic regression and splines: the same curve between, on and beyond the points of training."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from lading.errors import ConverterFailed
from lading.pack import pack
from support.sklearn_models import OWNER, X
from support.sklearn_survey import count_disagreements

BEYOND = np.concatenate([X, X.min(axis=0) - X, X.max(axis=0) + X, X * 1000])
NOISE = np.random.default_rng(0).normal(0, 0.3, len(X))


@pytest.mark.slow
@pytest.mark.parametrize("out_of_bounds", ["clip", "nan"])
def test_isotonic_regression_interpolates_and_ends_as_scikit_learn(tmp_path, out_of_bounds):
    column = X[:, 2:3]
    model = IsotonicRegression(out_of_bounds=out_of_bounds).fit(column, column[:, 0] + NOISE)
    bundle = pack(model, name="m", samples=column, owner=OWNER, to=tmp_path / "b")
    between = np.linspace(-1, 9, 2001)[:, None]
    assert count_disagreements(bundle, model, between) == 0


def test_isotonic_regression_that_raises_beyond_its_range_is_refused(tmp_path):
    column = X[:, 2:3]
    model = IsotonicRegression(out_of_bounds="raise").fit(column, column[:, 0] + NOISE)
    with pytest.raises(ConverterFailed, match="`clip` or `nan`"):
        pack(model, name="m", samples=column, owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
# Of degree 1, scikit-learn 1.9 takes other ends for each further column if it goes on linearly.
@pytest.mark.parametrize(
    ("extrapolation", "degree"),
    [("constant", 1), ("constant", 3), ("linear", 2), ("linear", 3), ("continue", 1), ("periodic", 3)],
)
def test_splines_are_the_same_on_both_sides_of_every_knot(tmp_path, extrapolation, degree):
    spline = SplineTransformer(n_knots=4, degree=degree, extrapolation=extrapolation, include_bias=False)
    model = make_pipeline(spline, Ridge()).fit(X, X[:, 0] * X[:, 1])
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, BEYOND) == 0


@pytest.mark.slow
def test_splines_at_quantiles_are_columns_of_their_own(tmp_path):
    model = SplineTransformer(knots="quantile", sparse_output=True).fit(X)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, BEYOND) == 0


def test_splines_that_raise_beyond_their_range_are_refused(tmp_path):
    model = make_pipeline(SplineTransformer(extrapolation="error"), Ridge()).fit(X, X[:, 0])
    with pytest.raises(ConverterFailed, match="a graph cannot raise, found `error` of degree 3"):
        pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
