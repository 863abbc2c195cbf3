"""Steps before the model: the bits of scikit-learn, so that trees behind them take the same branch."""

from __future__ import annotations

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, MaxAbsScaler, OneHotEncoder, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from lading.pack import pack
from lading.runtime.open import load_runtime
from support.packed_graphs import tensors
from support.sklearn_models import OWNER

SCALERS = [StandardScaler(), StandardScaler(with_mean=False), RobustScaler(), MaxAbsScaler()]


@pytest.mark.slow
@pytest.mark.parametrize("scaler", SCALERS)
def test_scalers_become_plain_arithmetic_with_the_bits_of_scikit_learn(tmp_path, scaler):
    rows = load_breast_cancer(return_X_y=True)[0].astype(np.float32)
    model = clone(scaler).fit(rows)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert "Scaler" not in {node.op_type for node in onnx.load(bundle.path / "model.onnx").graph.node}
    runtime = load_runtime(bundle)
    (features,) = runtime.run({"X": rows}).values()
    runtime.close()
    assert features.tobytes() == model.transform(rows).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize(
    "trees",
    [
        DecisionTreeClassifier(random_state=0),
        RandomForestClassifier(10, random_state=0),
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_trees_behind_a_scaler_are_packed_with_float32_samples(tmp_path, scaler, trees):
    rows, target = make_classification(800, 8, n_informative=5, n_classes=3, random_state=0)
    single = rows.astype(np.float32)
    model = make_pipeline(clone(scaler), clone(trees)).fit(single, target)
    bundle = pack(model, name="m", samples=single, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.inputs[0].dtype == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("scaler", SCALERS)
def test_whole_numbers_beside_categories_are_scaled(tmp_path, scaler):
    random, rows = np.random.default_rng(0), 300
    columns = {"city": (0, 4), "age": (18, 80), "children": (0, 4)}
    frame = pd.DataFrame({name: random.integers(*span, rows) for name, span in columns.items()})
    city = ("city", OneHotEncoder(handle_unknown="ignore"), ["city"])
    numbers = ("numbers", clone(scaler), ["age", "children"])
    model = make_pipeline(ColumnTransformer([city, numbers]), LogisticRegression())
    model.fit(frame, frame["age"] > 40)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    # That the answers agree is what packing has proved, or it would have refused the model.
    numbers = {"age": "float32 [batch, 1]", "children": "float32 [batch, 1]"}
    assert tensors(bundle, "inputs") == {"city": "int64 [batch, 1]", **numbers}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("encode", ["ordinal", "onehot", "onehot-dense"])
def test_each_value_is_in_the_bin_that_scikit_learn_puts_it_in(tmp_path, encode, dtype):
    rows = load_breast_cancer(return_X_y=True)[0][:, :6].astype(dtype)
    model = KBinsDiscretizer([2, 5, 3, 7, 4, 6], encode=encode, quantile_method="averaged_inverted_cdf")
    model.fit(rows)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    edges = np.stack([rows[:, 0], *(np.resize(each, len(rows)) for each in model.bin_edges_[1:])], axis=1)
    others = edges.astype(bundle.manifest.signature.inputs[0].dtype)  # values on the edges themselves
    runtime = load_runtime(bundle)
    (features,) = runtime.run({"X": others}).values()
    runtime.close()
    expected = model.transform(others)
    expected = expected.toarray() if encode == "onehot" else expected
    np.testing.assert_array_equal(features, expected)
