"""Pipelines as people write them, fitted on a table of numbers with gaps, categories, dates and texts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC

from support.sklearn_survey import Outcome, SmallTable, pack_and_ask

NUMBERS = ["age", "fare", "income"]
TEXTS = ["port", "deck"]
_ROWS = 240


def passengers(*, gaps: bool, texts: bool) -> SmallTable:
    """Draw passengers: numbers with gaps, a rare category, a date that no pipeline uses, and remarks."""
    random = np.random.default_rng(5)
    words = np.array(["late", "window", "child", "vegan", "upgrade", "bag", "dog"], dtype=object)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 80, _ROWS).astype(np.float64),
            "fare": random.gamma(2, 20, _ROWS).round(2),
            "income": np.exp(random.normal(8, 1, _ROWS)).round(-1),
            "port": random.choice(["S", "C", "Q", "Z"], _ROWS, p=[0.5, 0.3, 0.18, 0.02]),
            "deck": random.choice(["upper", "lower"], _ROWS),
        }
    )
    target = ((frame["age"] < 40) ^ (frame["deck"] == "upper")).to_numpy().astype(int)
    target[random.random(_ROWS) < 0.1] ^= 1
    if gaps:
        frame.loc[random.random(_ROWS) < 0.2, "age"] = np.nan
        frame.loc[random.random(_ROWS) < 0.1, "fare"] = np.nan
    if texts:
        frame["remark"] = [" ".join(words[random.integers(0, 7, 4)]) for _ in range(_ROWS)]
    here, there = frame[:180], frame[180:]
    title = "passengers" + (", gaps" if gaps else "") + (", remarks" if texts else "")
    return SmallTable(title, here, target[:180], there, here)


def amounts(table: SmallTable) -> Any:
    """Return an amount for each row in place of a class."""
    return np.exp(3 + table.target + np.arange(len(table.target)) % 7 / 5)


def columns(numbers: Any, texts: Any, **parameters: Any) -> ColumnTransformer:
    """Return a ColumnTransformer of both kinds of columns; dates and remarks are dropped."""
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)], **parameters)


def pipelines() -> Iterator[tuple[str, Any, SmallTable, bool]]:
    """Return (title, pipeline, table, whether it predicts amounts), not fitted."""
    full, gaps = passengers(gaps=False, texts=False), passengers(gaps=True, texts=False)
    one_hot = OneHotEncoder(handle_unknown="ignore")
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    flagged = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    mixed = columns(scaled, one_hot)
    final = {
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "RandomForestClassifier": RandomForestClassifier(30, random_state=0),
        "HistGradientBoostingClassifier": HistGradientBoostingClassifier(max_iter=20, random_state=0),
        "AdaBoostClassifier": AdaBoostClassifier(n_estimators=20, random_state=0),
        "ExtraTreesClassifier": ExtraTreesClassifier(20, random_state=0),
        "SVC": SVC(),
    }
    for name, model in final.items():
        yield f"imputer, scaler, one-hot → {name}", make_pipeline(mixed, model), gaps, False
    for name in ("LogisticRegression", "RandomForestClassifier"):
        title = f"imputer with add_indicator, one-hot → {name}"
        yield title, make_pipeline(columns(flagged, one_hot), final[name]), gaps, False
    yield from _of_other_steps(full, gaps, final)
    yield from _around_others(full, gaps, mixed, final)
    yield from _of_amounts(full, gaps, mixed)


def _of_other_steps(
    full: SmallTable, gaps: SmallTable, final: dict[str, Any]
) -> Iterator[tuple[str, Any, SmallTable, bool]]:
    line, forest, boosted = (
        final[name]
        for name in ("LogisticRegression", "RandomForestClassifier", "HistGradientBoostingClassifier")
    )
    one_hot = OneHotEncoder(handle_unknown="ignore")
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    rare = OneHotEncoder(min_frequency=0.05, handle_unknown="infrequent_if_exist")
    dropped = OneHotEncoder(drop="first", handle_unknown="ignore")
    logs = FunctionTransformer(np.log1p)
    steps = {
        "RobustScaler, one-hot → forest": (columns(RobustScaler(), one_hot), forest, full),
        "MinMaxScaler, OneHotEncoder(drop) → line": (columns(MinMaxScaler(), dropped), line, full),
        "OneHotEncoder(min_frequency) → line": (columns(StandardScaler(), rare), line, full),
        "OrdinalEncoder → forest": (columns("passthrough", ordinal), forest, full),
        "OrdinalEncoder, gaps → histogram boosting": (columns("passthrough", ordinal), boosted, gaps),
        "TargetEncoder → line": (columns(StandardScaler(), TargetEncoder(random_state=0)), line, full),
        "log1p, scaler, one-hot → line": (
            columns(make_pipeline(logs, StandardScaler()), one_hot),
            line,
            full,
        ),
        "PowerTransformer, one-hot → line": (columns(PowerTransformer(), one_hot), line, full),
        "QuantileTransformer, one-hot → line": (
            columns(QuantileTransformer(n_quantiles=50), one_hot),
            line,
            full,
        ),
        "KBinsDiscretizer, one-hot → line": (
            columns(KBinsDiscretizer(4, encode="onehot-dense"), one_hot),
            line,
            full,
        ),
        "SplineTransformer, one-hot → line": (columns(SplineTransformer(), one_hot), line, full),
        "KNNImputer, scaler, one-hot → line": (
            columns(make_pipeline(KNNImputer(), StandardScaler()), one_hot),
            line,
            gaps,
        ),
    }
    for title, (first, model, table) in steps.items():
        yield title, make_pipeline(first, model), table, False
    numbers = make_pipeline(SimpleImputer(), StandardScaler(), PolynomialFeatures(2), SelectKBest(k=5))
    selected = ColumnTransformer([("numbers", numbers, make_column_selector(dtype_include="number"))])
    yield "selector, polynomials, SelectKBest → line", make_pipeline(selected, line), gaps, False
    remarks = passengers(gaps=True, texts=True)
    three = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
            ("texts", one_hot, TEXTS),
            ("remark", TfidfVectorizer(), "remark"),
        ]
    )
    yield "numbers, categories, TF-IDF → line", make_pipeline(three, line), remarks, False


def _around_others(
    full: SmallTable, gaps: SmallTable, mixed: Any, final: dict[str, Any]
) -> Iterator[tuple[str, Any, SmallTable, bool]]:
    line, forest = final["LogisticRegression"], final["RandomForestClassifier"]
    pipeline = make_pipeline(mixed, line)
    yield "TunedThresholdClassifierCV of a pipeline", TunedThresholdClassifierCV(pipeline, cv=3), gaps, False
    isotonic = CalibratedClassifierCV(make_pipeline(mixed, forest), method="isotonic", cv=3)
    yield "isotonic calibration of a pipeline with a forest", isotonic, gaps, False
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=3)
    yield "GridSearchCV of a pipeline", search, gaps, False
    members = [("line", line), ("forest", forest)]
    vote = VotingClassifier(members, voting="soft")
    yield "VotingClassifier(soft) behind columns", make_pipeline(mixed, vote), gaps, False
    stack = StackingClassifier(members, final_estimator=LogisticRegression(), cv=3)
    yield "StackingClassifier behind columns", make_pipeline(mixed, stack), full, False


def _of_amounts(
    full: SmallTable, gaps: SmallTable, mixed: Any
) -> Iterator[tuple[str, Any, SmallTable, bool]]:
    regressors = {
        "Ridge": Ridge(),
        "RandomForestRegressor": RandomForestRegressor(20, random_state=0),
        "GradientBoostingRegressor": GradientBoostingRegressor(n_estimators=20, random_state=0),
        "HistGradientBoostingRegressor": HistGradientBoostingRegressor(max_iter=20, random_state=0),
    }
    for name, model in regressors.items():
        yield f"imputer, scaler, one-hot → {name}", make_pipeline(mixed, model), gaps, True
    logarithm = TransformedTargetRegressor(
        make_pipeline(mixed, Ridge()), func=np.log1p, inverse_func=np.expm1
    )
    yield "TransformedTargetRegressor(log1p) of a pipeline", logarithm, full, True


def survey_pipeline(case: tuple[str, Any, SmallTable, bool], folder: Path) -> Outcome:
    """Fit, pack and ask one of `pipelines`."""
    title, model, table, of_amounts = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small data and fits that do not converge are meant
        model = clone(model).fit(table.rows, amounts(table) if of_amounts else table.target)
    return pack_and_ask(title, "pipeline", model, table, folder)
