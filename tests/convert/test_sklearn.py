"""scikit-learn models: the names, dtypes and shapes of their outputs, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from lading.errors import ConverterFailed, SamplesRefused
from lading.pack import pack
from support.packed_graphs import tensors
from support.sklearn_models import OWNER, X, Y, passengers
from support.sklearn_survey import count_disagreements


def test_a_regressor_gives_one_value_per_row(tmp_path):
    bundle = pack(LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle) == {"value": "float32 [batch]"}


def test_several_targets_are_one_column_each(tmp_path):
    model = LinearRegression().fit(X, np.column_stack([Y, X[:, 0]]))
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle) == {"value": "float32 [batch, 2]"}
    assert count_disagreements(bundle, model, X + 0.05) == 0


def test_targets_of_different_classes_are_refused(tmp_path):
    model = MultiOutputClassifier(GaussianNB()).fit(X, np.column_stack([Y, Y > 1]).astype(int))
    with pytest.raises(ConverterFailed, match="the same number of classes") as refusal:
        pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert refusal.value.hint == "pack one classifier per target"


@pytest.mark.slow
def test_labels_of_a_multi_label_model_have_no_class_columns(tmp_path):
    targets = np.column_stack([Y > 0, Y > 1]).astype(int)
    model = OneVsRestClassifier(LogisticRegression()).fit(X, targets)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle)["probabilities"] == "float32 [batch, 2]"
    assert bundle.manifest.signature.outputs[1].columns == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "dtype", "columns"),
    [
        (np.array(["a", "b", "c"]), "string", ("a", "b", "c")),
        (np.array([10, 20, 30]), "int64", ("10", "20", "30")),
        (np.array([1.0, 2.0, 3.0]), "int64", ("1", "2", "3")),
    ],
)
def test_class_values_keep_their_kind(tmp_path, classes, dtype, columns):
    model = LogisticRegression(max_iter=1000).fit(X, classes[Y])
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    label, probabilities = bundle.manifest.signature.outputs
    assert (label.dtype, probabilities.columns) == (dtype, columns)


@pytest.mark.slow
def test_boolean_classes_stay_boolean(tmp_path):
    model = LogisticRegression(max_iter=1000).fit(X, Y > 0)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b", labels=["no", "yes"])
    assert tensors(bundle)["label"] == "bool [batch]"
    assert bundle.manifest.labels == {"False": "no", "True": "yes"}


def test_features_are_named_as_the_transformer_names_them(tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    bundle = pack(StandardScaler().fit(frame), name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.outputs[0].columns == ("a", "b", "c", "d")


@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
def test_a_search_is_packed_as_its_best_estimator(tmp_path, search):
    limit = {"n_iter": 1, "random_state": 0} if search is RandomizedSearchCV else {}
    model = search(make_pipeline(StandardScaler(), SVC()), {"svc__C": [1.0, 2.0]}, cv=2, **limit).fit(X, Y)
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, X + 0.05) == 0


@pytest.mark.slow
def test_a_column_named_like_an_output_is_refused(tmp_path):
    frame = pd.DataFrame({"label": X[:, 0], "kind": np.where(Y > 0, "a", "b")})
    from sklearn.compose import make_column_transformer

    columns = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, Y)
    with pytest.raises(SamplesRefused, match="column `label`"):
        pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")


def test_an_array_gets_the_column_names_of_training(tmp_path):
    frame = passengers()[0][["age", "fare"]]
    model = LinearRegression().fit(frame, frame["age"])
    bundle = pack(model, name="m", samples=frame.to_numpy(), owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.columns == ("age", "fare")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["remainder", "drop"])
def test_columns_that_the_pipeline_drops_are_no_inputs(tmp_path, way):
    frame, target = passengers()
    frame = frame.assign(when=pd.Timestamp("2026-01-01"), who=[object()] * len(frame))
    columns = [
        ("numbers", StandardScaler(), make_column_selector(dtype_include="number")),
        ("texts", OneHotEncoder(handle_unknown="ignore"), ["sex", "port"]),
    ]
    if way == "drop":
        columns.append(("dropped", "drop", ["when", "who"]))
    model = make_pipeline(ColumnTransformer(columns), LogisticRegression()).fit(frame, target)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.columns == ("age", "fare", "sex", "port")
    assert count_disagreements(bundle, model, frame.drop(columns=["when", "who"])) == 0


@pytest.mark.slow
def test_columns_by_their_places_keep_those_that_are_dropped(tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    model = make_pipeline(ColumnTransformer([("scaled", StandardScaler(), [1, 3])]), LogisticRegression())
    bundle = pack(model.fit(frame, Y), name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.columns == ("a", "b", "c", "d")
    assert count_disagreements(bundle, model, frame) == 0
