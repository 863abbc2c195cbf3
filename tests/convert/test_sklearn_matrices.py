"""Products with a matrix and nearest centres: the answers of scikit-learn, far from the data as well."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import Birch, FeatureAgglomeration, MeanShift
from sklearn.covariance import EllipticEnvelope
from sklearn.cross_decomposition import CCA, PLSSVD, PLSCanonical
from sklearn.decomposition import FactorAnalysis, FastICA, SparsePCA
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.kernel_approximation import RBFSampler
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import BernoulliRBM
from sklearn.preprocessing import Normalizer

from lading.errors import ConverterFailed
from lading.pack import pack
from support.sklearn_models import OWNER, X, Y
from support.sklearn_survey import count_disagreements

TWO = np.column_stack([X[:, 0] + X[:, 1] * 2, X[:, 2] - X[:, 3]])
FAR = np.concatenate([X + 0.03, X * 30 - 50])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "target"),
    [
        (FactorAnalysis(2, random_state=0), None),
        (FastICA(3, random_state=0), None),
        (SparsePCA(2, random_state=0), None),
        (FeatureAgglomeration(2), None),
        (CCA(2), TWO),
        (PLSCanonical(2), TWO),
        (PLSSVD(2), TWO),
        (RBFSampler(random_state=0), None),
        (BernoulliRBM(3, n_iter=2, random_state=0), None),
        (MeanShift(), None),
        (Birch(threshold=0.4), None),
        (EllipticEnvelope(random_state=0), None),
        (NearestCentroid(), Y),
        (NearestCentroid(shrink_threshold=0.2, priors="empirical"), np.minimum(Y, 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_far_from_the_data_have_the_answers_of_scikit_learn(tmp_path, model, target):
    model.fit(X, target)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, FAR) == 0


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_a_normalizer_squares_no_infinity(tmp_path, norm):
    model = Normalizer(norm).fit(X)
    large = X * 1e30
    bundle = pack(model, name="m", samples=np.append(X, large[:1], axis=0), owner=OWNER, to=tmp_path / "b")
    rows = np.concatenate([X, large, X - X, -X]).astype(np.float32).astype(np.float64)
    assert count_disagreements(bundle, model, rows) == 0


@pytest.mark.parametrize("sublinear", [False, True])
def test_weights_of_counts_keep_zero(tmp_path, sublinear):
    counts = np.random.default_rng(0).poisson(1.0, (80, 6)).astype(np.float64)
    model = TfidfTransformer(sublinear_tf=sublinear).fit(counts)
    bundle = pack(model, name="m", samples=counts, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, np.concatenate([counts + 1, counts * 1e25])) == 0


def test_pooling_by_another_function_is_refused(tmp_path):
    model = FeatureAgglomeration(2, pooling_func=np.max).fit(X)
    with pytest.raises(ConverterFailed, match="`pooling_func`"):
        pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
