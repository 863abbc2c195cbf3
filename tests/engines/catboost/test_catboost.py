"""CatBoost: each configuration is packed, and answers unseen rows as CatBoost does."""

from __future__ import annotations

import sys
import warnings

import catboost
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoost, CatBoostClassifier, CatBoostRanker, CatBoostRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV

from lading.errors import ConverterFailed, SamplesRefused
from lading.pack import pack
from support.booster_models import BY_CATEGORY, GAPS, PLAIN, THREE, TWO, pack_and_ask
from support.catboost_models import TEXTS, catboost_cases
from support.guides import GUIDES, follow, script
from support.ports import free_port
from support.sklearn_models import OWNER

CASES = [pytest.param(train, id=name) for name, train in catboost_cases()]


@pytest.mark.slow
@pytest.mark.parametrize("train", CASES)
def test_rows_that_packing_never_saw_are_answered_as_by_catboost(tmp_path, train):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what frameworks say of names, gaps and settings
        bundle, asked = pack_and_ask(train(), tmp_path)
    assert not asked.silent, asked.examples
    assert asked.rows > asked.refused
    assert "catboost" in bundle.manifest.training.packages


def model_of_categories(one_hot_max_size=10, rows=TEXTS):
    model = CatBoostRegressor(
        iterations=10,
        verbose=0,
        allow_writing_files=False,
        cat_features=["port", "deck", "class"],
        one_hot_max_size=one_hot_max_size,
    )
    return model.fit(rows, BY_CATEGORY)


def test_the_bundle_says_that_catboost_gave_the_expected_outputs(tmp_path):
    model = CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False).fit(PLAIN, THREE)
    bundle = pack(model, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    framework = f"catboost {catboost.__version__}"
    assert (bundle.manifest.expected_from, bundle.manifest.training.framework) == (framework, framework)
    assert [str(tensor) for tensor in bundle.manifest.signature.outputs] == [
        "int64 [batch]",
        "float32 [batch, 3]",
    ]
    assert bundle.manifest.purpose == "classification"


def test_statistics_of_categories_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(ConverterFailed, match="found splits by statistics of categories") as refused:
        pack(model_of_categories(1), name="m", samples=TEXTS, owner=OWNER, to=tmp_path / "b")
    assert "one_hot_max_size" in str(refused.value)


def test_samples_that_lack_a_category_of_a_split_are_refused(tmp_path):
    few = TEXTS[TEXTS["port"] != "B"]
    with pytest.raises(SamplesRefused, match=r"column `port`.*expected each of the \d categories"):
        pack(model_of_categories(), name="m", samples=few, owner=OWNER, to=tmp_path / "b")


def test_a_category_that_training_did_not_have_is_answered_as_by_catboost(tmp_path):
    model = model_of_categories()
    bundle = pack(model, name="m", samples=TEXTS, owner=OWNER, to=tmp_path / "b")
    unknown = TEXTS.head(8).assign(port="부산", deck=[1, 10, 20, -3, 7, 35, 99, 2**40])
    np.testing.assert_allclose(bundle.predict(unknown), model.predict(unknown), rtol=1e-5)
    assert [tensor.dtype for tensor in bundle.manifest.signature.inputs] == [
        "float32",
        "string",
        "int64",
        "string",
    ]


def test_categories_inside_of_another_estimator_are_refused(tmp_path):
    inner = CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False, one_hot_max_size=10)
    model = CalibratedClassifierCV(inner, cv=2)
    model.fit(TEXTS, TWO, cat_features=["port", "deck", "class"])
    with pytest.raises(ConverterFailed, match="found categories of a data frame behind another step"):
        pack(model, name="m", samples=TEXTS, owner=OWNER, to=tmp_path / "b")


def test_columns_of_samples_in_another_order_are_those_of_training_by_name(tmp_path):
    frame = pd.DataFrame(PLAIN, columns=list("abcde"))
    model = CatBoostRegressor(iterations=5, verbose=0, allow_writing_files=False)
    search = GridSearchCV(model, {"depth": [2, 3]}, cv=2).fit(frame, PLAIN[:, 0])
    bundle = pack(search, name="m", samples=frame[list("edcba")], owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.inputs[0].columns == tuple("abcde")
    np.testing.assert_allclose(bundle.predict(frame), search.predict(frame), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [CatBoostRegressor, CatBoost])
def test_a_model_that_was_saved_and_loaded_packs_as_itself(tmp_path, kind):
    model = CatBoostRegressor(iterations=5, loss_function="Poisson", verbose=0, allow_writing_files=False)
    model.fit(PLAIN, TWO).save_model(str(tmp_path / "m.cbm"))
    loaded = kind().load_model(str(tmp_path / "m.cbm"))
    bundle = pack(loaded, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(bundle.predict(PLAIN), loaded.predict(PLAIN), rtol=1e-5)


def test_a_sum_of_models_packs(tmp_path):
    settings = {"iterations": 5, "verbose": 0, "allow_writing_files": False}
    parts = [CatBoostRegressor(**settings, random_seed=seed).fit(PLAIN, PLAIN[:, 0]) for seed in (1, 2)]
    model = catboost.sum_models(parts, weights=[0.3, 0.7])
    bundle = pack(model, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(bundle.predict(PLAIN), model.predict(PLAIN), rtol=1e-4, atol=1e-6)


def test_a_pool_is_refused_by_its_name(tmp_path):
    pool = catboost.Pool(PLAIN, TWO)
    model = CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False).fit(pool)
    with pytest.raises(SamplesRefused, match=r"expected rows: .*, found `Pool`"):
        pack(model, name="m", samples=pool, owner=OWNER, to=tmp_path / "b")


def test_features_of_texts_are_refused_in_the_words_of_catboost(tmp_path):
    frame = pd.DataFrame({"a": PLAIN[:, 0], "text": ["a ship in port", "a crane at sea"] * (len(PLAIN) // 2)})
    model = CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False, text_features=["text"])
    with pytest.raises(ConverterFailed, match="text features only in cbm format"):
        pack(model.fit(frame, TWO), name="m", samples=frame, owner=OWNER, to=tmp_path / "b")


def test_the_sums_of_200_trees_are_those_of_catboost_to_the_digits_of_float32(tmp_path):
    model = CatBoostRegressor(iterations=200, verbose=0, allow_writing_files=False).fit(GAPS, PLAIN[:, 0])
    bundle = pack(model, name="m", samples=GAPS, owner=OWNER, to=tmp_path / "b", dtype="float64")
    np.testing.assert_allclose(bundle.predict(GAPS), model.predict(GAPS), rtol=3e-7, atol=1e-8)


@pytest.mark.slow
def test_the_guide_runs_as_it_stands(tmp_path, tmp_path_factory):
    # The environment has lading's sources, but not its command.
    commands = tmp_path_factory.mktemp("commands")
    command = commands / "lading"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m lading "$@"\n')
    command.chmod(0o755)
    output = follow(script(GUIDES / "first-model-catboost.md"), tmp_path, free_port(), commands=commands)
    assert "holds here" in output
    *_, difference, trips = output.strip().splitlines()
    assert float(difference) < 1e-4
    assert trips.startswith("Prediction(2 rows of trips: ")


@pytest.mark.parametrize("suffix", ["cbm", "json"])
@pytest.mark.parametrize(
    ("loss", "kind", "outputs"),
    [
        ("MultiClass", CatBoostClassifier, ["label", "probabilities"]),
        ("Poisson", CatBoostRegressor, ["value"]),
        ("YetiRank", CatBoostRanker, ["value"]),
    ],
)
def test_a_file_that_catboost_saved_is_packed_as_its_estimator(tmp_path, suffix, loss, kind, outputs):
    model = kind(iterations=5, loss_function=loss, verbose=0, allow_writing_files=False)
    groups = {"group_id": np.repeat(np.arange(len(PLAIN) // 10), 10)} if loss == "YetiRank" else {}
    path = tmp_path / f"m.{suffix}"
    model.fit(PLAIN, THREE, **groups).save_model(str(path), format=suffix)
    bundle = pack(path, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    assert [tensor.name for tensor in bundle.manifest.signature.outputs] == outputs
    own = model.predict_proba(PLAIN) if outputs[0] == "label" else model.predict(PLAIN)
    np.testing.assert_allclose(bundle.predict(PLAIN), own, rtol=1e-5, atol=1e-6)
