"""XGBoost and LightGBM: each configuration is packed, and answers unseen rows as its framework does."""

from __future__ import annotations

import warnings

import lightgbm
import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from lading.errors import ConverterFailed, SamplesRefused, ValueRefused
from lading.pack import pack
from support.booster_models import (
    CODES,
    GAPS,
    NUMBERS,
    PLAIN,
    THREE,
    TWO,
    lightgbm_cases,
    pack_and_ask,
    xgboost_cases,
)
from support.sklearn_models import OWNER

CASES = [("xgboost", *case) for case in xgboost_cases()] + [("lightgbm", *case) for case in lightgbm_cases()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "train"),
    [
        pytest.param(framework, train, id=f"{framework}, {name}", marks=[pytest.mark.wide] if at % 4 else [])
        for at, (framework, name, train) in enumerate(CASES)
    ],
)
def test_rows_that_packing_never_saw_are_answered_as_by_the_framework(tmp_path, framework, train):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what frameworks say of names, gaps and settings
        bundle, asked = pack_and_ask(train(), tmp_path)
    assert not asked.silent, asked.examples
    assert asked.rows > asked.refused
    training = bundle.manifest.training
    assert {"xgboost": "xgboost-cpu", "lightgbm": "lightgbm"}[framework] in training.packages


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "framework"),
    [
        (xgboost.XGBClassifier(n_estimators=2), f"xgboost {xgboost.__version__}"),
        (lightgbm.LGBMClassifier(n_estimators=2, verbose=-1), f"lightgbm {lightgbm.__version__}"),
    ],
    ids=["xgboost", "lightgbm"],
)
def test_the_bundle_says_which_framework_gave_the_expected_outputs(tmp_path, model, framework):
    bundle = pack(model.fit(PLAIN, THREE), name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    assert (bundle.manifest.expected_from, bundle.manifest.training.framework) == (framework, framework)
    assert [tensor.name for tensor in bundle.manifest.signature.outputs] == ["label", "probabilities"]
    assert bundle.manifest.purpose == "classification"


@pytest.mark.slow
def test_a_native_booster_names_its_columns_and_answers_what_it_predicts(tmp_path):
    frame = NUMBERS.dropna()
    matrix = xgboost.DMatrix(frame, label=TWO[frame.index])
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3}, matrix, 5)
    bundle = pack(booster, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    assert bundle.manifest.signature.inputs[0].columns == ("fare", "children")
    np.testing.assert_allclose(bundle.predict(frame), booster.predict(matrix), rtol=1e-5)


@pytest.mark.slow
def test_all_rounds_of_a_booster_count_unless_it_was_stopped_early(tmp_path):
    data, late = (
        lightgbm.Dataset(PLAIN[:300], label=TWO[:300]),
        lightgbm.Dataset(PLAIN[300:], label=TWO[300:]),
    )
    stop = lightgbm.early_stopping(2, verbose=False)
    settings = {"objective": "binary", "verbose": -1, "learning_rate": 0.5}
    booster = lightgbm.train(settings, data, 100, valid_sets=[late], callbacks=[stop])
    assert booster.best_iteration < 100
    bundle = pack(booster, name="m", samples=PLAIN[:100], owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(bundle.predict(PLAIN), booster.predict(PLAIN), rtol=1e-5)


FRAME = pd.DataFrame({"a": PLAIN[:, 0], "port": pd.Categorical(CODES[:, 4].astype(int).astype(str))})
BOOSTERS = {
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=3, enable_categorical=True),
    "lightgbm": lambda: lightgbm.LGBMClassifier(
        n_estimators=3, min_data_per_group=1, cat_smooth=0, verbose=-1
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", BOOSTERS.values(), ids=BOOSTERS)
def test_missing_categories_are_empty_texts_and_the_golden_samples_have_some(tmp_path, make):
    frame = FRAME.copy()
    frame.loc[::7, "port"] = np.nan
    model, notes = make().fit(frame, TWO), []
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b", on_note=notes.append)
    assert "the empty text stands for a missing value in `port`" in notes
    request = frame.astype({"port": object}).fillna({"port": ""})
    np.testing.assert_allclose(bundle.predict(request), model.predict_proba(frame), rtol=1e-5)
    assert "" in bundle.samples().inputs["port"].ravel().tolist()


@pytest.mark.slow
def test_xgboost_takes_an_unknown_category_for_another_and_the_bundle_refuses_it(tmp_path):
    model = BOOSTERS["xgboost"]().fit(FRAME, TWO)
    bundle = pack(model, name="m", samples=FRAME, owner=OWNER, to=tmp_path / "b")
    unknown = pd.DataFrame({"a": [0.5], "port": ["33"]})
    own = [
        model.predict_proba(unknown.assign(port=pd.Categorical([text]))).tolist() for text in ("33", "4", "3")
    ]
    assert own[0] == own[1] != own[2]  # if not, XGBoost has changed: look at `frame_categories` again
    with pytest.raises(ValueRefused, match="expected categories that it was trained with"):
        bundle.predict(unknown)


@pytest.mark.slow
def test_lightgbm_answers_an_unknown_category_as_a_missing_one_and_so_does_the_bundle(tmp_path):
    model = BOOSTERS["lightgbm"]().fit(FRAME, TWO)
    bundle = pack(model, name="m", samples=FRAME, owner=OWNER, to=tmp_path / "b")
    rows = pd.DataFrame({"a": PLAIN[:20, 0], "port": ["of tomorrow", ""] * 10})
    missing = pd.DataFrame(
        {"a": PLAIN[:20, 0], "port": pd.Categorical([None] * 20, FRAME["port"].cat.categories)}
    )
    np.testing.assert_allclose(bundle.predict(rows), model.predict_proba(missing), rtol=1e-5)
    assert len(set(bundle.samples().inputs["port"].ravel().tolist()) - {""}) == 10  # nine, and an unknown one


@pytest.mark.slow
@pytest.mark.parametrize("make", BOOSTERS.values(), ids=BOOSTERS)
def test_samples_of_a_csv_file_get_the_categories_of_training(tmp_path, make):
    frame = FRAME.assign(port=FRAME["port"].cat.rename_categories(lambda text: f"pier {text}"))
    model = make().fit(frame, TWO)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    bundle = pack(model, name="m", samples=tmp_path / "rows.csv", owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(bundle.predict(frame), model.predict_proba(frame), rtol=1e-5)


@pytest.mark.slow
def test_categories_that_xgboost_cuts_are_refused(tmp_path):
    frame = FRAME.assign(port=FRAME["port"].cat.rename_categories(lambda text: f"부두 {text}"))
    with pytest.raises(ConverterFailed, match="found texts outside ASCII"):
        pack(BOOSTERS["xgboost"]().fit(frame, TWO), name="m", samples=frame, owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
def test_samples_with_other_columns_of_categories_are_refused(tmp_path):
    model = BOOSTERS["lightgbm"]().fit(FRAME, TWO)
    numbers = FRAME.assign(port=CODES[:, 4])
    with pytest.raises(
        SamplesRefused, match=r"expected a data frame with 1 columns of categories.*found none"
    ):
        pack(model, name="m", samples=numbers, owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
@pytest.mark.parametrize("make", BOOSTERS.values(), ids=BOOSTERS)
def test_a_missing_text_beside_an_empty_category_is_refused(tmp_path, make):
    frame = FRAME.assign(port=FRAME["port"].cat.rename_categories({"0": ""}))
    model = make().fit(frame, TWO)
    frame.loc[::7, "port"] = np.nan
    with pytest.raises(SamplesRefused, match="since the empty text is a category"):
        pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
@pytest.mark.parametrize("make", BOOSTERS.values(), ids=BOOSTERS)
def test_categories_of_a_data_frame_inside_of_another_estimator_are_refused_with_the_way_out(tmp_path, make):
    voting = VotingClassifier([("a", make()), ("b", make())], voting="soft").fit(FRAME, TWO)
    with pytest.raises((ConverterFailed, SamplesRefused)) as refused:
        pack(voting, name="m", samples=FRAME, owner=OWNER, to=tmp_path / "b")
    assert "OrdinalEncoder" in str(refused.value)


@pytest.mark.slow
def test_scores_in_the_place_of_probabilities_are_refused(tmp_path):
    model = xgboost.XGBClassifier(objective="binary:logitraw", n_estimators=2).fit(PLAIN, TWO)
    with pytest.raises(ConverterFailed, match="found scores, because of the objective `binary:logitraw`"):
        pack(model, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Cannot compute class probabilities")
def test_the_scores_of_an_own_objective_are_packed_as_scores_only(tmp_path):
    def objective(target, scores):
        return 1 / (1 + np.exp(-scores)) - target, np.ones(len(target))

    model = lightgbm.LGBMClassifier(objective=objective, n_estimators=3, verbose=-1).fit(PLAIN, TWO)
    with pytest.raises(
        ConverterFailed, match="found scores, because of an objective of one's own"
    ) as refused:
        pack(model, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    assert "`booster_`" in str(refused.value)
    bundle = pack(model.booster_, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(bundle.predict(PLAIN), model.booster_.predict(PLAIN), rtol=1e-5)


@pytest.mark.slow
def test_samples_in_the_form_of_another_library_are_refused_by_its_name(tmp_path):
    model = xgboost.XGBClassifier(n_estimators=2).fit(PLAIN, TWO)
    with pytest.raises(SamplesRefused, match=r"expected rows: .*, found `DMatrix`"):
        pack(model, name="m", samples=xgboost.DMatrix(PLAIN), owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
def test_leaves_that_are_lines_are_refused(tmp_path):
    model = lightgbm.LGBMRegressor(n_estimators=3, linear_tree=True, verbose=-1).fit(PLAIN, PLAIN[:, 0])
    with pytest.raises(ConverterFailed, match="found leaves that are lines"):
        pack(model, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
def test_an_unknown_objective_is_refused_by_its_name(tmp_path, monkeypatch):
    model = xgboost.XGBRegressor(n_estimators=2).fit(PLAIN, PLAIN[:, 0])
    saved = bytes(model.get_booster().save_raw("json")).replace(b"reg:squarederror", b"reg:of-tomorrow")
    monkeypatch.setattr(xgboost.Booster, "save_raw", lambda *_: saved)
    with pytest.raises(ConverterFailed, match=r"one of the objectives .*, found `reg:of-tomorrow`"):
        pack(model, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")


@pytest.mark.slow
def test_infinities_that_a_step_makes_are_answered_as_the_booster_does(tmp_path):
    model = make_pipeline(FunctionTransformer(np.log), xgboost.XGBClassifier(n_estimators=5))
    positive = np.abs(PLAIN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bundle = pack(model.fit(positive, TWO), name="m", samples=positive, owner=OWNER, to=tmp_path / "b")
        zero = positive[:20].copy()
        zero[::2, 0], zero[1::2, 1] = 0.0, -1.0
        expected = model.predict_proba(zero)
    np.testing.assert_allclose(bundle.predict(zero), expected, rtol=1e-5)


@pytest.mark.slow
def test_missing_values_are_refused_where_no_sample_has_one(tmp_path):
    model = xgboost.XGBClassifier(n_estimators=3).fit(GAPS, TWO)
    bundle = pack(model, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    with pytest.raises(ValueRefused, match="found NaN"):
        bundle.predict(GAPS)


@pytest.mark.slow
def test_trees_become_one_operator_whatever_their_number(tmp_path):
    model = xgboost.XGBRegressor(n_estimators=50, max_depth=3).fit(PLAIN, PLAIN[:, 0])
    bundle = pack(model, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    nodes = [node.op_type for node in onnx.load(str(bundle.path / "model.onnx")).graph.node]
    assert nodes.count("TreeEnsembleRegressor") == 1


@pytest.mark.slow
@pytest.mark.parametrize("make", BOOSTERS.values(), ids=BOOSTERS)
def test_columns_that_pass_by_place_and_not_by_name_are_refused_with_the_way_out(tmp_path, make):
    columns = ColumnTransformer([("scale", StandardScaler(), [0]), ("port", "passthrough", [1])])
    model = make_pipeline(columns.set_output(transform="pandas"), make()).fit(FRAME, TWO)
    with pytest.raises(ConverterFailed) as refused:
        pack(model, name="m", samples=FRAME, owner=OWNER, to=tmp_path / "b")
    assert "OrdinalEncoder" in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("make", BOOSTERS.values(), ids=BOOSTERS)
def test_a_missing_text_of_another_step_is_refused_beside_categories(tmp_path, make):
    encode = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    columns = ColumnTransformer([("hot", encode, ["kind"])], remainder="passthrough")
    frame = FRAME.assign(kind=np.resize(np.array(["a", "b", None], dtype=object), len(FRAME)))
    model = make_pipeline(columns.set_output(transform="pandas"), make()).fit(frame, TWO)
    with pytest.raises(SamplesRefused, match="column `kind`: expected texts only, found a missing value"):
        pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
