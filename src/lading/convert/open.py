"""Chooses the converter of a model by the model's type. Imports no framework but the model's own.

A converter's file imports its framework at its top, so it is imported here only once a model of that
framework is at hand. A new framework is a line in `_CONVERTERS` and a function that imports its
file; one of boosters is a line in `packages`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lading.convert import TrainedModel
from lading.convert.onnx_file import OnnxFile
from lading.convert.onnx_inputs import BatchAxis
from lading.convert.packages import BOOSTERS
from lading.convert.torch_sizes import OpenAxes
from lading.errors import ConverterMissing, InvalidSetting, missing_extra


def open_model(
    model: Any,
    batch_axis: BatchAxis | None = None,
    open_axes: OpenAxes | None = None,
    *,
    labelled: bool = False,
) -> TrainedModel:
    """Return `model` with its converter: an estimator, a module, or the path of a file.

    `batch_axis` is for tensors whose rows are not where they seem to be, `open_axes` for those of a module
    that have other open sizes, ``labelled`` for one whose classes have names. Raises `ConverterMissing`,
    `ConverterFailed`, `InvalidSetting`, `ExtraMissing` (the framework is installed, its exporter is not).
    """
    framework = _framework(model)
    if open_axes and framework != "torch":
        raise InvalidSetting("`open_axes`", expected="a model of PyTorch", found="another model")
    if framework == "torch":
        return _open_torch(model, batch_axis or {}, open_axes or {}, labelled=labelled)
    if isinstance(model, str | Path):
        return OnnxFile(Path(model), batch_axis or {})
    if batch_axis:
        expected = "the path of an `.onnx` file, or a model of PyTorch"
        raise InvalidSetting("`batch_axis`", expected=expected, found="another model")
    if framework is not None:
        try:
            return _CONVERTERS[framework](model)
        except ImportError as error:
            raise missing_extra("skl2onnx", "pack", error) from None
    kind = model if isinstance(model, type) else type(model)
    raise ConverterMissing(
        f"`{kind.__qualname__}`",
        expected="a model of scikit-learn, XGBoost, LightGBM, CatBoost or PyTorch, or the path of a file",
        found=f"{'the class ' if kind is model else ''}`{kind.__module__}.{kind.__qualname__}`",
        hint="export the model to ONNX with its own framework, and pack that file",
    )


def framework_of(model: Any) -> str | None:
    """Return the package of the framework that `model` is of, or None if no converter knows it."""
    # The most derived class decides: a class of another framework may derive from one of scikit-learn's.
    packages = (kind.__module__.partition(".")[0] for kind in type(model).__mro__)
    return next((package for package in packages if package in _CONVERTERS or package == "torch"), None)


def _framework(model: Any) -> str | None:
    if isinstance(model, str | Path):
        return "torch" if Path(model).suffix == ".pt2" else None
    if isinstance(model, Mapping):  # a state_dict
        return "torch" if "torch" in map(framework_of, model.values()) else None
    return framework_of(model)


def _open_torch(model: Any, batch_axis: BatchAxis, open_axes: OpenAxes, *, labelled: bool) -> TrainedModel:
    try:
        from lading.convert.torch import open_torch
    except ImportError as error:
        raise missing_extra("a model of PyTorch", "torch", error) from None
    return open_torch(model, batch_axis, open_axes, labelled=labelled)


def _open_sklearn(model: Any) -> TrainedModel:
    from lading.convert.sklearn import SklearnModel

    return SklearnModel(model)


def _open_booster(package: str, model: Any) -> TrainedModel:
    opened: TrainedModel = importlib.import_module(BOOSTERS[package].converter).open_booster(model)
    return opened


# By the top-level package of the model's class.
_CONVERTERS: dict[str, Callable[[Any], TrainedModel]] = {
    "sklearn": _open_sklearn,
    **{package: partial(_open_booster, package) for package in BOOSTERS},
}
