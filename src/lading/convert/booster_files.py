"""Models in files that XGBoost, LightGBM or CatBoost saved: recognised by content, read by the framework.

Such files hold numbers and names, and reading one runs no code of its own.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from lading.convert.packages import BOOSTERS
from lading.errors import ConverterFailed, ConverterMissing, missing_extra, one_line

SUFFIXES = (".cbm", ".json", ".txt", ".ubj")
_HEAD_BYTES = 256


def load_booster_file(path: Path) -> Any:
    """Return the model in a file; raises `ConverterFailed`, `ConverterMissing`, `ExtraMissing`."""
    package = _package_of(path)
    known = BOOSTERS[package]
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ConverterMissing(
            f"`{path}`",
            expected=f"{known.title}, which reads the file",
            found=one_line(error),
            hint=f"`pip install {known.distributions[0]}` where models are packed; a server does not need it",
        ) from None
    try:
        converter = importlib.import_module(known.converter)
    except ImportError as error:
        raise missing_extra("skl2onnx", "pack", error) from None
    try:
        return converter.load_booster(path)
    except Exception as error:  # each framework raises errors of its own
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ConverterFailed(
            f"`{path}`", expected=f"a file that {known.title} reads", found=reason
        ) from error


def _package_of(path: Path) -> str:
    """Return the package that saved a file."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"CBM1"):
        return "catboost"
    if head.split(maxsplit=1)[:1] == [b"tree"]:
        return "lightgbm"
    if head.startswith(b"{L\0") and b"learner" in head:  # XGBoost's UBJSON
        return "xgboost"
    if head.lstrip().startswith(b"{"):
        keys = _keys(path)
        if "learner" in keys:
            return "xgboost"
        if {"features_info", "scale_and_bias"} <= keys:
            return "catboost"
    raise ConverterFailed(
        f"`{path}`",
        expected="a model that XGBoost (.ubj, .json), LightGBM (.txt) or CatBoost (.cbm, .json) saved",
        found="another file",
        hint="save it with `save_model` of the framework, or name the object as module:object",
    )


def _keys(path: Path) -> set[str]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return set()
    return set(content) if isinstance(content, dict) else set()
