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
from typing import TYPE_CHECKING, Any

from lading.convert import TrainedModel
from lading.convert.onnx_file import OnnxFile
from lading.convert.onnx_inputs import BatchAxis
from lading.convert.packages import BOOSTERS
from lading.convert.quiet import quiet
from lading.convert.torch_sizes import OpenAxes
from lading.errors import ConverterMissing, InvalidSetting, missing_extra

if TYPE_CHECKING:
    from lading.convert.transformers import TextModel


def open_model(
    model: Any,
    batch_axis: BatchAxis | None = None,
    open_axes: OpenAxes | None = None,
    *,
    labelled: bool = False,
) -> TrainedModel:
    """Return `model` with its converter: a model, or the path of an ``.onnx`` file or of a saved one.

    `batch_axis` is for tensors whose rows are not where they seem to be, `open_axes` for those of a module
    that have other open sizes, ``labelled`` for one whose classes have names. Raises `ConverterMissing`,
    `ConverterFailed`, `InvalidSetting`, `ExtraMissing` (the framework is installed, its exporter is not).
    """
    framework = framework_of(model)
    if open_axes and framework != "torch":
        raise InvalidSetting("`open_axes`", expected="a model of PyTorch", found="another model")
    if framework == "torch":
        return _open_torch(model, batch_axis or {}, open_axes or {}, labelled=labelled)
    if isinstance(model, str | Path) and framework is None:
        return OnnxFile(Path(model), batch_axis or {})
    if batch_axis:
        expected = "the path of an `.onnx` file, or a model of PyTorch"
        raise InvalidSetting("`batch_axis`", expected=expected, found="another model")
    if framework is not None:
        try:
            return _CONVERTERS[framework](model)
        except ImportError as error:
            # The backend of Keras is no part of its extra.
            needed = "tensorflow" if error.name == "tensorflow" else framework
            raise missing_extra(*_EXTRAS.get(needed, ("skl2onnx", "pack")), error) from None
    kind = model if isinstance(model, type) else type(model)
    raise ConverterMissing(
        f"`{kind.__qualname__}`",
        expected="a model of scikit-learn, XGBoost, LightGBM, CatBoost, PyTorch, Keras or TensorFlow, or the"
        " path of an `.onnx`, `.pt2` or `.keras` file or of a SavedModel",
        found=f"{'the class ' if kind is model else ''}`{kind.__module__}.{kind.__qualname__}`",
        hint=_HINT_OF_CODE
        if hasattr(model, "predict") and kind is not model
        else "export the model to ONNX with its own framework, and pack that file",
    )


def is_of_texts(model: Any) -> bool:
    """Return whether `model` has its own tokenizer: a pipeline of transformers, or the folder of both."""
    if isinstance(model, str | Path):
        # Without the tokenizer it is refused, with what is missing.
        return (Path(model) / "config.json").is_file() and _framework_of_path(Path(model)) is None
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(model).__mro__}
    return ("transformers", "Pipeline") in kinds


def open_texts(
    model: Any, tokenizer: Any, pooling: Any = None, *, normalize: bool = False, labelled: bool = False
) -> TextModel:
    """Return `model` of transformers with its tokenizer; one that `is_of_texts` needs no other.

    Raises `ConverterFailed`, `InvalidSetting`, `ExtraMissing`.
    """
    try:
        from lading.convert import transformers, transformers_folder
    except ImportError as error:
        raise missing_extra("a model with its tokenizer", "transformers", error) from None
    if isinstance(model, str | Path):
        sentences = transformers_folder.read_sentences(Path(model))
        model, own = transformers_folder.load_folder(Path(model))
        own.model_max_length = min(own.model_max_length, sentences.most_tokens or own.model_max_length)
        tokenizer = tokenizer or own
        pooling, normalize = pooling or sentences.pooling, normalize or sentences.normalize
    return transformers.open_texts(model, tokenizer, pooling, normalize=normalize, labelled=labelled)


_HINT_OF_CODE = (
    '`--runtime python` (`runtime="python"`) packs it as it is, with its class and an environment of its own'
)


def framework_of(model: Any) -> str | None:
    """Return the package of the framework that `model` is of, or None if no converter knows it."""
    if isinstance(model, str | Path):
        return _framework_of_path(Path(model))
    if isinstance(model, Mapping):  # a state_dict
        return "torch" if "torch" in map(framework_of, model.values()) else None
    # The most derived class decides: a class of another framework may derive from one of scikit-learn's.
    packages = (kind.__module__.partition(".")[0] for kind in type(model).__mro__)
    return next((package for package in packages if package in _CONVERTERS or package == "torch"), None)


def _open_torch(model: Any, batch_axis: BatchAxis, open_axes: OpenAxes, *, labelled: bool) -> TrainedModel:
    try:
        from lading.convert.torch import open_torch
    except ImportError as error:
        raise missing_extra("a model of PyTorch", "torch", error) from None
    return open_torch(model, batch_axis, open_axes, labelled=labelled)


def _framework_of_path(path: Path) -> str | None:
    by_suffix = {".keras": "keras", ".pt2": "torch"}
    if path.suffix in by_suffix:
        return by_suffix[path.suffix]
    return "tensorflow" if (path / "saved_model.pb").is_file() else None


def _open_sklearn(model: Any) -> TrainedModel:
    from lading.convert.sklearn import SklearnModel

    return SklearnModel(model)


def _open_booster(package: str, model: Any) -> TrainedModel:
    opened: TrainedModel = importlib.import_module(BOOSTERS[package].converter).open_booster(model)
    return opened


def _open_keras(model: Any) -> TrainedModel:
    with quiet():  # TensorFlow's C++ logs while it is imported
        from lading.convert.keras import open_keras, open_keras_file

    return open_keras_file(Path(model)) if isinstance(model, str | Path) else open_keras(model)


def _open_tensorflow(model: Any) -> TrainedModel:
    with quiet():
        from lading.convert.tensorflow import open_saved_model, open_tensorflow

    return open_saved_model(Path(model)) if isinstance(model, str | Path) else open_tensorflow(model)


# By the top-level package of the model's class.
_CONVERTERS: dict[str, Callable[[Any], TrainedModel]] = {
    "sklearn": _open_sklearn,
    **{package: partial(_open_booster, package) for package in BOOSTERS},
    "keras": _open_keras,
    "tensorflow": _open_tensorflow,
}
# What a framework needs beside itself, and the extra that brings it; the others need skl2onnx.
_EXTRAS = {"keras": ("Keras", "keras"), "tensorflow": ("TensorFlow", "tensorflow")}
