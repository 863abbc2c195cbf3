"""Train a regression on mixed columns: numbers, and categories given as text.

Predicts how far diabetes has progressed after a year, from scikit-learn's bundled data. Run as a script it
writes the held-out rows to ``progression.csv`` in the current folder; imported, it gives ``model``:
``lading pack progression:model --samples progression.csv …``.
"""

from __future__ import annotations

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NAMES = {
    "bp": "blood_pressure",
    "s1": "cholesterol",
    "s2": "ldl",
    "s3": "hdl",
    "s4": "cholesterol_ratio",
    "s5": "triglycerides_log",
    "s6": "glucose",
}
NUMBERS = ["age", *NAMES.values()]
CATEGORIES = ["sex", "weight"]


def load() -> tuple[pd.DataFrame, pd.Series]:
    """Return the table, with the codes of `sex` and the WHO's classes of body mass as text."""
    data = load_diabetes(as_frame=True, scaled=False)
    table = data.data.rename(columns=NAMES)
    table["sex"] = table["sex"].map({1.0: "group 1", 2.0: "group 2"}).astype(object)
    classes = ["underweight", "normal", "overweight", "obese"]
    table["weight"] = pd.cut(table["bmi"], [0, 18.5, 25, 30, 100], labels=classes, right=False).astype(object)
    return table[NUMBERS + CATEGORIES], data.target


X, X_test, y, y_test = train_test_split(*load(), random_state=42)
columns = make_column_transformer(
    (StandardScaler(), NUMBERS),
    (OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
)
model = make_pipeline(columns, Ridge()).fit(X, y)
r2 = float(model.score(X_test, y_test))

if __name__ == "__main__":
    X_test.to_csv("progression.csv", index=False)
    print(f"progression.csv: {len(X_test)} rows held out, R² {r2:.3f}")
