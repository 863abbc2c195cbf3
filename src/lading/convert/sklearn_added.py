"""Estimators that skl2onnx does not know or does not convert rightly, made known to it while it converts.

skl2onnx looks estimators up in tables of its process, also those inside of others. They are changed under a
lock for one conversion and then as they were.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from skl2onnx import _parse, _supported_operators
from skl2onnx.common import _registration
from skl2onnx.common.data_types import Int64TensorType, StringTensorType, guess_tensor_type
from sklearn import calibration, compose, dummy, model_selection, preprocessing
from sklearn.isotonic import IsotonicRegression

from lading.convert import sklearn_curves, sklearn_functions, sklearn_meta

Width = Callable[[Any], int | None]
_LOCK = threading.RLock()
_CLASSIFIER_OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
    "raw_scores": [True, False],
}


@dataclass(frozen=True)
class Added:
    """How an estimator is converted: its outputs in order, and how wide the last one is (None: not known)."""

    convert: Callable[[Any, Any, Any], None]
    outputs: tuple[str, ...]
    width: Width = field(default=lambda _: None)


def _classes(model: Any) -> int | None:
    return None if isinstance(model.classes_, list) else len(model.classes_)


def _features(model: Any) -> int | None:
    try:
        return len(model.get_feature_names_out())
    except (AttributeError, ValueError):
        return getattr(model, "n_features_in_", None)


_CLASSIFIER = ("label", "probabilities")

ADDED: dict[type, Added] = {
    calibration.CalibratedClassifierCV: Added(sklearn_meta.convert_calibrated, _CLASSIFIER, _classes),
    compose.TransformedTargetRegressor: Added(sklearn_meta.convert_transformed_target, ("value",)),
    dummy.DummyClassifier: Added(sklearn_meta.convert_dummy_classifier, _CLASSIFIER, _classes),
    dummy.DummyRegressor: Added(sklearn_meta.convert_dummy_regressor, ("value",)),
    model_selection.FixedThresholdClassifier: Added(sklearn_meta.convert_threshold, _CLASSIFIER, _classes),
    model_selection.TunedThresholdClassifierCV: Added(sklearn_meta.convert_threshold, _CLASSIFIER, _classes),
    preprocessing.FunctionTransformer: Added(sklearn_functions.convert_function, ("features",), _features),
    preprocessing.SplineTransformer: Added(sklearn_curves.convert_spline, ("features",), _features),
    IsotonicRegression: Added(sklearn_curves.convert_isotonic, ("value",), lambda _: 1),
}


@contextlib.contextmanager
def added_converters() -> Iterator[None]:
    """Make `ADDED` known to skl2onnx, and its tables as they were afterwards."""
    tables = (
        _supported_operators.sklearn_operator_name_map,
        _registration._converter_pool,  # noqa: SLF001  # the public call can add, but not restore
        _registration._shape_calculator_pool,  # noqa: SLF001
        _parse.sklearn_parsers_map,
    )
    with _LOCK:
        before = [dict(table) for table in tables]
        names, converters, shapes, parsers = tables
        for kind, added in ADDED.items():
            alias = f"Lading{kind.__name__}"
            options = _CLASSIFIER_OPTIONS if added.outputs[0] == "label" else None
            names[kind] = alias
            converters[alias] = _registration.RegisteredConverter(added.convert, options)
            shapes[alias] = _shapes
            parsers[kind] = _parse_added
        try:
            yield
        finally:
            for table, content in zip(tables, before, strict=True):
                table.clear()
                table.update(content)


def _parse_added(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:  # noqa: ARG001
    """Declare the outputs of an added estimator."""
    operator = scope.declare_local_operator(f"Lading{type(model).__name__}", model)
    operator.inputs = inputs
    for name in ADDED[type(model)].outputs:
        kind = Int64TensorType() if name == "label" else _number_type(model, inputs[0].type)
        operator.outputs.append(scope.declare_local_variable(name, kind))
    return operator.outputs


def _shapes(operator: Any) -> None:
    """Say the types and shapes of an added estimator's outputs."""
    model, first = operator.raw_operator, operator.inputs[0]
    rows = first.get_first_dimension()
    for name, output in zip(ADDED[type(model)].outputs, operator.outputs, strict=False):
        if name == "label":
            texts = np.asarray(getattr(model, "classes_", [0])).dtype.kind in "OUS"
            output.set_type((StringTensorType if texts else Int64TensorType)([rows]))
        else:
            width = ADDED[type(model)].width(model)
            output.set_type(type(_number_type(model, first.type))([rows, width]))


def _number_type(model: Any, kind: Any) -> Any:
    """Return the type of an output: that of the input, and float32 of whole numbers and texts."""
    identity = isinstance(model, preprocessing.FunctionTransformer) and model.func is None
    return type(kind)() if identity else guess_tensor_type(kind)
