"""Train iris again: ``better`` with all the features in play, ``broken`` by a mistake that people make.

Writes ``better.bundle`` or ``broken.bundle`` into the current folder. The broken one was trained on inches
and is asked in centimetres: its own golden samples agree, so nothing but live traffic can tell.
"""

from __future__ import annotations

import sys

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lading

kind = sys.argv[1]
scale = {"better": 1.0, "broken": 1 / 2.54}[kind]
iris = load_iris(as_frame=True)
data = iris.data * scale
X, X_test, y, y_test = train_test_split(data, iris.target, stratify=iris.target, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression(C=10)).fit(X, y)
accuracy = float(model.score(X_test, y_test))

bundle = lading.pack(
    model,
    name="iris",
    samples=X_test,
    labels=list(iris.target_names),
    owner="ml@example.com",
    purpose="classification",
    description=f"Iris species, trained again: {kind}.",
    metrics={"accuracy": accuracy},
    to=f"{kind}.bundle",
)
print(f"{bundle.path.name}: {bundle.digest}, accuracy {accuracy:.3f}")
