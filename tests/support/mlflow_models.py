"""Models that a real MLflow saves, for tests in its environment, and what its own `predict` answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

RANDOM = np.random.default_rng(11)
X = RANDOM.normal(size=(80, 3))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
PEOPLE = pd.DataFrame(
    {"age": RANDOM.integers(1, 90, 80), "city": RANDOM.choice(["서울", "부산", "Köln"], 80), "score": X[:, 0]}
)
ANSWERS = np.where(PEOPLE["age"] > 40, "yes", "no")
# Stated, so that MLflow does not look for them in a process of its own: that takes seconds.
SKINNY = f"mlflow-skinny=={mlflow.__version__}"

CLIPPED = '''
"""A model from code, as MLflow calls it."""

import mlflow
import numpy as np


class Clipped(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        with open(context.artifacts["limit"]) as file:
            self.limit = float(file.read())

    def predict(self, context, model_input, params=None):
        factor = (params or {}).get("factor", 1.0)
        return np.minimum(np.asarray(model_input), self.limit).sum(axis=1) * factor


mlflow.models.set_model(Clipped())
'''


def forest() -> Any:
    return make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(X, Y)


def of_people() -> Any:
    cities = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    return make_pipeline(cities, LogisticRegression(max_iter=1000)).fit(PEOPLE, ANSWERS)


def save_people(folder: Path, **options: Any) -> Path:
    """Save a model of a data frame with texts, with a signature of columns."""
    model = of_people()
    signature = options.pop("signature", infer_signature(PEOPLE, model.predict(PEOPLE)))
    return save(mlflow.sklearn, model, folder, input_example=PEOPLE.head(9), signature=signature, **options)


def save(flavor: Any, model: Any, folder: Path, **options: Any) -> Path:
    """Let MLflow save a model of a flavor."""
    options = {"pip_requirements": [SKINNY, "scikit-learn", "skops", "pandas"], **options}
    flavor.save_model(model, str(folder), **options)
    return folder


def asked(folder: Path, rows: Any, **options: Any) -> Any:
    """Return what MLflow answers."""
    return mlflow.pyfunc.load_model(str(folder), suppress_warnings=True).predict(rows, **options)
