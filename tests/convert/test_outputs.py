"""Outputs of converted models in the shapes of the framework's own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.svm import SVC

from lading.pack import pack
from lading.runtime.open import load_runtime
from support.packed_graphs import tensors
from support.sklearn_models import OWNER, X, Y
from support.sklearn_survey import count_disagreements


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [MultiOutputClassifier(LogisticRegression(max_iter=1000)), RandomForestClassifier(10, random_state=0)],
)
def test_outputs_of_several_targets_are_batch_by_target_by_class(tmp_path, model):
    targets = np.column_stack([Y > 0, Y > 1, X[:, 0] > 6]).astype(int)
    model.fit(X, targets)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b", labels=["no", "yes"])
    assert tensors(bundle) == {"label": "int64 [batch, 3]", "probabilities": "float32 [batch, 3, 2]"}
    runtime = load_runtime(bundle)
    answers = runtime.run({"X": X.astype(np.float32)})
    runtime.close()
    assert (answers["label"] == model.predict(X)).all()
    assert np.allclose(answers["probabilities"], np.stack(model.predict_proba(X), axis=1), atol=1e-5)


def test_two_classes_have_one_signed_score(tmp_path):
    model = SVC().fit(X, Y > 0)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle) == {"label": "bool [batch]", "scores": "float32 [batch]"}
    assert count_disagreements(bundle, model, X + 0.05) == 0
