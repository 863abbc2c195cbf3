"""Thresholds, calibration, transformed targets and constants: packed with the answers of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, StackingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVC

from lading.errors import ConverterFailed
from lading.pack import pack
from support.sklearn_models import OWNER, X, Y
from support.sklearn_rows import beside_thresholds
from support.sklearn_survey import count_disagreements

HARD = (Y == 1).astype(int)  # no line separates them from the others
AMOUNT = np.exp(X @ [0.3, 0.1, 0.2, 0.1] / 2)
NAMES = np.array(["crane", "port", "ship"], dtype=object)
CLASSIFIERS = [
    LogisticRegression(max_iter=500),
    RandomForestClassifier(10, random_state=0),
    LinearSVC(),
    make_pipeline(StandardScaler(), LogisticRegression()),
]


def packed_and_asked(model, target, folder):
    """Pack a model fitted on two thirds of the rows, and count other answers on all and near its borders."""
    model.fit(X[::2], target[::2])
    bundle = pack(model, name="m", samples=X[::2], owner=OWNER, to=folder / "b")
    rows = np.concatenate([X, X * 3 - 1, beside_thresholds(model, X)])
    return count_disagreements(bundle, model, rows)


@pytest.mark.slow
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda model: type(model).__name__)
def test_a_tuned_threshold_decides_the_label(tmp_path, classifier):
    model = TunedThresholdClassifierCV(classifier, scoring="balanced_accuracy", cv=3, random_state=0)
    assert packed_and_asked(model, HARD, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("positive", ["no", "yes"])
@pytest.mark.parametrize("classifier", [LogisticRegression(max_iter=500), LinearSVC()])
def test_a_fixed_threshold_counts_for_the_positive_label(tmp_path, classifier, positive):
    model = FixedThresholdClassifier(classifier, threshold=0.31, pos_label=positive)
    assert packed_and_asked(model, np.where(HARD, "yes", "no").astype(object), tmp_path) == 0


@pytest.mark.slow
def test_a_threshold_of_scores_beside_probabilities_is_refused(tmp_path):
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.3, response_method="decision_function")
    with pytest.raises(ConverterFailed, match="`response_method`"):
        pack(model.fit(X, HARD), name="m", samples=X, owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
@pytest.mark.parametrize(
    "classifier", [*CLASSIFIERS[1:], GaussianNB()], ids=lambda model: type(model).__name__
)
def test_a_calibrated_classifier_keeps_its_curves(tmp_path, method, classifier):
    model = CalibratedClassifierCV(classifier, method=method, cv=2)
    assert packed_and_asked(model, NAMES[Y], tmp_path) == 0


@pytest.mark.slow
def test_a_calibrated_classifier_of_two_classes_has_one_curve(tmp_path):
    model = CalibratedClassifierCV(LinearSVC(), method="isotonic", cv=3, ensemble=False)
    assert packed_and_asked(model, HARD, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "transformer",
    [
        StandardScaler(),
        MinMaxScaler(),
        RobustScaler(),
        MaxAbsScaler(),
        PowerTransformer(),
        PowerTransformer("box-cox", standardize=False),
        QuantileTransformer(n_quantiles=30),
        QuantileTransformer(n_quantiles=30, output_distribution="normal"),
        FunctionTransformer(np.log, np.exp),
    ],
    ids=str,
)
def test_a_transformed_target_is_transformed_back(tmp_path, transformer):
    model = TransformedTargetRegressor(LinearRegression(), transformer=transformer)
    assert packed_and_asked(model, AMOUNT, tmp_path) == 0


@pytest.mark.slow
def test_a_transformed_target_of_functions_packs_in_searches_and_stacks(tmp_path):
    inner = TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), inner), {"transformedtargetregressor__regressor": [Ridge()]}
    )
    assert packed_and_asked(search, AMOUNT, tmp_path) == 0
    stack = StackingRegressor([("log", inner), ("line", Ridge())], cv=2)
    assert packed_and_asked(stack, AMOUNT, tmp_path / "stack") == 0


def test_several_targets_are_transformed_back(tmp_path):
    model = TransformedTargetRegressor(LinearRegression(), func=np.log, inverse_func=np.exp)
    assert packed_and_asked(model, np.column_stack([AMOUNT, AMOUNT * 2]), tmp_path) == 0


@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "constant"])
def test_a_dummy_classifier_answers_its_constant(tmp_path, strategy):
    model = DummyClassifier(strategy=strategy, constant="port")
    assert packed_and_asked(model, NAMES[Y], tmp_path) == 0


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
def test_a_dummy_classifier_of_chance_is_refused(tmp_path, strategy):
    model = DummyClassifier(strategy=strategy).fit(X, Y)
    with pytest.raises(ConverterFailed, match="drawn at random"):
        pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")


@pytest.mark.parametrize("strategy", ["mean", "median", "quantile", "constant"])
def test_a_dummy_regressor_answers_its_constant(tmp_path, strategy):
    model = DummyRegressor(strategy=strategy, quantile=0.3, constant=4.5)
    assert packed_and_asked(model, AMOUNT, tmp_path) == 0


LEFT_OUT = [
    make_pipeline("passthrough", StandardScaler(), None, LogisticRegression(max_iter=500)),
    make_pipeline(make_pipeline("passthrough"), LogisticRegression(max_iter=500)),
    make_pipeline(
        ColumnTransformer(
            [("kept", make_pipeline("passthrough"), [0, 1]), ("scaled", StandardScaler(), [2, 3])]
        ),
        LogisticRegression(max_iter=500),
    ),
    GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)), {"standardscaler": ["passthrough"]}
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("model", LEFT_OUT, ids=["beside others", "nested", "columns", "by a search"])
def test_steps_that_pass_everything_through_are_left_out(tmp_path, model):
    assert packed_and_asked(model, Y, tmp_path) == 0
