"""Train the iris classifier and pack it: what the last cell of a notebook would say.

Writes ``iris.bundle`` into the current folder.
"""

from __future__ import annotations

from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import lading

iris = load_iris(as_frame=True)
X, X_test, y, y_test = train_test_split(iris.data, iris.target, stratify=iris.target, random_state=0)
# `SVC(probability=True)` is on its way out of scikit-learn; this is what it names instead.
model = make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(), ensemble=False)).fit(X, y)
accuracy = float(model.score(X_test, y_test))

bundle = lading.pack(
    model,
    name="iris",
    samples=X_test,
    labels=list(iris.target_names),
    owner="ml@example.com",
    purpose="classification",
    description="Iris species from four lengths in centimetres.",
    metrics={"accuracy": accuracy},
)
print(f"{bundle.path.name}: {bundle.digest}, accuracy {accuracy:.3f}")
