"""Guards: where a step makes NaN or infinity and scikit-learn raises behind it, the row is refused."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, SGDClassifier
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC

from lading.errors import ValueRefused
from lading.pack import pack
from lading.server.inference.job import Job
from lading.server.inference.merging import run_jobs
from support.hosted_app import served_from
from support.sklearn_asking import ask
from support.sklearn_models import OWNER

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.uniform(0.05, 0.95, (120, 3))
TARGET = (ROWS[:, 0] > ROWS[:, 1]).astype(int)
CLASSES = TARGET + (ROWS[:, 2] > 0.5)
FAR = (-1e6, -1.0, -0.0, 0.0, 1.0, 1e-30, -1e-30, 800.0, -800.0, 1e6, 1e20, 1e30, -1e30)
LARGEST = float(np.finfo(np.float32).max)
HUGE = tuple(sign * size for size in (1e35, 1e37, 5e37, 1e38, 2e38, 3e38, LARGEST) for sign in (1, -1))
LINE = LogisticRegression()
FOREST = RandomForestClassifier(5, random_state=0)


def of(function):
    return FunctionTransformer(function)


def rows_with(values):
    """Return the first row with each value in each column."""
    rows = np.repeat(ROWS[:1], len(values) * 3, axis=0)
    rows[np.arange(len(rows)), np.repeat(np.arange(3), len(values))] = np.tile(values, 3)
    return rows


def packed(model, folder, samples=ROWS):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pack(model.fit(ROWS, TARGET), name="m", samples=samples, owner=OWNER, to=folder / "b")


def with_large(rows):
    """Return samples of which one value allows all that float32 holds."""
    large = np.asarray(rows).copy()
    large[-1, 0] = 1e31
    return large


def guards(bundle):
    graph = onnx.load(str(bundle.path / "model.onnx")).graph
    return [node.name.split("/")[2] for node in graph.node if node.name.startswith("refuse/NOT_FINITE/")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(of(np.log1p), StandardScaler(), LINE),
        make_pipeline(of(np.log), FOREST),
        make_pipeline(of(np.sqrt), KMeans(3, n_init=1, random_state=0)),
        make_pipeline(of(np.reciprocal), LINE),
        make_pipeline(of(np.exp), FOREST),
        make_pipeline(of(np.square), FOREST),
        make_pipeline(PolynomialFeatures(2), LINE),
        make_pipeline(make_union(of(np.log), StandardScaler()), LINE),
        VotingClassifier([("logs", make_pipeline(of(np.log), LINE)), ("line", LINE)], voting="soft"),
        TunedThresholdClassifierCV(make_pipeline(of(np.sqrt), LINE), cv=2),
    ],
    ids=lambda model: repr(model).replace("\n", "")[:60],
)
def test_what_scikit_learn_raises_for_is_refused(tmp_path, model):
    bundle = packed(model, tmp_path)
    asked = ask(bundle, model, [("far", rows_with(FAR + HUGE))], ROWS)
    assert not asked.silent, asked.examples
    assert guards(bundle)


@pytest.mark.slow
@pytest.mark.parametrize("function", [np.log, np.log1p, np.reciprocal], ids=lambda it: it.__name__)
@pytest.mark.parametrize("estimator", [FOREST, LINE], ids=lambda it: type(it).__name__)
def test_what_scikit_learn_raises_for_is_refused_beside_large_samples(tmp_path, function, estimator):
    model = make_pipeline(of(function), clone(estimator))
    bundle = packed(model, tmp_path, with_large(ROWS))
    asked = ask(bundle, model, [("far", rows_with(FAR + HUGE))], ROWS)
    assert not asked.silent, asked.examples
    assert guards(bundle)


SCALERS = [
    None,
    StandardScaler(),
    StandardScaler(with_mean=False),
    RobustScaler(),
    MinMaxScaler(),
    MaxAbsScaler(),
    make_union(StandardScaler(), "passthrough"),
    PCA(2, whiten=True),
]
ESTIMATORS = [
    FOREST,
    RandomForestRegressor(5, random_state=0),
    AdaBoostClassifier(n_estimators=3, random_state=0),
    BaggingRegressor(n_estimators=3, random_state=0),
    LogisticRegression(C=1e4),
    LinearRegression(),
    LinearSVC(),
    Perceptron(),
    LinearDiscriminantAnalysis(),
    SGDClassifier(random_state=0),
    PCA(2),
    MLPClassifier((4,), max_iter=20, random_state=0),
    SVC(),
    KNeighborsClassifier(3),
]


def name_of(model):
    return repr(model).split("(")[0]


@pytest.mark.slow
@pytest.mark.parametrize("samples_of", [np.asarray, with_large], ids=["usual", "large"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
@pytest.mark.parametrize("scaler", SCALERS, ids=name_of)
def test_the_largest_numbers_are_answered_rightly_or_refused(tmp_path, scaler, estimator, dtype, samples_of):
    model = make_pipeline(clone(scaler), clone(estimator)) if scaler is not None else clone(estimator)
    rows = ROWS.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows, CLASSES)
        bundle = pack(model, name="m", samples=samples_of(rows), owner=OWNER, to=tmp_path / "b")
    alternating = np.array(HUGE)[:, None] * np.array([1.0, -1.0, 1.0])
    huge = np.concatenate([rows_with(HUGE), alternating, np.abs(alternating)]).astype(np.float32)
    asked = ask(bundle, model, [("huge", huge.astype(np.float64))], ROWS)
    assert not asked.silent, asked.examples


@pytest.mark.slow
@pytest.mark.parametrize("samples_of", [np.asarray, with_large], ids=["usual", "large"])
@pytest.mark.parametrize("scaler", ["passthrough", MinMaxScaler()], ids=["bare", "scaled"])
@pytest.mark.parametrize("counts", [MultinomialNB(), ComplementNB()], ids=name_of)
def test_counts_near_the_largest_number_are_answered_rightly_or_refused(tmp_path, counts, scaler, samples_of):
    model = make_pipeline(scaler, clone(counts)).fit(ROWS * 10, CLASSES)
    bundle = pack(model, name="m", samples=samples_of(ROWS * 10), owner=OWNER, to=tmp_path / "b")
    asked = ask(bundle, model, [("huge", rows_with(HUGE))], ROWS * 10)
    assert not asked.silent, asked.examples


@pytest.mark.parametrize("model", [FOREST, LINE, make_pipeline(StandardScaler(), LINE)], ids=name_of)
def test_numbers_far_beyond_all_samples_are_refused_without_a_guard(tmp_path, model):
    bundle = packed(model, tmp_path)
    assert guards(bundle) == []
    asked = ask(bundle, model, [("large", rows_with([1e29, -1e30]))], ROWS)
    assert (asked.silent, asked.refused) == (0, 0)
    with pytest.raises(ValueRefused, match=r"found 1e\+31, which is beyond 1e30, as no golden sample is,"):
        bundle.predict(rows_with([1e31]))


def test_a_line_whose_sums_float32_does_not_hold_is_guarded_whatever_the_samples(tmp_path):
    model = LinearRegression().fit(ROWS * 1e-12, CLASSES)
    bundle = pack(model, name="m", samples=ROWS * 1e-12, owner=OWNER, to=tmp_path / "b")
    asked = ask(bundle, model, [("large", rows_with([1e25, 1e27, -1e29, 1e30]))], ROWS * 1e-12)
    assert not asked.silent, asked.examples
    assert len(guards(bundle)) == 1


@pytest.mark.slow
def test_numbers_whose_scaled_form_float32_holds_are_answered(tmp_path):
    model = make_pipeline(StandardScaler(), FOREST)
    bundle = packed(model, tmp_path, with_large(ROWS))
    within = rows_with([size for size in HUGE if abs(size) < 0.2 * LARGEST])
    asked = ask(bundle, model, [("within", within)], ROWS)
    assert (asked.silent, asked.refused) == (0, 0)
    with pytest.raises(ValueRefused, match=r"row 0 .*`RandomForestClassifier`"):
        bundle.predict(rows_with([LARGEST]))


@pytest.mark.slow
def test_infinities_that_an_estimator_takes_are_answered(tmp_path):
    model = make_pipeline(of(np.log), HistGradientBoostingClassifier(max_iter=5))
    bundle = packed(model, tmp_path)
    asked = ask(bundle, model, [("far", rows_with(FAR))], ROWS)
    assert (asked.silent, asked.refused, guards(bundle)) == (0, 0, [])


@pytest.mark.slow
@pytest.mark.parametrize("scaler", [StandardScaler(), MaxAbsScaler()], ids=repr)
@pytest.mark.parametrize("estimator", [LINE, FOREST], ids=name_of)
def test_steps_that_keep_numbers_finite_cost_no_guard(tmp_path, scaler, estimator):
    rows = ROWS * 1000
    model = make_pipeline(scaler, estimator).fit(rows, TARGET)
    assert guards(pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")) == []


def test_the_row_and_the_step_are_named(tmp_path):
    bundle = packed(make_pipeline(of(np.log1p), StandardScaler(), LINE), tmp_path)
    rows = ROWS[:7].copy()
    rows[[4, 6], 1] = -1e6
    with pytest.raises(ValueRefused, match=r"row 4 of this request: expected .*`LogisticRegression`"):
        bundle.predict(rows)
    assert len(bundle.predict(rows[:4])) == 4


@pytest.mark.slow
def test_a_refused_row_does_not_hurt_the_requests_it_was_merged_with(tmp_path):
    model = make_pipeline(of(np.log), LINE)
    served = served_from(packed(model, tmp_path))
    rows = ROWS[:3].astype(np.float32)
    rows[1] = -1
    (tensor,) = served.signature.inputs
    jobs = [Job(served, {tensor.name: row[None]}, None, dict) for row in rows]
    assert not run_jobs(served, jobs)
    assert isinstance(jobs[1].error, ValueRefused)
    expected = model.predict_proba(rows[[0, 2]])
    answers = [job.result["probabilities"][0] for job in (jobs[0], jobs[2])]
    np.testing.assert_allclose(answers, expected, rtol=1e-4)
