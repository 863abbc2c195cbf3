"""Repaired converters: the answers of the estimator where skl2onnx alone is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lading.pack import pack
from lading.runtime.open import load_runtime
from support.sklearn_models import OWNER, X
from support.sklearn_survey import count_disagreements


@pytest.mark.slow
@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_a_voting_classifier_is_packed_and_left_unchanged(tmp_path, voting):
    rows, target = load_breast_cancer(return_X_y=True)
    members = [("line", LogisticRegression(max_iter=1000)), ("bayes", GaussianNB())]
    model = make_pipeline(StandardScaler(), VotingClassifier(members, voting=voting)).fit(rows, target)
    bundle = pack(model, name="m", samples=rows[:300], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows[300:]) == 0
    assert model[-1].flatten_transform


@pytest.mark.slow
def test_discriminant_analysis_of_two_classes_keeps_its_odds(tmp_path):
    rows, target = load_breast_cancer(return_X_y=True)
    model = LinearDiscriminantAnalysis().fit(rows, target)
    bundle = pack(model, name="m", samples=rows[:300], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows[300:]) == 0


@pytest.mark.slow
def test_the_distance_of_a_row_that_is_a_centre_is_not_nan(tmp_path):
    rows = np.vstack([X, [[90.3, 70.7, 80.1, 60.9]]])
    model = KMeans(3, random_state=0, n_init=3).fit(rows)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    runtime = load_runtime(bundle)
    answers = runtime.run({"X": rows.astype(bundle.manifest.signature.inputs[0].dtype)})
    runtime.close()
    assert not np.isnan(answers["distances"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("weights", [[0.1, 0.9], (3, 1)])
def test_the_weights_of_a_vote_may_be_a_list(tmp_path, weights):
    rows, target = load_breast_cancer(return_X_y=True)
    members = [("line", LogisticRegression(max_iter=1000)), ("bayes", GaussianNB())]
    vote = VotingClassifier(members, voting="soft", weights=weights)
    model = make_pipeline(StandardScaler(), vote).fit(rows, target)
    bundle = pack(model, name="m", samples=rows[:300], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, rows[300:]) == 0
    assert model[-1].weights is weights
