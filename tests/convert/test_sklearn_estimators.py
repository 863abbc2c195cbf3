"""Every estimator of scikit-learn: packed and right on rows that packing never saw, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lading.pack import pack
from support.sklearn_asking import ask
from support.sklearn_models import OWNER, X, Y
from support.sklearn_survey import Outcome, estimators, survey

# One of each way to convert, and those that were seen to go wrong: these run in every `make check`.
REPRESENTATIVES = {
    "AdaBoostClassifier": "float32",
    "AgglomerativeClustering": "refused",
    "BernoulliNB": "float32",
    "CategoricalNB": "float32",
    "DBSCAN": "refused",
    "DecisionTreeClassifier": "float32",
    "GaussianMixture": "float32",
    "GaussianProcessRegressor": "float64",
    "GradientBoostingRegressor": "float32",
    "HistGradientBoostingRegressor": "float64",
    "KBinsDiscretizer": "float64",
    "KMeans": "float32",
    "KNeighborsClassifier": "refused",
    "LinearDiscriminantAnalysis": "float32",
    "LinearSVC": "float32",
    "LogisticRegression": "float32",
    "MLPClassifier": "float32",
    "MultiTaskLasso": "float32",
    "NuSVC": "float32",
    "OneClassSVM": "float32",
    "OneHotEncoder": "float64",
    "PCA": "float32",
    "RandomForestClassifier": "float32",
    "StandardScaler": "float32",
    "TargetEncoder": "float64",
    "TfidfVectorizer": "float32",
}
# skl2onnx takes half a minute for each; scripts/sklearn_table.py asks them as well.
SLOW_TO_CONVERT = {"IsolationForest", "QuantileTransformer"}
EVERY = {name: (kind, kind_of) for name, kind, kind_of in estimators()}


def check(outcome: Outcome | None) -> None:
    """Fail where a bundle was packed that does not answer as its estimator, or a refusal says nothing."""
    if outcome is None:
        return
    assert not outcome.asked.otherwise, outcome.asked.examples
    if outcome.result == "refused":
        assert f"`{outcome.name}`" in outcome.why
        assert "expected" in outcome.why


@pytest.mark.slow
@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_a_representative_agrees_on_rows_never_seen_or_is_refused(name, tmp_path):
    outcome = survey(name, *EVERY[name], tmp_path)
    check(outcome)
    assert outcome is not None
    assert outcome.result == REPRESENTATIVES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EVERY.keys() - REPRESENTATIVES.keys() - SLOW_TO_CONVERT))
def test_every_other_estimator_agrees_on_rows_never_seen_or_is_refused(name, tmp_path):
    check(survey(name, *EVERY[name], tmp_path))


@pytest.mark.slow
def test_the_survey_counts_other_answers_and_answers_where_the_estimator_raises(tmp_path):
    model = LogisticRegression(max_iter=500).fit(X, Y)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    asked = ask(bundle, model, [("held out", X)], X)
    assert (asked.rows, asked.silent, asked.refused) == (150, 0, 0)
    model.coef_ = np.roll(model.coef_, 1, axis=0)
    model.intercept_ = np.roll(model.intercept_, 1)
    assert ask(bundle, model, [("held out", X)], X).otherwise["held out"] == 150
    del model.coef_
    assert ask(bundle, model, [("held out", X)], X).alone["held out"] == 150
