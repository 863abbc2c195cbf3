"""Estimators that are a product with a matrix, or the nearest of some centres, as graphs in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from lading.convert.graph_nodes import GraphNodes
from lading.convert.sklearn_functions import apply_function, logistic
from lading.convert.sklearn_kernels import normalized, squared_distances
from lading.errors import ConverterFailed
from lading.signature import Array


def convert_affine(scope: Any, operator: Any, container: Any) -> None:
    """Convert an estimator whose answer is an affine function of the columns, by asking it for that function.

    FactorAnalysis, FastICA, SparsePCA, the partial least squares and feature agglomeration by means are such.
    """
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    pooling = getattr(model, "pooling_func", np.mean)
    if pooling is not np.mean:
        raise ConverterFailed(
            f"`{type(model).__name__}`, `pooling_func`",
            expected="`mean`",
            found=f"`{getattr(pooling, '__name__', pooling)}`",
            hint="fit with pooling_func=np.mean",
        )
    center, offset, matrix = _affine(model)
    moved = nodes.node("Sub", [nodes.features(operator), nodes.constant(center)])
    product = nodes.node("MatMul", [moved, nodes.constant(matrix)])
    nodes.finish(nodes.node("Add", [product, nodes.constant(offset)]), operator.outputs[0])


def _affine(model: Any) -> tuple[Array, Array, Array]:
    """Return centre, offset and matrix: the answer at the centre, and its steps from there."""
    columns = model.n_features_in_
    center = getattr(model, "mean_", None)
    center = np.asarray(
        getattr(model, "_x_mean", np.zeros(columns)) if center is None else center, np.float64
    )
    answer = model.predict if hasattr(model, "predict") else model.transform
    rows = np.concatenate([center[None], center[None] + np.eye(columns)])
    answers = np.asarray(answer(rows), dtype=np.float64).reshape(len(rows), -1)
    return center, answers[0], answers[1:] - answers[:1]


def convert_random_features(scope: Any, operator: Any, container: Any) -> None:
    """Convert RBFSampler."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    weights = nodes.constant(np.asarray(model.random_weights_, dtype=np.float64))
    product = nodes.node("MatMul", [nodes.features(operator), weights])
    moved = nodes.node("Add", [product, nodes.constant(np.asarray(model.random_offset_, dtype=np.float64))])
    waves = apply_function(nodes, moved, np.cos, None, "`RBFSampler`")
    scale = nodes.constant(np.float64((2.0 / model.n_components) ** 0.5))
    nodes.finish(nodes.node("Mul", [waves, scale]), operator.outputs[0])


def convert_boltzmann(scope: Any, operator: Any, container: Any) -> None:
    """Convert BernoulliRBM."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    weights = nodes.constant(np.asarray(model.components_.T, dtype=np.float64))
    product = nodes.node("MatMul", [nodes.features(operator), weights])
    moved = nodes.node(
        "Add", [product, nodes.constant(np.asarray(model.intercept_hidden_, dtype=np.float64))]
    )
    nodes.finish(logistic(nodes, moved), operator.outputs[0])


def convert_normalizer(scope: Any, operator: Any, container: Any) -> None:
    """Convert Normalizer; ONNX's operator squares in float32."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    nodes.finish(normalized(nodes, nodes.features(operator), model.norm), operator.outputs[0])


def convert_tfidf_weights(scope: Any, operator: Any, container: Any) -> None:
    """Convert TfidfTransformer."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    values = nodes.features(operator)
    if model.sublinear_tf:
        zero, unit = nodes.constant(np.float64(0)), nodes.constant(np.float64(1))
        grown = nodes.node("Add", [nodes.node("Log", [values]), unit])
        values = nodes.node("Where", [nodes.node("Equal", [values, zero]), values, grown])
    if model.use_idf:
        values = nodes.node("Mul", [values, nodes.constant(np.asarray(model.idf_, dtype=np.float64))])
    if model.norm is not None:
        values = normalized(nodes, values, model.norm)
    nodes.finish(values, operator.outputs[0])


def convert_nearest_center(scope: Any, operator: Any, container: Any) -> None:
    """Convert MeanShift and Birch: the cluster of the nearest centre."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    subclusters = hasattr(model, "subcluster_centers_")
    centers = np.asarray(
        model.subcluster_centers_ if subclusters else model.cluster_centers_, dtype=np.float64
    )
    squares = squared_distances(nodes, nodes.features(operator), centers)
    nearest = nodes.node("ArgMin", [squares], axis=1, keepdims=0)
    if subclusters:
        labels = nodes.constant(np.asarray(model.subcluster_labels_, dtype=np.int64))
        nearest = nodes.node("Gather", [labels, nearest])
        nodes.finish(nodes.node("Sqrt", [squares]), operator.outputs[1])
    nodes.finish(nearest, operator.outputs[0])


def convert_elliptic_envelope(scope: Any, operator: Any, container: Any) -> None:
    """Convert EllipticEnvelope: Mahalanobis distances, and which of them are outliers."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    moved = nodes.node(
        "Sub", [nodes.features(operator), nodes.constant(np.asarray(model.location_, np.float64))]
    )
    precision = nodes.constant(np.asarray(model.get_precision(), dtype=np.float64))
    weighted = nodes.node("Mul", [nodes.node("MatMul", [moved, precision]), moved])
    distance = nodes.node("ReduceSum", [weighted, nodes.axis(1)], keepdims=1)  # [batch, 1]
    offset = nodes.constant(np.float64(-model.offset_))
    scores = nodes.node("Sub", [offset, distance])
    inlier = nodes.node("GreaterOrEqual", [scores, nodes.constant(np.float64(0))])
    label = nodes.node("Where", [inlier, nodes.constant(np.int64(1)), nodes.constant(np.int64(-1))])
    nodes.finish(nodes.node("Squeeze", [label, nodes.axis(1)]), operator.outputs[0])
    nodes.finish(scores, operator.outputs[1])


def convert_nearest_centroid(scope: Any, operator: Any, container: Any) -> None:
    """Convert NearestCentroid by Euclidean distances."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    if model.metric != "euclidean":
        raise ConverterFailed(
            "`NearestCentroid`, `metric`",
            expected="`euclidean`",
            found=f"`{model.metric}`",
            hint="fit with metric='euclidean'",
        )
    features = nodes.features(operator)
    centers = np.asarray(model.centroids_, dtype=np.float64)
    deviation = np.asarray(model.within_class_std_dev_, dtype=np.float64)
    deviation = np.where(deviation == 0, 1, deviation)
    scaled = nodes.node("Div", [features, nodes.constant(deviation)])
    squares = squared_distances(nodes, scaled, centers / deviation)
    priors = nodes.constant(2.0 * np.log(np.asarray(model.class_prior_, dtype=np.float64)))
    scores = nodes.node("Sub", [priors, squares])
    equal = np.isclose(model.class_prior_, 1 / len(model.classes_)).all()
    # Of classes of one size, scikit-learn takes the nearest as it is, without their deviation.
    deciding = nodes.node("Neg", [squared_distances(nodes, features, centers)]) if equal else scores
    nodes.label(nodes.node("ArgMax", [deciding], axis=1, keepdims=0), model.classes_, operator.outputs[0])
    nodes.finish(nodes.node("Softmax", [scores], axis=1), operator.outputs[1])
