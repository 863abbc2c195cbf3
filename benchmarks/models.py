"""The models that are measured: real ones, made here, the same file for every server."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import lading


def small(folder: Path) -> Path:
    """Train a 4-16-3 network on iris."""
    from sklearn.datasets import load_iris
    from sklearn.neural_network import MLPClassifier

    data = load_iris()
    model = MLPClassifier((16,), max_iter=2000, random_state=0).fit(data.data, data.target)
    return _pack(model, "iris", data.data, folder)


def small_in_python(folder: Path) -> Path:
    """Train the same network, and pack it to run in scikit-learn; its file of joblib is beside it."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.neural_network import MLPClassifier

    data = load_iris()
    model = MLPClassifier((16,), max_iter=2000, random_state=0).fit(data.data, data.target)
    joblib.dump(model, folder / "iris.joblib")
    folder = folder / "python"
    folder.mkdir()
    return _pack(model, "iris", data.data, folder, runtime="python", dtype="float32")


def wide(folder: Path) -> Path:
    """Train a 30-16-2 network on breast cancer, for matrices of 1,000 × 30."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    model = make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=2000, random_state=0))
    return _pack(model.fit(data.data, data.target), "cancer", data.data, folder)


def costly(folder: Path) -> Path:
    """Make a network with a layer of 2,600 × 2,600 weights: about 1 ms a row, most of it reading weights."""
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(0)
    width = 2600
    shapes = {"first": (4, width), "second": (width, width), "third": (width, 3)}
    weights = [
        numpy_helper.from_array((random.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("MatMul", ["X", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "third"], ["e"]),
        helper.make_node("Softmax", ["e"], ["probabilities"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["batch", 4])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])]
    graph = helper.make_graph(nodes, "costly", inputs, outputs, weights)
    path = folder / "costly.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    rows = random.standard_normal((64, 4)).astype(np.float32)
    return _pack(str(path), "costly", rows, folder)


def _pack(model: object, name: str, rows: np.ndarray, folder: Path, **options: str) -> Path:
    bundle = lading.pack(
        model,
        name=name,
        samples=rows.astype(np.float32),
        owner="bench@example.com",
        purpose="benchmark",
        to=folder / f"{name}.bundle",
        **options,
    )
    return bundle.path
