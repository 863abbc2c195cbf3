"""Small fitted pipelines of scikit-learn, and what their bundles answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from lading.bundle import Bundle
from lading.runtime.open import load_runtime

OWNER = "ml@example.com"
X, Y = load_iris(return_X_y=True)


def passengers(rows: int = 240) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Draw a frame of numbers and texts, and a target that depends on them."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 80, rows),
            "fare": random.gamma(2, 20, rows).round(2),
            "sex": random.choice(["male", "female"], rows),
            "port": random.choice(["S", "C", "Q"], rows),
        }
    )
    target = ((frame["age"] < 40) ^ (frame["sex"] == "female")).to_numpy().astype(int)
    return frame, target


def mixed_pipeline(frame: pd.DataFrame, target: np.ndarray[Any, Any]) -> Pipeline:
    """Fit a classifier of numbers, missing ones included, and of categories."""
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "fare"]),
            ("categories", OneHotEncoder(handle_unknown="ignore"), ["sex", "port"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(frame, target)


def offset_pipeline() -> tuple[Pipeline, np.ndarray[Any, Any]]:
    """Fit a classifier that needs float64: float32 rounds its time stamps to 128 s, its tree asks for 1 s."""
    random = np.random.default_rng(0)
    rows = np.column_stack([1.7e9 + random.random(300) * 1000, random.random(300)])
    target = (rows[:, 0] > 1.7e9 + 500).astype(int)
    return make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(rows, target), rows


def answer(bundle: Bundle, rows: Any) -> dict[str, Any]:
    """Run the bundle's model on rows as a request brings them."""
    runtime = load_runtime(bundle)
    try:
        return runtime.run(bundle.manifest.signature.cast_rows(rows))
    finally:
        runtime.close()
