"""Estimators that skl2onnx does not know or does not convert rightly, made known to it while it converts.

skl2onnx looks estimators up in tables of its process, also those inside of others. They are changed under a
lock for one conversion and then as they were.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from skl2onnx import _parse, _supported_operators
from skl2onnx.common import _registration
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
    guess_tensor_type,
)
from sklearn import (
    calibration,
    cluster,
    compose,
    covariance,
    cross_decomposition,
    decomposition,
    dummy,
    ensemble,
    feature_extraction,
    impute,
    kernel_approximation,
    model_selection,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    semi_supervised,
    tree,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # until it is imported, there is none
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_ridge import KernelRidge

from lading.convert import (
    sklearn_curves,
    sklearn_functions,
    sklearn_imputers,
    sklearn_kernels,
    sklearn_learned_imputers,
    sklearn_matrices,
    sklearn_meta,
    sklearn_powers,
)
from lading.convert.column_nodes import float_kind, tensor_type
from lading.convert.frame_codes import FrameCategories, FrameCodes, codes_shape, convert_codes
from lading.convert.packages import BOOSTERS
from lading.convert.sklearn_encoders import convert_encoder, encoder_shape
from lading.convert.sklearn_guards import FiniteGuards
from lading.signature import USUAL_BOUND

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
    """How an estimator is converted: its outputs in order, and how wide the last one is (None: not known).

    ``shapes`` says their types and shapes where those are not as usual, ``categories`` what a booster knows
    of the columns of a data frame.
    """

    convert: Callable[[Any, Any, Any], None]
    outputs: tuple[str, ...]
    width: Width = field(default=lambda _: None)
    shapes: Callable[[Any], None] | None = None
    categories: Callable[[Any], FrameCategories | None] | None = None


def class_count(model: Any) -> int | None:
    """Return how many classes a classifier has; None for one of several targets."""
    return None if isinstance(model.classes_, list) else len(model.classes_)


def _features(model: Any) -> int | None:
    try:
        return len(model.get_feature_names_out())
    except (AttributeError, ValueError):
        return getattr(model, "n_features_in_", None)


_CLASSIFIER = ("label", "probabilities")
_CATEGORICAL = (preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder, preprocessing.TargetEncoder)
_ENCODER = Added(convert_encoder, ("features",), shapes=encoder_shape)
_BOOSTING = (ensemble.AdaBoostClassifier, ensemble.AdaBoostRegressor)
_TREES = (tree.DecisionTreeClassifier, tree.DecisionTreeRegressor)

ADDED: dict[type, Added] = {
    calibration.CalibratedClassifierCV: Added(sklearn_meta.convert_calibrated, _CLASSIFIER, class_count),
    compose.TransformedTargetRegressor: Added(sklearn_meta.convert_transformed_target, ("value",)),
    dummy.DummyClassifier: Added(sklearn_meta.convert_dummy_classifier, _CLASSIFIER, class_count),
    dummy.DummyRegressor: Added(sklearn_meta.convert_dummy_regressor, ("value",)),
    model_selection.FixedThresholdClassifier: Added(sklearn_meta.convert_threshold, _CLASSIFIER, class_count),
    model_selection.TunedThresholdClassifierCV: Added(
        sklearn_meta.convert_threshold, _CLASSIFIER, class_count
    ),
    preprocessing.FunctionTransformer: Added(sklearn_functions.convert_function, ("features",), _features),
    preprocessing.SplineTransformer: Added(sklearn_curves.convert_spline, ("features",), _features),
    impute.MissingIndicator: Added(
        sklearn_imputers.convert_missing_indicator,
        ("features",),
        shapes=sklearn_imputers.missing_indicator_shape,
    ),
    impute.IterativeImputer: Added(
        sklearn_learned_imputers.convert_iterative_imputer,
        ("features",),
        shapes=sklearn_learned_imputers.learned_imputer_shape,
    ),
    impute.KNNImputer: Added(
        sklearn_learned_imputers.convert_knn_imputer,
        ("features",),
        shapes=sklearn_learned_imputers.learned_imputer_shape,
    ),
    impute.SimpleImputer: Added(
        sklearn_imputers.convert_simple_imputer, ("features",), shapes=sklearn_imputers.simple_imputer_shape
    ),
    **dict.fromkeys(_CATEGORICAL, _ENCODER),
    FrameCodes: Added(convert_codes, ("features",), shapes=codes_shape),
    cluster.Birch: Added(sklearn_matrices.convert_nearest_center, ("label", "distances")),
    cluster.FeatureAgglomeration: Added(sklearn_matrices.convert_affine, ("features",), _features),
    cluster.MeanShift: Added(sklearn_matrices.convert_nearest_center, ("label",)),
    covariance.EllipticEnvelope: Added(sklearn_matrices.convert_elliptic_envelope, ("label", "scores")),
    cross_decomposition.CCA: Added(sklearn_matrices.convert_affine, ("value",)),
    cross_decomposition.PLSCanonical: Added(sklearn_matrices.convert_affine, ("value",)),
    cross_decomposition.PLSSVD: Added(sklearn_matrices.convert_affine, ("features",), _features),
    decomposition.FactorAnalysis: Added(sklearn_matrices.convert_affine, ("features",), _features),
    decomposition.FastICA: Added(sklearn_matrices.convert_affine, ("features",), _features),
    decomposition.MiniBatchSparsePCA: Added(sklearn_matrices.convert_affine, ("features",), _features),
    decomposition.SparsePCA: Added(sklearn_matrices.convert_affine, ("features",), _features),
    feature_extraction.text.TfidfTransformer: Added(
        sklearn_matrices.convert_tfidf_weights, ("features",), _features
    ),
    kernel_approximation.Nystroem: Added(sklearn_kernels.convert_nystroem, ("features",), _features),
    kernel_approximation.RBFSampler: Added(
        sklearn_matrices.convert_random_features, ("features",), _features
    ),
    KernelRidge: Added(sklearn_kernels.convert_kernel_ridge, ("value",)),
    neighbors.NearestCentroid: Added(sklearn_matrices.convert_nearest_centroid, _CLASSIFIER, class_count),
    neural_network.BernoulliRBM: Added(sklearn_matrices.convert_boltzmann, ("features",), _features),
    preprocessing.PowerTransformer: Added(sklearn_powers.convert_power_transformer, ("features",), _features),
    preprocessing.Normalizer: Added(sklearn_matrices.convert_normalizer, ("features",), _features),
    semi_supervised.LabelPropagation: Added(
        sklearn_kernels.convert_label_propagation, _CLASSIFIER, class_count
    ),
    semi_supervised.LabelSpreading: Added(
        sklearn_kernels.convert_label_propagation, _CLASSIFIER, class_count
    ),
    IsotonicRegression: Added(sklearn_curves.convert_isotonic, ("value",), lambda _: 1),
}


def all_added() -> dict[type, Added]:
    """Return `ADDED` and the estimators of other packages, of those that are imported already."""
    added = dict(ADDED)
    for package, known in BOOSTERS.items():
        if package in sys.modules:
            added |= importlib.import_module(known.converter).ADDED
    return added


@contextlib.contextmanager
def added_converters(bound: float = USUAL_BOUND) -> Iterator[FiniteGuards]:
    """Make `all_added` known to skl2onnx, guard all converters, and put its tables back as they were.

    `bound` is the largest magnitude that requests may have.
    """
    tables = (
        _supported_operators.sklearn_operator_name_map,
        _registration._converter_pool,  # noqa: SLF001  # the public call can add, but not restore
        _registration._shape_calculator_pool,  # noqa: SLF001
        _parse.sklearn_parsers_map,
    )
    with _LOCK:
        before = [dict(table) for table in tables]
        names, converters, shapes, parsers = tables
        for kind, added in all_added().items():
            alias = f"Lading{kind.__name__}"
            options = _CLASSIFIER_OPTIONS if added.outputs[0] == "label" else None
            names[kind] = alias
            converters[alias] = _registration.RegisteredConverter(added.convert, options)
            shapes[alias] = added.shapes or _shapes
            parsers[kind] = _parse_added
        for kind in _BOOSTING:
            simple = _parse._parse_sklearn_simple_model  # noqa: SLF001
            parsers[kind] = partial(_parse_boosting, before[3].get(kind, simple))
        parsers[pipeline.Pipeline] = partial(_parse_pipeline, before[3][pipeline.Pipeline])
        guards = FiniteGuards(bound)
        for alias, converter in converters.items():
            guarded = guards.around(converter)
            converters[alias] = _registration.RegisteredConverter(guarded, converter.get_allowed_options())
        try:
            yield guards
        finally:
            for table, content in zip(tables, before, strict=True):
                table.clear()
                table.update(content)


def _parse_added(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:  # noqa: ARG001
    """Declare the outputs of an added estimator."""
    operator = scope.declare_local_operator(f"Lading{type(model).__name__}", model)
    operator.inputs = inputs
    for name in all_added()[type(model)].outputs:
        kind = Int64TensorType() if name == "label" else _number_type(model, inputs[0].type)
        if isinstance(model, (*_CATEGORICAL, FrameCodes)):
            kind = type(tensor_type(float_kind(scope), 1))()
        operator.outputs.append(scope.declare_local_variable(name, kind))
    return operator.outputs


def _parse_pipeline(parse: Any, scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Leave out the steps that pass everything through; skl2onnx 1.20 raises for them."""
    steps = [(name, step) for name, step in model.steps if step not in (None, "passthrough")]
    if len(steps) < len(model.steps):
        model = copy.copy(model)
        model.steps = steps or [("passthrough", preprocessing.FunctionTransformer())]
    return parse(scope, model, inputs, custom_parsers=custom_parsers)


def _parse_boosting(parse: Any, scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Round float64 features to float32 in front of AdaBoost over trees, which themselves do that.

    skl2onnx 1.20 mixes both types behind such trees, and ONNX Runtime refuses the graph.
    """
    is_double = len(inputs) == 1 and isinstance(inputs[0].type, DoubleTensorType)
    if is_double and all(isinstance(member, _TREES) for member in model.estimators_):
        cast = scope.declare_local_operator("SklearnCast")
        cast.inputs.append(inputs[0])
        single = scope.declare_local_variable("single", FloatTensorType(inputs[0].type.shape))
        cast.outputs.append(single)
        inputs = [single]
    return parse(scope, model, inputs, custom_parsers)


def _shapes(operator: Any) -> None:
    """Say the types and shapes of an added estimator's outputs."""
    model, first = operator.raw_operator, operator.inputs[0]
    rows, added = first.get_first_dimension(), all_added()[type(model)]
    for name, output in zip(added.outputs, operator.outputs, strict=False):
        if name == "label":
            texts = np.asarray(getattr(model, "classes_", [0])).dtype.kind in "OUS"
            output.set_type((StringTensorType if texts else Int64TensorType)([rows]))
        else:
            width = added.width(model)
            output.set_type(type(_number_type(model, first.type))([rows, width]))


def _number_type(model: Any, kind: Any) -> Any:
    """Return the type of an output: that of the input, and float32 of whole numbers and texts."""
    identity = isinstance(model, preprocessing.FunctionTransformer) and model.func is None
    return type(kind)() if identity else guess_tensor_type(kind)
