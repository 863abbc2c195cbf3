"""XGBoost and LightGBM as people train them: by name, a model, and rows of which it was trained on some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, StackingRegressor, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from lading.bundle import Bundle
from lading.convert.lightgbm import NativeLightgbm
from lading.convert.xgboost import NativeXgboost
from lading.pack import pack
from support.sklearn_asking import Asked, ask
from support.sklearn_models import OWNER
from support.sklearn_rows import hard_rows

_ROWS = 600
TRAINED_ROWS = 400
_RANDOM = np.random.default_rng(0)
PLAIN = _RANDOM.normal(size=(_ROWS, 5))
GAPS = np.where(_RANDOM.random(PLAIN.shape) < 0.1, np.nan, PLAIN)
ZEROS = np.where(_RANDOM.random(PLAIN.shape) < 0.2, 0.0, PLAIN)
CODES = np.column_stack([PLAIN[:, :4], _RANDOM.integers(0, 9, _ROWS)])
MANY_CODES = np.column_stack([PLAIN[:, :4], _RANDOM.integers(0, 300, _ROWS)])
FRAME = pd.DataFrame(
    {
        "age [years]": _RANDOM.normal(40, 9, _ROWS).round(1),
        "fare": np.where(_RANDOM.random(_ROWS) < 0.1, np.nan, _RANDOM.gamma(2, 20, _ROWS)),
        "port": _RANDOM.choice(np.array(["A", "B", "C"], dtype=object), _ROWS),
    }
)
NUMBERS = FRAME[["fare"]].assign(children=CODES[:, 4])

KNOWN = {"port": ["A", "B", "C", "a B"], "deck": [10, 20, 35], "class": ["low", "mid", "high"]}
CATEGORIES = FRAME[["fare"]].assign(
    port=_RANDOM.choice(np.array([*KNOWN["port"], ""], dtype=object), _ROWS),
    deck=_RANDOM.choice(np.array([*KNOWN["deck"], np.nan]), _ROWS),
    **{"class": _RANDOM.choice(np.array(KNOWN["class"], dtype=object), _ROWS)},
)

TWO = (PLAIN[:, 0] + PLAIN[:, 1] * PLAIN[:, 2] > 0).astype(int)
THREE = np.digitize(PLAIN[:, 0] + PLAIN[:, 3], [0.0, 1.0])
LABELS = (PLAIN[:, :3] > 0).astype(int)
AMOUNT = PLAIN[:, 0] * 2 + PLAIN[:, 3] ** 2 + CODES[:, 4] % 3
SHARE = 1 / (1 + np.exp(-AMOUNT))
COUNT = _RANDOM.poisson(np.exp(PLAIN[:, 0] / 2)).astype(float)
POSITIVE = np.exp(PLAIN[:, 0])
BOTH = np.column_stack([AMOUNT, PLAIN[:, 1]])
BY_CATEGORY = (
    (CATEGORIES["port"] == "B") * 3.0 + (CATEGORIES["deck"] == 20) * 2 + (CATEGORIES["class"] == "mid")
)
BY_CATEGORY = (BY_CATEGORY + CATEGORIES["fare"].fillna(9) / 20).to_numpy()
BY_CODE = _RANDOM.normal(size=300)[MANY_CODES[:, 4].astype(int)]


@dataclass(frozen=True)
class Trained:
    """A model, what it is asked as (`model` itself but for native boosters), and its rows."""

    model: Any
    asked: Any
    rows: Any

    @property
    def samples(self) -> Any:
        """The first half of the rows that it was trained on."""
        return self.rows[: TRAINED_ROWS // 2]

    @property
    def packed_with(self) -> Any:
        """The samples as it was trained on them: of a frame with categories, in its dtypes."""
        return self.asked.as_trained(self.samples) if isinstance(self.asked, OfFrame) else self.samples

    @property
    def trained_on(self) -> Any:
        return self.rows[:TRAINED_ROWS]

    @property
    def held_out(self) -> Any:
        return self.rows[TRAINED_ROWS:]

    @property
    def has_gaps(self) -> bool:
        return bool(pd.DataFrame(self.rows).isna().any(axis=None))


class OfFrame:
    """A model trained on a frame with categories, asked rows as requests have them: "" is a missing text."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @staticmethod
    def as_trained(rows: Any) -> Any:
        """Return rows with the dtypes of training, and the values that training did not have."""
        categories = {}
        for name, known in KNOWN.items():
            if name in rows:
                values = rows[name].where(rows[name] != "", None)
                unknown = [value for value in values.dropna().unique() if value not in known]
                kind = pd.CategoricalDtype(pd.Index([*known, *unknown]), ordered=name == "class")
                categories[name] = pd.Categorical(values.tolist(), dtype=kind)
        return rows.assign(**categories)

    def predict(self, rows: Any) -> Any:
        return self.model.predict(self.as_trained(rows))

    def predict_proba(self, rows: Any) -> Any:
        return self.model.predict_proba(self.as_trained(rows))


Case = tuple[str, Callable[[], Trained]]


def pack_and_ask(trained: Trained, folder: Path) -> tuple[Bundle, Asked]:
    """Pack a model, and ask the bundle and the framework rows that packing never saw."""
    bundle = pack(trained.model, name="m", samples=trained.packed_with, owner=OWNER, to=folder / "b")
    rows = hard_rows(trained.asked, trained.samples, gaps=trained.has_gaps)
    kinds = [("held out", trained.held_out), *rows]
    return bundle, ask(bundle, trained.asked, kinds, trained.trained_on)


def xgboost_cases() -> Iterator[Case]:
    """Return configurations of XGBoost, by name."""
    small = {"n_estimators": 20, "max_depth": 4, "random_state": 0}

    def classifier(rows: Any, target: Any, **settings: Any) -> Callable[[], Trained]:
        return lambda: _fitted(xgboost.XGBClassifier(**{**small, **settings}), rows, target)

    def regressor(rows: Any, target: Any, **settings: Any) -> Callable[[], Trained]:
        return lambda: _fitted(xgboost.XGBRegressor(**{**small, **settings}), rows, target)

    def native(objective: str, rows: Any, target: Any, **settings: Any) -> Callable[[], Trained]:
        def train() -> Trained:
            matrix = xgboost.DMatrix(rows[:TRAINED_ROWS], label=target[:TRAINED_ROWS])
            booster = xgboost.train({"objective": objective, "max_depth": 4, **settings}, matrix, 15)
            return Trained(booster, NativeXgboost(booster, booster.num_features()), rows)

        return train

    def stopped_early() -> Trained:
        model = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=3, learning_rate=0.5)
        evaluation = [(PLAIN[TRAINED_ROWS:], TWO[TRAINED_ROWS:])]
        model.fit(PLAIN[:TRAINED_ROWS], TWO[:TRAINED_ROWS], eval_set=evaluation, verbose=False)
        assert model.best_iteration < 150
        return Trained(model, model, PLAIN)

    categories = {"feature_types": ["q"] * 4 + ["c"], "enable_categorical": True}
    yield "two classes", classifier(PLAIN, TWO)
    yield "missing values", classifier(GAPS, TWO)
    yield "three classes, missing values", classifier(GAPS, THREE)
    yield "`multi:softmax`", classifier(PLAIN, THREE, objective="multi:softmax")
    yield "`binary:hinge`", classifier(PLAIN, TWO, objective="binary:hinge")
    yield "several labels", classifier(PLAIN, LABELS)
    yield "`missing=0`", classifier(ZEROS, TWO, missing=0.0)
    yield "categories as codes", classifier(CODES, THREE, max_cat_to_onehot=3, **categories)
    yield "categories, one against the rest", classifier(CODES, TWO, max_cat_to_onehot=20, **categories)
    yield "300 categories", regressor(MANY_CODES, BY_CODE, max_cat_threshold=300, **categories)
    yield "by leaves", classifier(PLAIN, TWO, grow_policy="lossguide", max_leaves=30, max_depth=0)
    yield "three trees a round", classifier(PLAIN, THREE, num_parallel_tree=3)
    yield "stopped early", stopped_early
    yield "`dart`", classifier(PLAIN, TWO, booster="dart", rate_drop=0.5)
    yield "`gblinear`", classifier(GAPS, TWO, booster="gblinear", max_depth=None)
    yield "`gblinear`, three classes", classifier(PLAIN, THREE, booster="gblinear", max_depth=None)
    yield "random forest", lambda: _fitted(xgboost.XGBRFClassifier(**small), PLAIN, THREE)
    yield "random forest, numbers", lambda: _fitted(xgboost.XGBRFRegressor(**small), PLAIN, AMOUNT)
    yield "numbers", regressor(GAPS, AMOUNT)
    yield "1,000 trees", regressor(PLAIN, AMOUNT, n_estimators=1000, max_depth=6)
    yield "two targets", regressor(PLAIN, BOTH)
    yield "two targets, a tree for both", regressor(PLAIN, BOTH, multi_strategy="multi_output_tree")
    for objective, target in (
        ("count:poisson", COUNT),
        ("reg:gamma", POSITIVE),
        ("reg:tweedie", COUNT),
        ("reg:logistic", SHARE),
        ("reg:absoluteerror", AMOUNT),
        ("reg:pseudohubererror", AMOUNT),
        ("reg:squaredlogerror", POSITIVE),
        ("survival:cox", POSITIVE),
    ):
        yield f"`{objective}`", regressor(PLAIN, target, objective=objective)
    quantiles = {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]}
    yield "three quantiles", regressor(PLAIN, AMOUNT, **quantiles)
    for objective in ("rank:ndcg", "rank:pairwise"):
        yield f"`{objective}`", lambda objective=objective: _ranked(objective)
    yield "`Booster`, two classes", native("binary:logistic", GAPS, TWO)
    yield "`Booster`, three classes", native("multi:softprob", PLAIN, THREE, num_class=3)
    yield "`Booster`, numbers", native("reg:squarederror", PLAIN, AMOUNT)
    yield "data frame", classifier(NUMBERS, TWO)
    encoding = {**small, "enable_categorical": True, "max_cat_to_onehot": 2}
    yield from _of_frames(
        xgboost.XGBClassifier(**encoding),
        xgboost.XGBRegressor(**encoding),
        lambda rows, target: xgboost.train({}, xgboost.DMatrix(rows, target, enable_categorical=True), 15),
    )
    yield from _in_scikit_learn(xgboost.XGBClassifier(**small), xgboost.XGBRegressor(**small))


def lightgbm_cases() -> Iterator[Case]:
    """Return configurations of LightGBM, by name."""
    small = {"n_estimators": 20, "num_leaves": 15, "random_state": 0, "verbose": -1}
    free = {"min_data_per_group": 1, "cat_smooth": 0, "cat_l2": 0, "min_child_samples": 1}

    def classifier(rows: Any, target: Any, **settings: Any) -> Callable[[], Trained]:
        return lambda: _fitted(lightgbm.LGBMClassifier(**{**small, **settings}), rows, target)

    def regressor(rows: Any, target: Any, **settings: Any) -> Callable[[], Trained]:
        return lambda: _fitted(lightgbm.LGBMRegressor(**{**small, **settings}), rows, target)

    def by_category(rows: Any, target: Any, kind: Any, **settings: Any) -> Callable[[], Trained]:
        model = kind(**small, **free, **settings)
        return lambda: _fitted(model, rows, target, categorical_feature=[4])

    def native(objective: Any, rows: Any, target: Any, **settings: Any) -> Callable[[], Trained]:
        def train() -> Trained:
            data = lightgbm.Dataset(rows[:TRAINED_ROWS], label=target[:TRAINED_ROWS])
            booster = lightgbm.train({"objective": objective, "verbose": -1, **settings}, data, 15)
            return Trained(booster, NativeLightgbm(booster, booster.num_feature()), rows)

        return train

    def stopped_early() -> Trained:
        model = lightgbm.LGBMClassifier(n_estimators=300, learning_rate=0.5, verbose=-1)
        stop = lightgbm.early_stopping(3, verbose=False)
        evaluation = [(PLAIN[TRAINED_ROWS:], TWO[TRAINED_ROWS:])]
        model.fit(PLAIN[:TRAINED_ROWS], TWO[:TRAINED_ROWS], eval_set=evaluation, callbacks=[stop])
        assert model.best_iteration_ < 150
        return Trained(model, model, PLAIN)

    def ranked() -> Trained:
        model = lightgbm.LGBMRanker(**small).fit(PLAIN[:TRAINED_ROWS], TWO[:TRAINED_ROWS], group=[10] * 40)
        return Trained(model, model, PLAIN)

    bagged = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    texts = np.array(["no", "yes"], dtype=object)[TWO]
    yield "two classes", classifier(PLAIN, TWO)
    yield "two classes in float32", classifier(PLAIN.astype(np.float32), TWO)
    yield "classes that are texts", classifier(PLAIN, texts)
    yield "missing values", classifier(GAPS, TWO)
    yield "three classes, missing values", classifier(GAPS, THREE)
    yield "`multiclassova`", classifier(PLAIN, THREE, objective="multiclassova")
    yield "`sigmoid=2`", classifier(PLAIN, TWO, objective="binary", sigmoid=2.0)
    yield "`zero_as_missing`", regressor(ZEROS, AMOUNT, zero_as_missing=True)
    yield (
        "`zero_as_missing`, missing values",
        classifier(np.where(np.isnan(GAPS), np.nan, ZEROS), TWO, zero_as_missing=True),
    )
    yield "`use_missing=False`", classifier(GAPS, TWO, use_missing=False)
    yield "categories as codes", by_category(CODES, THREE, lightgbm.LGBMClassifier, max_cat_to_onehot=1)
    yield (
        "categories and missing values",
        by_category(np.where(np.isnan(GAPS), np.nan, CODES), AMOUNT, lightgbm.LGBMRegressor),
    )
    yield "300 categories", by_category(MANY_CODES, BY_CODE, lightgbm.LGBMRegressor, max_cat_threshold=300)
    yield "stopped early", stopped_early
    yield "`dart`", classifier(PLAIN, TWO, boosting_type="dart")
    yield "`goss`", classifier(PLAIN, TWO, data_sample_strategy="goss")
    yield "extra trees", classifier(PLAIN, TWO, extra_trees=True)
    yield "random forest", classifier(PLAIN, THREE, **bagged)
    yield "random forest, numbers", regressor(PLAIN, AMOUNT, **bagged)
    yield "numbers", regressor(GAPS, AMOUNT)
    yield "1,000 trees", regressor(PLAIN, AMOUNT, n_estimators=1000)
    yield "`reg_sqrt`", regressor(PLAIN, AMOUNT, reg_sqrt=True)
    for objective, target in (
        ("poisson", COUNT),
        ("gamma", POSITIVE),
        ("tweedie", COUNT),
        ("quantile", AMOUNT),
        ("huber", AMOUNT),
        ("fair", AMOUNT),
        ("mape", AMOUNT),
        ("regression_l1", AMOUNT),
        ("cross_entropy", SHARE),
        ("cross_entropy_lambda", SHARE),
    ):
        yield f"`{objective}`", regressor(PLAIN, target, objective=objective)
    yield "`lambdarank`", ranked
    yield "`Booster`, two classes", native("binary", GAPS, TWO)
    yield "`Booster`, three classes", native("multiclass", PLAIN, THREE, num_class=3)
    yield "`Booster`, numbers", native("regression", PLAIN, AMOUNT)
    yield "`Booster`, an objective of one's own", native(_half_squares, PLAIN, AMOUNT)
    yield "data frame", classifier(NUMBERS, TWO)
    yield from _of_frames(
        lightgbm.LGBMClassifier(**small, **free),
        lightgbm.LGBMRegressor(**small, **free),
        lambda rows, target: lightgbm.train({"verbose": -1}, lightgbm.Dataset(rows, target), 15),
    )
    yield from _in_scikit_learn(lightgbm.LGBMClassifier(**small), lightgbm.LGBMRegressor(**small))


def _of_frames(classifier: Any, regressor: Any, train: Callable[[Any, Any], Any]) -> Iterator[Case]:
    """Return models of frames with categories; `train` makes a native booster of a frame and a target."""
    target, both = (BY_CATEGORY > 3).astype(int), ["port", "class"]
    three = np.digitize(BY_CATEGORY, [1.5, 4.0])
    whole = CATEGORIES[["fare", "deck"]].assign(deck=CATEGORIES["deck"].fillna(10).astype(int))
    search = GridSearchCV(regressor, {"learning_rate": [0.1, 0.3]}, cv=2)
    scaled = [("scale", StandardScaler(), ["fare"]), ("hot", OneHotEncoder(sparse_output=False), ["class"])]
    columns = ColumnTransformer(scaled, remainder="passthrough", verbose_feature_names_out=False)
    columns.set_output(transform="pandas")
    models = {
        "categories of a frame": (regressor, CATEGORIES, BY_CATEGORY),
        "categories of a frame, two classes": (classifier, CATEGORIES, target),
        "categories of a frame, three classes": (classifier, CATEGORIES, three),
        "categories of a frame, texts alone": (regressor, CATEGORIES[both], BY_CATEGORY),
        "categories of a frame, whole numbers": (regressor, whole, BY_CATEGORY),
        "categories of a frame, in GridSearchCV": (search, CATEGORIES, BY_CATEGORY),
        "categories of a frame, in a pipeline": (make_pipeline(classifier), CATEGORIES, target),
        "categories of a frame, through ColumnTransformer": (
            make_pipeline(columns, classifier),
            CATEGORIES,
            target,
        ),
    }
    for name, (model, rows, wanted) in models.items():
        yield name, lambda model=model, rows=rows, wanted=wanted: _fitted_to_frame(model, rows, wanted)

    def native() -> Trained:
        booster = train(OfFrame.as_trained(CATEGORIES[:TRAINED_ROWS]), BY_CATEGORY[:TRAINED_ROWS])
        estimator = NativeXgboost if isinstance(booster, xgboost.Booster) else NativeLightgbm
        return Trained(booster, OfFrame(estimator(booster)), CATEGORIES)

    yield "categories of a frame, `Booster`", native


def _fitted_to_frame(model: Any, rows: Any, target: Any) -> Trained:
    model = clone(model).fit(OfFrame.as_trained(rows[:TRAINED_ROWS]), target[:TRAINED_ROWS])
    return Trained(model, OfFrame(model), rows)


def _in_scikit_learn(classifier: Any, regressor: Any) -> Iterator[Case]:
    """Return what people put around a booster."""
    encoded = [
        ("numbers", SimpleImputer(), ["age [years]", "fare"]),
        ("port", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["port"]),
    ]
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    around = {
        "behind StandardScaler": (make_pipeline(StandardScaler(), classifier), PLAIN, TWO),
        "behind StandardScaler, missing values": (make_pipeline(StandardScaler(), regressor), GAPS, AMOUNT),
        "behind a logarithm": (
            make_pipeline(FunctionTransformer(np.log1p), classifier),
            np.abs(PLAIN),
            TWO,
        ),
        "behind ColumnTransformer": (make_pipeline(ColumnTransformer(encoded), classifier), FRAME, TWO),
        "behind OrdinalEncoder": (
            make_pipeline(
                ColumnTransformer([("port", codes, ["port"])], remainder="passthrough"), classifier
            ),
            FRAME,
            THREE,
        ),
        "in VotingClassifier": (
            VotingClassifier([("booster", classifier), ("line", LogisticRegression())], voting="soft"),
            PLAIN,
            TWO,
        ),
        "in StackingRegressor": (
            StackingRegressor([("booster", regressor), ("line", Ridge())], cv=3),
            PLAIN,
            AMOUNT,
        ),
        "in BaggingClassifier": (BaggingClassifier(classifier, n_estimators=3, random_state=0), GAPS, TWO),
        "calibrated": (CalibratedClassifierCV(classifier, cv=3), PLAIN, TWO),
        "calibrated, isotonic": (CalibratedClassifierCV(classifier, method="isotonic", cv=3), PLAIN, THREE),
        "in GridSearchCV": (GridSearchCV(classifier, {"learning_rate": [0.1, 0.3]}, cv=2), GAPS, TWO),
        "in MultiOutputRegressor": (MultiOutputRegressor(regressor), GAPS, BOTH),
        "with a transformed target": (
            TransformedTargetRegressor(regressor, func=np.log1p, inverse_func=np.expm1),
            PLAIN,
            POSITIVE,
        ),
    }
    for name, (model, rows, target) in around.items():
        yield name, lambda model=model, rows=rows, target=target: _fitted(model, rows, target)


def _fitted(model: Any, rows: Any, target: Any, **settings: Any) -> Trained:
    model = clone(model)
    model.fit(rows[:TRAINED_ROWS], target[:TRAINED_ROWS], **settings)
    return Trained(model, model, rows)


def _ranked(objective: str) -> Trained:
    model = xgboost.XGBRanker(objective=objective, n_estimators=20, random_state=0)
    model.fit(PLAIN[:TRAINED_ROWS], TWO[:TRAINED_ROWS], qid=np.repeat(np.arange(40), 10))
    return Trained(model, model, PLAIN)


def _half_squares(predictions: Any, data: Any) -> tuple[Any, Any]:
    return predictions - data.get_label(), np.ones(len(predictions))
