"""The forms in which samples enter a converted model."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lading.errors import ValueRefused
from lading.pack import pack
from support.packed_graphs import tensors
from support.sklearn_models import OWNER, answer, mixed_pipeline, passengers
from support.sklearn_survey import count_disagreements


@pytest.mark.slow
def test_texts_are_one_vector(tmp_path):
    words = np.array(["ship", "crane", "cargo", "port", "tide"])
    texts = [" ".join(row) for row in words[np.random.default_rng(0).integers(0, 5, (80, 6))]]
    late = ["tide" in text for text in texts]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, late)
    bundle = pack(model, name="m", samples=texts, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"X": "string [batch]"}
    assert count_disagreements(bundle, model, np.array(["Cargo on the tide", "a PORT", "", "crane"])) == 0


@pytest.mark.slow
def test_a_model_of_a_mixed_frame_takes_rows_as_objects(tmp_path):
    frame, target = passengers()
    frame["fare"] = frame["fare"].mask(frame["fare"] > 80)
    model = mixed_pipeline(frame, target)
    bundle = pack(model, name="titanic", samples=frame, owner=OWNER, to=tmp_path / "b")
    inputs = {
        tensor.name: (tensor.dtype, tensor.shape, tensor.allows_nan)
        for tensor in bundle.manifest.signature.inputs
    }
    assert inputs == {
        "age": ("float32", ("batch", 1), True),  # no sample misses it, but the imputer takes it
        "fare": ("float32", ("batch", 1), True),
        "sex": ("string", ("batch", 1), False),
        "port": ("string", ("batch", 1), False),
    }
    rows = json.loads(frame.head(9).to_json(orient="records"))
    answers = answer(bundle, rows)
    assert (answers["label"] == model.predict(frame.head(9))).all()
    assert np.allclose(answers["probabilities"], model.predict_proba(frame.head(9)), atol=1e-5)


@pytest.mark.slow
def test_a_numeric_frame_is_one_input_with_named_columns(tmp_path):
    frame = passengers()[0][["age", "fare"]]
    by_name = ColumnTransformer([("scaled", StandardScaler(), ["fare"])], remainder="passthrough")
    model = make_pipeline(by_name, LinearRegression()).fit(frame, frame["age"] * 2.0 + frame["fare"])
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    (only,) = bundle.manifest.signature.inputs
    assert (only.name, str(only), only.columns) == ("X", "float32 [batch, 2]", ("age", "fare"))
    answers = answer(bundle, [{"fare": 10.0, "age": 40}])
    assert answers["value"] == pytest.approx(
        model.predict(pd.DataFrame({"age": [40], "fare": [10.0]})), rel=1e-5
    )


@pytest.mark.slow
def test_whole_numbers_that_are_categories_become_integers(tmp_path):
    frame, target = passengers()
    frame = frame[["fare"]].assign(zone=np.arange(len(frame)) % 4 + 1)
    encode = ColumnTransformer(
        [("zone", OneHotEncoder(handle_unknown="ignore"), ["zone"])], remainder="passthrough"
    )
    model = make_pipeline(encode, LogisticRegression()).fit(frame, target)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.input("zone").dtype == "int64"
    with pytest.raises(ValueRefused, match=r"1\.5"):
        answer(bundle, [{"fare": 10.0, "zone": 1.5}])
