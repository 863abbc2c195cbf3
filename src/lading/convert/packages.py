"""The packages beside scikit-learn whose estimators become ONNX, named in one place. Imports none of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """A package of boosters: the distributions that have it, and the module that converts its models."""

    distributions: tuple[str, ...]
    converter: str


BOOSTERS = {
    "catboost": Package(("catboost",), "lading.convert.catboost"),
    "lightgbm": Package(("lightgbm",), "lading.convert.lightgbm"),
    "xgboost": Package(("xgboost", "xgboost-cpu"), "lading.convert.xgboost"),
}
"""By the top-level package of a model's class. Each converter has `open_booster` and `ADDED`."""
