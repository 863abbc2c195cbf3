"""CatBoost as people train it: by name, a model, and rows of which it was trained on some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import catboost
import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingRegressor, VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lading.convert.catboost import NativeCatboost
from support.booster_models import (
    AMOUNT,
    BOTH,
    BY_CATEGORY,
    CATEGORIES,
    COUNT,
    FRAME,
    GAPS,
    LABELS,
    NUMBERS,
    PLAIN,
    POSITIVE,
    SHARE,
    THREE,
    TRAINED_ROWS,
    TWO,
    Case,
    Trained,
)

_SMALL = {"iterations": 20, "depth": 4, "random_seed": 0, "verbose": 0, "allow_writing_files": False}
# CatBoost takes no missing category, and whole numbers only if they are integers.
TEXTS = CATEGORIES.assign(deck=CATEGORIES["deck"].fillna(0).astype(int))


def catboost_cases() -> Iterator[Case]:
    """Return configurations of CatBoost, by name."""

    def classifier(rows: Any, target: Any, **settings: Any) -> Callable[[], Trained]:
        return lambda: _fitted(catboost.CatBoostClassifier(**{**_SMALL, **settings}), rows, target)

    def regressor(rows: Any, target: Any, **settings: Any) -> Callable[[], Trained]:
        return lambda: _fitted(catboost.CatBoostRegressor(**{**_SMALL, **settings}), rows, target)

    def native(loss: str, rows: Any, target: Any) -> Callable[[], Trained]:
        def train() -> Trained:
            pool = catboost.Pool(rows[:TRAINED_ROWS], target[:TRAINED_ROWS])
            model = catboost.train(pool, {**_SMALL, "loss_function": loss})
            return Trained(model, NativeCatboost(model), rows)

        return train

    def stopped_early() -> Trained:
        model = catboost.CatBoostClassifier(**{**_SMALL, "iterations": 300, "learning_rate": 0.5})
        evaluation = (PLAIN[TRAINED_ROWS:], TWO[TRAINED_ROWS:])
        model.fit(PLAIN[:TRAINED_ROWS], TWO[:TRAINED_ROWS], eval_set=evaluation, early_stopping_rounds=3)
        assert model.tree_count_ < 150
        return Trained(model, model, PLAIN)

    def with_threshold() -> Trained:
        trained = classifier(PLAIN, TWO)()
        trained.model.set_probability_threshold(0.8)
        return trained

    def ranked(loss: str) -> Trained:
        model = catboost.CatBoostRanker(**_SMALL, loss_function=loss)
        groups = np.repeat(np.arange(TRAINED_ROWS // 10), 10)
        model.fit(PLAIN[:TRAINED_ROWS], TWO[:TRAINED_ROWS], group_id=groups)
        return Trained(model, model, PLAIN)

    names = np.array(["no", "예", "maybe"], dtype=object)
    hot = {"cat_features": ["port", "deck", "class"], "one_hot_max_size": 10}
    yield "two classes", classifier(PLAIN, TWO)
    yield "classes that are texts", classifier(PLAIN, names[TWO])
    yield "classes that are booleans", classifier(PLAIN, TWO.astype(bool))
    yield "missing values", classifier(GAPS, TWO)
    yield "missing values, `nan_mode=Max`", classifier(GAPS, TWO, nan_mode="Max")
    yield "`nan_mode=Forbidden`", classifier(PLAIN, TWO, nan_mode="Forbidden")
    yield "three classes, missing values", classifier(GAPS, THREE)
    yield "three classes that are texts", classifier(PLAIN, names[THREE])
    yield "`MultiClassOneVsAll`", classifier(PLAIN, THREE, loss_function="MultiClassOneVsAll")
    yield "`MultiLogloss`, several labels", classifier(PLAIN, LABELS, loss_function="MultiLogloss")
    yield "`CrossEntropy`", classifier(PLAIN, SHARE, loss_function="CrossEntropy")
    yield "a threshold of 0.8", with_threshold
    yield "stopped early", stopped_early
    for policy in ("Depthwise", "Lossguide"):
        yield f"`{policy}`, two classes", classifier(GAPS, TWO, grow_policy=policy)
        yield f"`{policy}`, three classes", classifier(PLAIN, THREE, grow_policy=policy)
        yield f"`{policy}`, numbers", regressor(GAPS, AMOUNT, grow_policy=policy)
    yield "one-hot categories", regressor(TEXTS, BY_CATEGORY, **hot)
    yield "one-hot categories, two classes", classifier(TEXTS, (BY_CATEGORY > 3).astype(int), **hot)
    yield (
        "one-hot categories, `Depthwise`",
        regressor(TEXTS, BY_CATEGORY, grow_policy="Depthwise", **hot),
    )
    yield "numbers", regressor(GAPS, AMOUNT)
    yield "1,000 trees of depth 6", regressor(PLAIN, AMOUNT, iterations=1000, depth=6)
    yield "two targets", regressor(PLAIN, BOTH, loss_function="MultiRMSE")
    yield (
        "three quantiles",
        regressor(PLAIN, AMOUNT, loss_function="MultiQuantile:alpha=0.1,0.5,0.9"),
    )
    for loss, target in (
        ("MAE", AMOUNT),
        ("Quantile:alpha=0.9", AMOUNT),
        ("Huber:delta=1", AMOUNT),
        ("MAPE", POSITIVE),
        ("LogCosh", AMOUNT),
        ("Poisson", COUNT),
        ("Tweedie:variance_power=1.5", COUNT),
        ("RMSEWithUncertainty", AMOUNT),
        ("Cox", POSITIVE),
    ):
        yield f"`{loss.partition(':')[0]}`", regressor(PLAIN, target, loss_function=loss)
    for loss in ("YetiRank", "QueryRMSE", "PairLogit"):
        yield f"`{loss}`", lambda loss=loss: ranked(loss)
    yield "`CatBoost`, two classes", native("Logloss", GAPS, TWO)
    yield "`CatBoost`, three classes", native("MultiClass", PLAIN, THREE)
    yield "`CatBoost`, numbers", native("RMSE", PLAIN, AMOUNT)
    yield "data frame", classifier(NUMBERS, TWO)
    yield from _in_scikit_learn()


def _in_scikit_learn() -> Iterator[Case]:
    classifier, regressor = catboost.CatBoostClassifier(**_SMALL), catboost.CatBoostRegressor(**_SMALL)
    encoded = [
        ("numbers", "passthrough", ["age [years]", "fare"]),
        ("port", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["port"]),
    ]
    line = LogisticRegression()
    around = {
        "behind StandardScaler": (make_pipeline(StandardScaler(), classifier), PLAIN, TWO),
        "behind StandardScaler, three classes": (make_pipeline(StandardScaler(), classifier), GAPS, THREE),
        "behind ColumnTransformer": (make_pipeline(ColumnTransformer(encoded), classifier), FRAME, TWO),
        "in VotingClassifier": (
            VotingClassifier([("booster", classifier), ("line", line)], voting="soft"),
            PLAIN,
            TWO,
        ),
        "in StackingRegressor": (
            StackingRegressor([("booster", regressor), ("line", Ridge())], cv=3),
            PLAIN,
            AMOUNT,
        ),
        "calibrated": (CalibratedClassifierCV(classifier, cv=3), PLAIN, TWO),
        "in GridSearchCV": (GridSearchCV(classifier, {"learning_rate": [0.1, 0.3]}, cv=2), GAPS, THREE),
        "in MultiOutputRegressor": (MultiOutputRegressor(regressor), GAPS, BOTH),
    }
    for name, (model, rows, target) in around.items():
        yield name, lambda model=model, rows=rows, target=target: _fitted(model, rows, target)


class AsServed:
    """A model asked as a server is: one label a row, where CatBoost gives a column of them, and 3.0 is 3."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(self, rows: Any) -> Any:
        label = np.asarray(self._model.predict(_with_integers(rows)))
        return label.ravel() if label.shape[1:] == (1,) else label

    def predict_proba(self, rows: Any) -> Any:
        return self._model.predict_proba(_with_integers(rows))


def _with_integers(rows: Any) -> Any:
    """Return rows whose column of whole numbers has integers: CatBoost takes no other categories."""
    deck = rows["deck"] if "deck" in getattr(rows, "columns", ()) else None
    if deck is None or deck.dtype.kind != "f" or (deck % 1 != 0).any() or (deck.abs() > 2**53).any():
        return rows
    return rows.assign(deck=deck.astype(int))


def _fitted(model: Any, rows: Any, target: Any) -> Trained:
    model.fit(rows[:TRAINED_ROWS], target[:TRAINED_ROWS])
    return Trained(model, AsServed(model), rows)
