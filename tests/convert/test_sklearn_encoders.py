"""Encoders of categories: every known, unknown and missing one, as the encoder itself answers or refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from lading.convert.sklearn import SklearnModel
from lading.errors import SamplesRefused, ValueRefused
from lading.pack import pack
from support.packed_graphs import tensors
from support.sklearn_categories import LARGE, LARGER, categories, served_features
from support.sklearn_models import OWNER, answer

ENCODERS = [
    OneHotEncoder(),
    OneHotEncoder(handle_unknown="ignore", dtype=np.int32),
    OneHotEncoder(handle_unknown="ignore", min_frequency=0.1),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, sparse_output=False),
    OneHotEncoder(drop="first"),
    OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
    OneHotEncoder(drop="first", handle_unknown="infrequent_if_exist", min_frequency=0.12),
    OrdinalEncoder(),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=-5),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=99, min_frequency=0.1),
    OrdinalEncoder(dtype=np.int64, encoded_missing_value=-2),
    TargetEncoder(random_state=0),
]
# Values that no row has: fractions near whole numbers, texts near known ones.
STRANGE = {"text": ["A", "e\u0301te\u0301", "b "], "whole": [3, -1, 70_001], "part": [1.25, np.nan, -2.0]}


def quietly(call, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unknown categories, which are meant
        answer = call(*arguments)
    return np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer, dtype=np.float64)


def strange_rows(frame, column):
    rows = frame.head(len(STRANGE[column])).reset_index(drop=True)
    return rows.assign(**{column: pd.Series(STRANGE[column], dtype=frame[column].dtype)})


@pytest.mark.slow
@pytest.mark.parametrize("columns", [["text"], ["whole"], ["part"], ["text", "whole", "part", "flag"]])
@pytest.mark.parametrize("encoder", ENCODERS, ids=repr)
def test_an_encoder_answers_as_it_does_itself(tmp_path, encoder, columns):
    frame = categories()[columns]
    encoder.fit(frame, frame.index % 2)
    bundle = pack(encoder, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    expected = quietly(encoder.transform, frame)
    np.testing.assert_allclose(served_features(bundle, frame), expected, rtol=1e-6)
    for column in set(columns) & set(STRANGE):
        rows = strange_rows(frame, column)
        for at in range(len(rows)):
            row = rows[at : at + 1]
            try:
                expected = quietly(encoder.transform, row)
            except ValueError:  # the encoder's own refusal
                with pytest.raises(ValueRefused):
                    served_features(bundle, row)
                continue
            np.testing.assert_allclose(served_features(bundle, row), expected, rtol=1e-6)


@pytest.mark.parametrize("target", ["two classes", "three classes", "numbers"])
def test_a_target_encoder_of_each_kind_of_target_is_packed(tmp_path, target):
    frame, random = categories()[["text", "whole"]], np.random.default_rng(1)
    targets = {
        "two classes": random.integers(0, 2, len(frame)),
        "three classes": random.choice(["x", "y", "z"], len(frame)),
        "numbers": random.normal(size=len(frame)),
    }
    encoder = TargetEncoder(random_state=0).fit(frame, targets[target])
    bundle = pack(encoder, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(served_features(bundle, frame), encoder.transform(frame), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("category", [LARGE, LARGER])
def test_a_known_category_that_no_sample_shows_is_served(tmp_path, category):
    frame = pd.DataFrame({"shop": [1, 2, 3, category] * 20, "amount": np.arange(80.0)})
    shop = ("shop", OneHotEncoder(handle_unknown="ignore"), ["shop"])
    encode = ColumnTransformer([shop, ("rest", "passthrough", ["amount"])])
    model = make_pipeline(encode, LogisticRegression()).fit(frame, (frame["shop"] == category) * 1)
    samples = frame[frame["shop"] != category]
    bundle = pack(model, name="m", samples=samples, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.input("shop").dtype == "int64"
    rows = [{"shop": category, "amount": 1.0}, {"shop": category - 1, "amount": 1.0}]
    assert answer(bundle, rows)["label"].tolist() == [1, 0]


def test_integers_are_inputs_of_integers_only_where_an_encoder_looks_them_up(tmp_path):
    frame = pd.DataFrame({"shop": np.arange(80) % 4, "age": np.arange(80) % 60})
    columns = [("shop", OneHotEncoder(), ["shop"]), ("rest", "passthrough", ["age"])]
    model = ColumnTransformer(columns).fit(frame)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"shop": "int64 [batch, 1]", "age": "float32 [batch, 1]"}


@pytest.mark.slow
def test_categories_of_integers_stand_beside_fractions_that_need_float64(tmp_path):
    frame = pd.DataFrame({"shop": np.arange(80) % 3, "size": [0.1, 0.2, 1.5, 2.0] * 20})
    target = np.arange(80) % 7 % 2
    columns = [("shop", OrdinalEncoder(), ["shop"]), ("size", OrdinalEncoder(), ["size"])]
    model = make_pipeline(ColumnTransformer(columns), LogisticRegression()).fit(frame, target)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"shop": "int64 [batch, 1]", "size": "float64 [batch, 1]"}


def test_gaps_in_one_column_leave_large_identifiers_in_another_as_they_are(tmp_path):
    random = np.random.default_rng(0)
    shops = random.choice([1, 2, LARGER], 80)
    size = random.choice([0.5, 1.5, np.nan], 80)
    frame = pd.DataFrame({"size": size, "shop": shops})
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = [("size", SimpleImputer(), ["size"]), ("shop", encode, ["shop"])]
    model = ColumnTransformer(columns).fit(frame)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(served_features(bundle, frame), model.transform(frame), rtol=1e-6)


@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder()], ids=repr)
def test_an_unknown_category_that_the_encoder_refuses_is_refused(tmp_path, encoder):
    frame = pd.DataFrame({"port": ["S", "C", "Q", "S"] * 10})
    bundle = pack(encoder.fit(frame), name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    with pytest.raises(ValueRefused, match="trained with"):
        served_features(bundle, pd.DataFrame({"port": ["S", "X"]}))


def test_the_text_none_is_not_the_missing_category(tmp_path):
    trained = pd.DataFrame({"port": np.array(["S", "C", None, "S"] * 10, dtype=object)})
    encoder = OneHotEncoder(handle_unknown="ignore").fit(trained)
    samples = trained.dropna()
    bundle = pack(encoder, name="m", samples=samples, owner=OWNER, to=tmp_path / "b")
    rows = pd.DataFrame({"port": np.array(["None", "nan", "S"], dtype=object)})
    np.testing.assert_array_equal(served_features(bundle, rows), quietly(encoder.transform, rows))


def test_a_missing_category_of_numbers_that_no_sample_shows_is_served(tmp_path):
    trained = np.array([[1.0], [2.0], [np.nan], [2.0]] * 10)
    encoder = OneHotEncoder().fit(trained)
    samples = trained[~np.isnan(trained[:, 0])]
    bundle = pack(encoder, name="m", samples=samples, owner=OWNER, to=tmp_path / "b")
    assert served_features(bundle, np.array([[np.nan]])).tolist() == [[0.0, 0.0, 1.0]]


def test_fractions_that_float32_does_not_have_are_looked_up_in_float64(tmp_path):
    rows = np.array([[0.1], [0.2], [0.7]] * 10)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(rows)
    bundle = pack(encoder, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    assert tensors(bundle, "inputs") == {"X": "float64 [batch, 1]"}
    assert served_features(bundle, np.array([[0.1], [0.1 + 1e-12]])).tolist() == [[0.0], [-1.0]]


def test_categories_behind_an_imputer_are_drawn_from_the_encoder():
    frame = pd.DataFrame({"port": ["", "S", "C", "Q"] * 10})
    model = make_pipeline(SimpleImputer(missing_values="", strategy="most_frequent"), OneHotEncoder()).fit(
        frame
    )
    table = SklearnModel(model).table(frame.head(2))
    assert table.categories == {("port", 0): ("C", "Q", "S")}


def test_a_column_that_is_dropped_as_a_whole_keeps_only_the_refusal(tmp_path):
    frame = pd.DataFrame({"one": ["x"] * 20, "two": ["a", "b"] * 10})
    encoder = OneHotEncoder(drop="first").fit(frame)
    bundle = pack(encoder, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_array_equal(served_features(bundle, frame), quietly(encoder.transform, frame))
    with pytest.raises(ValueRefused):
        served_features(bundle, pd.DataFrame({"one": ["y"], "two": ["a"]}))


def test_an_encoder_whose_categories_are_of_another_kind_than_the_samples_is_refused(tmp_path):
    encoder = OneHotEncoder(handle_unknown="ignore").fit(np.array([["1"], ["2"]] * 10, dtype=object))
    with pytest.raises(SamplesRefused, match="expected rows that the estimator itself answers"):
        pack(encoder, name="m", samples=np.array([[1], [2]] * 10), owner=OWNER, to=tmp_path / "b")
