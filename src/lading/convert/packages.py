"""The packages beside scikit-learn whose estimators become ONNX, named in one place. Imports none of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """A package of boosters: its name, the distributions that have it, and the module of its converter."""

    title: str
    distributions: tuple[str, ...]
    converter: str


BOOSTERS = {
    "catboost": Package("CatBoost", ("catboost",), "lading.convert.catboost"),
    "lightgbm": Package("LightGBM", ("lightgbm",), "lading.convert.lightgbm"),
    "xgboost": Package("XGBoost", ("xgboost", "xgboost-cpu"), "lading.convert.xgboost"),
}
"""By the top-level package of a model's class. Each converter has `open_booster`,
`load_booster` and `ADDED`."""
