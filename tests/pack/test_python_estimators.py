"""Estimators that ONNX cannot hold run in Python with the same bits; what has no answer says why."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.cluster import DBSCAN, OPTICS, BisectingKMeans, FeatureAgglomeration, SpectralCoclustering
from sklearn.covariance import MinCovDet
from sklearn.ensemble import RandomTreesEmbedding, StackingRegressor
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import MissingIndicator
from sklearn.linear_model import Ridge
from sklearn.manifold import TSNE, Isomap
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import (
    KernelDensity,
    KNeighborsClassifier,
    LocalOutlierFactor,
    NearestNeighbors,
    RadiusNeighborsRegressor,
)
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, SplineTransformer

from lading.errors import ConverterFailed, ConverterMissing, SamplesRefused
from lading.pack import pack
from lading.pack.stored_estimator import stored
from lading.runtime.python.shim import is_known_type, reader_of_files
from support.environments import environments  # noqa: F401 - a fixture
from support.sklearn_in_python import ask_in_python, resolved_once

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(80, 4))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
TARGETS = np.column_stack([X[:, 0] + X[:, 1], X[:, 2]])
GAPS = np.where(RANDOM.random(X.shape) < 0.2, np.nan, X)
TEXTS = np.array([f"ship {at % 7} of cargo {at % 3}" for at in range(80)], dtype=object)
HARD = {
    "a clusterer that keeps a function": (BisectingKMeans(3, random_state=0), X, Y),
    "a pool by numpy.mean": (FeatureAgglomeration(), X, Y),
    "a density": (KernelDensity(), X, Y),
    "outliers": (LocalOutlierFactor(novelty=True), X, Y),
    "a selector before neighbours": (make_pipeline(SelectKBest(k=2), KNeighborsClassifier()), X, Y),
    "splines and a ufunc": (
        make_pipeline(make_union(SplineTransformer(), FunctionTransformer(np.exp)), KNeighborsClassifier()),
        X,
        Y,
    ),
    "a function of numpy": (FunctionTransformer(np.nan_to_num), X, Y),
    "sparse leaves": (RandomTreesEmbedding(5, random_state=0), X, Y),
    "booleans": (MissingIndicator(), GAPS, Y),
    "two targets": (RadiusNeighborsRegressor(3.0), X, TARGETS),
    "two labels": (MultiOutputClassifier(KNeighborsClassifier()), X, (TARGETS > 0).astype(int)),
    "a stack": (StackingRegressor([("near", RadiusNeighborsRegressor(3.0))], Ridge(), cv=2), X, X[:, 0]),
    "a search with a scorer": (
        GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [3, 5]}, scoring="accuracy"),
        X,
        Y,
    ),
    "a map": (Isomap(), X, Y),
    "hashed texts": (HashingVectorizer(n_features=64), TEXTS, Y),
}


# Each is packed, proved and asked in processes of its own; one of each kind is enough every day.
DAILY = {"a clusterer that keeps a function", "sparse leaves", "two labels", "a map", "hashed texts"}


@pytest.mark.slow
@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in DAILY else [pytest.mark.wide]) for name in HARD]
)
def test_what_onnx_cannot_hold_answers_new_rows_with_the_same_bits_and_runs_no_code(name, tmp_path):
    estimator, rows, target = HARD[name]
    model = estimator.fit(rows[:60], target[:60])
    with resolved_once():
        bundle = pack(
            model, name="m", samples=rows[:60], owner="ml@example.com", runtime="python", to=tmp_path / "m"
        )
    assert (bundle.manifest.runtime, bundle.manifest.executes) == ("python", False)
    counts = ask_in_python(bundle, model, [rows[60:]])
    assert counts == {"rows": 20, "otherwise": 0, "alone": 0, "refused": 0, "example": ""}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (DBSCAN(), "`fit` only, which groups the rows of training\nhint: train a classifier"),
        (OPTICS(), "`fit` only, which groups the rows of training"),
        (SpectralCoclustering(2, random_state=0), "`fit` only, which groups the rows of training"),
        (TSNE(perplexity=5, random_state=0), "`fit_transform` only, which places the rows of training"),
        (NearestNeighbors(), "`kneighbors`, which names rows of training\nhint: pack a KNeighborsClassifier"),
        (LocalOutlierFactor(), "`novelty=False`, which judges the rows of training only\nhint: fit it with"),
        (MinCovDet(random_state=0), "a covariance of the rows of training\nhint: pack an EllipticEnvelope"),
    ],
)
@pytest.mark.parametrize("runtime", ["onnx", "python"])
def test_an_estimator_without_an_answer_for_new_rows_is_refused_with_the_reason(estimator, reason, runtime):
    model = estimator.fit(np.abs(X))
    with pytest.raises(ConverterMissing, match=f"found {re.escape(reason)}"):
        pack(model, name="m", samples=X, owner="ml@example.com", runtime=runtime)


@pytest.mark.slow
def test_an_estimator_of_dictionaries_is_refused_with_what_to_use():
    with pytest.raises(
        SamplesRefused, match="takes a dictionary for each row, where rows have columns\nhint: use"
    ):
        pack(FeatureHasher().fit([{}]), name="m", samples=X, owner="ml@example.com", runtime="python")


@pytest.mark.parametrize(
    "name",
    [
        "numpy.log1p",
        "numpy.mean",
        "sklearn.metrics._ranking.roc_auc_score",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.cluster._kmeans._kmeans_single_lloyd",
        "scipy.sparse._csr.csr_matrix",
        "scipy.interpolate._bsplines.BSpline",
        "sklearn.tree._tree.Tree",
        "numpy.dtype",
        "numpy.float64",
        "numpy.random.mtrand.RandomState",
    ],
)
def test_types_and_functions_that_only_compute_are_known(name):
    assert is_known_type(name)


@pytest.mark.parametrize(
    "name",
    [
        # Its distributions compile a text of their state.
        "scipy.stats._continuous_distns.norm_gen",
        "scipy.stats._distn_infrastructure.rv_continuous_frozen",
        "scipy.LowLevelCallable",
        "numpy.vectorize",
        # Of another package, under the name of a module that has imported it.
        "sklearn.base.defaultdict",
        "sklearn.pipeline.islice",
        "sklearn.utils._testing.TempMemmap",
        "numpy.load",
        "numpy.fromfile",
        "numpy.memmap",
        "numpy.lib.npyio.DataSource",
        "numpy.f2py.__main__.main",
        "scipy.io.FortranFile",
        "scipy.io._netcdf.netcdf_file",
        "sklearn.datasets._base.load_files",
        "operator.methodcaller",
        "functools.partial",
        "builtins.eval",
    ],
)
def test_what_opens_files_or_calls_others_is_not_known(name):
    assert not is_known_type(name)


@pytest.mark.slow
@pytest.mark.parametrize("function", [np.load, np.memmap])
def test_a_step_that_would_open_what_a_request_names_is_refused_by_name(function):
    model = make_pipeline(FunctionTransformer(function)).fit(X)
    with pytest.raises(ConverterFailed, match=rf"found `numpy\.{function.__name__}`"):
        stored(model)


@pytest.mark.parametrize("kind", ["file", "filename"])
def test_a_vectorizer_that_reads_the_files_which_requests_name_is_refused(kind, tmp_path):
    (tmp_path / "text").write_text("ship of cargo")
    model = make_pipeline(make_union(CountVectorizer(input="filename").fit([str(tmp_path / "text")])))
    model.steps[0][1].transformer_list[0][1].input = kind
    assert reader_of_files(model) == "CountVectorizer"
    with pytest.raises(ConverterFailed, match='hint: set `input="content"`'):
        stored(model)
