"""Converters of skl2onnx that are wrong or slow in known ways, wrapped so that they are not.

Each wrapper says what was wrong and in which version. A repair does not vouch for itself: packing proves its
result like any other.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from skl2onnx._supported_operators import _get_sklearn_operator_name
from skl2onnx.common._registration import get_converter
from skl2onnx.common.data_types import DoubleTensorType
from sklearn import (
    cluster,
    decomposition,
    discriminant_analysis,
    ensemble,
    gaussian_process,
    mixture,
    naive_bayes,
    svm,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from lading.convert.graph_nodes import DOUBLE, FLOAT
from lading.convert.sklearn_kernels import convert_support_vectors
from lading.convert.sklearn_nodes import changed_attributes, intercepted_nodes
from lading.convert.sklearn_precision import in_double_precision
from lading.convert.sklearn_scalers import scaler_wrappers
from lading.convert.sklearn_text import convert_text
from lading.convert.sklearn_trees import tree_wrappers

# Of these, float32 answered NaN for large numbers, or other digits than the tolerance allows.
_DOUBLE_PRECISION = (
    cluster.KMeans,
    cluster.MiniBatchKMeans,
    decomposition.KernelPCA,
    discriminant_analysis.QuadraticDiscriminantAnalysis,
    gaussian_process.GaussianProcessRegressor,
    mixture.BayesianGaussianMixture,
    mixture.GaussianMixture,
    naive_bayes.GaussianNB,
)


@contextlib.contextmanager
def quiet_converters() -> Iterator[None]:
    """Silence the warnings that skl2onnx causes: it reads attributes that scikit-learn is about to drop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Attribute `prob[AB]_` was deprecated", FutureWarning)
        yield


def converter_of(kind: type) -> Any:
    """Return skl2onnx's converter of an estimator class; raises `ValueError` if it has none."""
    return get_converter(_get_sklearn_operator_name(kind))


def repaired_converters() -> dict[Any, Any]:
    """Return skl2onnx's ``custom_conversion_functions``: by estimator class, the wrapped converter."""
    wrapped = tree_wrappers() | scaler_wrappers()
    wrapped |= dict.fromkeys((cluster.KMeans, cluster.MiniBatchKMeans), _without_negative_squares)
    wrapped |= dict.fromkeys((svm.SVC, svm.NuSVC), convert_support_vectors)
    wrapped[ensemble.VotingClassifier] = _without_flattening
    wrapped[discriminant_analysis.LinearDiscriminantAnalysis] = _with_logistic_of_one_score
    repaired: dict[Any, Any] = {
        kind: partial(wrapper, converter_of(kind)) for kind, wrapper in wrapped.items()
    }
    for kind in _DOUBLE_PRECISION:
        repaired[kind] = partial(in_double_precision, repaired.get(kind) or converter_of(kind))
    return repaired | dict.fromkeys((CountVectorizer, TfidfVectorizer), convert_text)


def _with_logistic_of_one_score(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Take the logistic of the one score that two classes have.

    skl2onnx 1.20 takes the softmax of it and its negative, which squares the odds.
    """
    two_classes = len(operator.raw_operator.classes_) == 2

    def logistic(attributes: dict[str, Any]) -> dict[str, Any]:
        softmax = two_classes and attributes.get("post_transform") == "SOFTMAX"
        return {**attributes, "post_transform": "LOGISTIC"} if softmax else attributes

    with changed_attributes(container, logistic):
        convert(scope, operator, container)


def _without_negative_squares(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Raise squared distances that rounding made negative to zero, as scikit-learn does.

    skl2onnx 1.20 takes their root, which is NaN for a row that is a centre.
    """
    double = isinstance(operator.inputs[0].type, DoubleTensorType)

    def add(own: Any, op_type: str, inputs: Any, *rest: Any, **attributes: Any) -> Any:
        if op_type == "Sqrt":
            zero, floored = (scope.get_unique_variable_name(name) for name in ("zero", "floored"))
            container.add_initializer(zero, DOUBLE if double else FLOAT, [1], [0.0])
            squares = inputs if isinstance(inputs, str) else inputs[0]
            own("Max", [squares, zero], [floored], op_version=13, name=scope.get_unique_operator_name("Max"))
            inputs = [floored]
        return own(op_type, inputs, *rest, **attributes)

    with intercepted_nodes(container, add):
        convert(scope, operator, container)


def _without_flattening(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Convert a vote whose ``flatten_transform`` is true, the default, or whose weights are a list.

    skl2onnx 1.20 refuses the first, although it matters to `transform` only, and fails on the second.
    """
    model = operator.raw_operator
    flatten, weights = model.flatten_transform, model.weights
    model.flatten_transform = False
    model.weights = None if weights is None else np.asarray(weights, dtype=np.float64)  # [members]
    try:
        convert(scope, operator, container)
    finally:
        model.flatten_transform, model.weights = flatten, weights
