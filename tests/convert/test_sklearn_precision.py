"""Estimators whose float32 form loses numbers: computed in float64 behind inputs of float32."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import KernelPCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB

from lading.pack import pack
from support.packed_graphs import tensors
from support.sklearn_models import OWNER, X, Y
from support.sklearn_survey import count_disagreements


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        GaussianNB(),
        GaussianMixture(random_state=0),
        QuadraticDiscriminantAnalysis(),
        KMeans(3, n_init=1, random_state=0),
        KernelPCA(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_large_numbers_have_the_answers_of_scikit_learn(tmp_path, model):
    model.fit(X, Y)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"X": "float32 [batch, 4]"}
    large = np.concatenate([X + 1e6, X * 1e9, X - 1e12, np.where(X > 3, 1e30, X)])
    assert count_disagreements(bundle, model, large.astype(np.float32).astype(np.float64)) == 0


def test_small_differences_of_large_squares_are_kept(tmp_path):
    rows = np.column_stack([X, X[:, :1] * 1e7])
    model = KMeans(3, n_init=1, random_state=0).fit(rows)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows.astype(np.float32).astype(np.float64)) == 0
