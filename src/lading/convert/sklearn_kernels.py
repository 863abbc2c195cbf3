"""Kernel machines as graphs: support vector classifiers, kernel ridge, Nystroem, label propagation.

All compute in float64. Precomputed kernels and functions in Python have no graph.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from skl2onnx._supported_operators import _get_sklearn_operator_name
from skl2onnx.common._registration import get_converter

from lading.convert.graph_nodes import GraphNodes
from lading.errors import ConverterFailed
from lading.signature import Array

_KERNELS = ("linear", "poly", "polynomial", "rbf", "sigmoid", "cosine", "laplacian")


def squared_distances(nodes: GraphNodes, features: str, points: Array) -> str:
    """Return the squared distance to each of `points`, ``[batch, points]``, never below 0."""
    # Away from zero, squares are large and their differences lose digits.
    center = points.mean(axis=0)
    moved = nodes.node("Sub", [features, nodes.constant(center)])
    near = points - center
    own = nodes.node(
        "ReduceSum", [nodes.node("Mul", [moved, moved]), nodes.axis(1)], keepdims=1
    )  # [batch, 1]
    products = nodes.node("MatMul", [moved, nodes.constant(-2.0 * near.T)])  # [batch, points]
    total = nodes.node("Add", [nodes.node("Add", [own, products]), nodes.constant((near**2).sum(axis=1))])
    return nodes.node("Max", [total, nodes.constant(np.float64(0))])


def kernel(nodes: GraphNodes, features: str, points: Array, name: str, **parameters: Any) -> str:
    """Return the kernel of each row with each of `points`, ``[batch, points]``."""
    points = np.asarray(points, dtype=np.float64)
    stated = parameters.get("gamma")
    width = np.float64(1 / points.shape[1] if stated is None else stated)
    gamma = nodes.constant(width)
    if name == "rbf":
        scaled = nodes.node("Mul", [squared_distances(nodes, features, points), gamma])
        return nodes.node("Exp", [nodes.node("Neg", [scaled])])
    if name == "laplacian":
        rows = nodes.node("Unsqueeze", [features, nodes.axis(1)])  # [batch, 1, columns]
        sizes = nodes.node("Abs", [nodes.node("Sub", [rows, nodes.constant(points)])])
        scaled = nodes.node("Mul", [nodes.node("ReduceSum", [sizes, nodes.axis(2)], keepdims=0), gamma])
        return nodes.node("Exp", [nodes.node("Neg", [scaled])])
    if name == "cosine":
        features = normalized(nodes, features, "l2")
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        points = points / np.where(lengths == 0, 1, lengths)
    if name in ("linear", "cosine"):
        return nodes.node("MatMul", [features, nodes.constant(points.T)])
    # Within the matrix: a factor behind a product becomes ONNX Runtime's `alpha`, which is float32.
    products = nodes.node("MatMul", [features, nodes.constant(width * points.T)])
    offset = parameters.get("coef0")
    offset = nodes.constant(np.float64(1 if offset is None else offset))
    scaled = nodes.node("Add", [products, offset])
    if name == "sigmoid":
        return nodes.node("Tanh", [scaled])
    degree = parameters.get("degree")
    return nodes.node("Pow", [scaled, nodes.constant(np.float64(3 if degree is None else degree))])


def check_kernel(model: Any, name: Any) -> None:
    """Refuse a kernel that has no graph."""
    if name not in _KERNELS:
        called = getattr(name, "__name__", name)
        raise ConverterFailed(
            f"`{type(model).__name__}`, `kernel`",
            expected="one of linear, poly, rbf, sigmoid, cosine and laplacian",
            found=f"`{called}`",
            hint="train with kernel='rbf'",
        )


def normalized(nodes: GraphNodes, values: str, norm: str) -> str:
    """Divide rows by their norm, rows of zeros by one."""
    sizes = nodes.node("Abs", [values])
    if norm == "max":
        length = nodes.node("ReduceMax", [sizes, nodes.axis(1)], keepdims=1)
    elif norm == "l1":
        length = nodes.node("ReduceSum", [sizes, nodes.axis(1)], keepdims=1)
    else:
        squares = nodes.node("Mul", [values, values])
        length = nodes.node("Sqrt", [nodes.node("ReduceSum", [squares, nodes.axis(1)], keepdims=1)])
    zero, unit = nodes.constant(np.float64(0)), nodes.constant(np.float64(1))
    divisor = nodes.node("Where", [nodes.node("Equal", [length, zero]), unit, length])
    return nodes.node("Div", [values, divisor])


def convert_kernel_ridge(scope: Any, operator: Any, container: Any) -> None:
    """Convert KernelRidge."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    check_kernel(model, model.kernel)
    similar = kernel(nodes, nodes.features(operator), model.X_fit_, model.kernel, **_parameters(model))
    weights = np.asarray(model.dual_coef_, dtype=np.float64).reshape(len(model.X_fit_), -1)
    nodes.finish(nodes.node("MatMul", [similar, nodes.constant(weights)]), operator.outputs[0])


def convert_nystroem(scope: Any, operator: Any, container: Any) -> None:
    """Convert Nystroem."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    check_kernel(model, model.kernel)
    similar = kernel(nodes, nodes.features(operator), model.components_, model.kernel, **_parameters(model))
    weights = np.asarray(model.normalization_.T, dtype=np.float64)
    nodes.finish(nodes.node("MatMul", [similar, nodes.constant(weights)]), operator.outputs[0])


def _parameters(model: Any) -> dict[str, Any]:
    return {"gamma": model.gamma, "degree": model.degree, "coef0": model.coef0}


def convert_label_propagation(scope: Any, operator: Any, container: Any) -> None:
    """Convert LabelPropagation and LabelSpreading with the kernel `rbf`."""
    nodes, model = GraphNodes(scope, container), operator.raw_operator
    if model.kernel != "rbf":
        raise ConverterFailed(
            f"`{type(model).__name__}`, `kernel`",
            expected="`rbf`",
            found=f"`{getattr(model.kernel, '__name__', model.kernel)}`",
            hint="train with kernel='rbf'",
        )
    similar = kernel(nodes, nodes.features(operator), model.X_, "rbf", gamma=model.gamma)
    weights = np.asarray(model.label_distributions_, dtype=np.float64)
    sums = nodes.node("MatMul", [similar, nodes.constant(weights)])
    total = nodes.node("ReduceSum", [sums, nodes.axis(1)], keepdims=1)
    shares = nodes.node("Div", [sums, total])
    nodes.label(nodes.node("ArgMax", [shares], axis=1, keepdims=0), model.classes_, operator.outputs[0])
    nodes.finish(shares, operator.outputs[1])


def convert_support_vectors(convert: Any, scope: Any, operator: Any, container: Any) -> None:
    """Convert SVC and NuSVC without probabilities: a vote for each pair of classes, decided in float64.

    ONNX's operator decides in float32, where a row between two classes falls to either; with probabilities
    it is used nevertheless.
    """
    model = operator.raw_operator
    # skl2onnx calls it for a part of its own graph as well, which has the same model.
    own = operator.type == _get_sklearn_operator_name(type(model))
    if model.probability is True or model.kernel not in _KERNELS or not own:
        (convert if own else get_converter(operator.type))(scope, operator, container)
        return
    nodes, classes = GraphNodes(scope, container), len(model.classes_)
    parameters = {"gamma": model._gamma, "degree": model.degree, "coef0": model.coef0}  # noqa: SLF001
    similar = kernel(nodes, nodes.features(operator), model.support_vectors_, model.kernel, **parameters)
    sums = nodes.node("MatMul", [similar, nodes.constant(_pair_weights(model))])
    offsets = np.asarray(model._intercept_, dtype=np.float64)  # with the sign for all pairs
    decisions = nodes.node("Add", [sums, nodes.constant(offsets)])  # [batch, pairs]
    first = nodes.node("Greater", [decisions, nodes.constant(np.float64(0))])
    votes = _votes(nodes, first, classes)  # [batch, classes]
    scores = _scores(nodes, decisions, votes, model)
    deciding = scores if model.break_ties and classes > 2 else votes
    label = nodes.node("ArgMax", [deciding], axis=1, keepdims=0)
    nodes.label(label, model.classes_, operator.outputs[0])
    nodes.finish(scores, operator.outputs[1])


def _pair_weights(model: Any) -> Array:
    """Return what each support vector weighs in each pair of classes, ``[vectors, pairs]``, as in libsvm."""
    own = np.asarray(model._dual_coef_, dtype=np.float64)  # [classes - 1, vectors]
    owner = np.repeat(np.arange(len(model.classes_)), model.n_support_)
    pairs = list(combinations(range(len(model.classes_)), 2))
    weights = np.zeros((own.shape[1], len(pairs)))
    for at, (low, high) in enumerate(pairs):
        weights[owner == low, at] = own[high - 1, owner == low]
        weights[owner == high, at] = own[low, owner == high]
    return weights


def _votes(nodes: GraphNodes, first: str, classes: int) -> str:
    """Count the pairs that each class wins, ``[batch, classes]``."""
    pairs = list(combinations(range(classes), 2))
    won, lost = np.zeros((len(pairs), classes)), np.zeros((len(pairs), classes))
    for at, (low, high) in enumerate(pairs):
        won[at, low], lost[at, high] = 1, 1
    marks = nodes.double(first)
    rest = nodes.double(nodes.node("Not", [first]))
    return nodes.node(
        "Add",
        [
            nodes.node("MatMul", [marks, nodes.constant(won)]),
            nodes.node("MatMul", [rest, nodes.constant(lost)]),
        ],
    )


def _scores(nodes: GraphNodes, decisions: str, votes: str, model: Any) -> str:
    """Return the decision function: of two classes both signs of one number, of more as asked for."""
    classes = len(model.classes_)
    if classes == 2:
        return nodes.node("Concat", [decisions, nodes.node("Neg", [decisions])], axis=1)
    if model.decision_function_shape == "ovo":
        return decisions
    pairs = list(combinations(range(classes), 2))
    signs = np.zeros((len(pairs), classes))
    for at, (low, high) in enumerate(pairs):
        signs[at, low], signs[at, high] = 1, -1
    confidence = nodes.node("MatMul", [decisions, nodes.constant(signs)])
    unit, third = nodes.constant(np.float64(1)), nodes.constant(np.float64(3))
    size = nodes.node("Mul", [third, nodes.node("Add", [nodes.node("Abs", [confidence]), unit])])
    return nodes.node("Add", [votes, nodes.node("Div", [confidence, size])])
