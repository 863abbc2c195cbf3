"""Tiny real models and bundles for tests: built with onnx, answered by ONNX Runtime, packed by lading.

Nothing here is a stand-in: each bundle obeys every rule of the format and each model runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lading.bundle import Bundle, Draft, Samples

IRIS = ("setosa", "versicolor", "virginica")
IRIS_COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
REQUIREMENTS = "numpy==2.0.0\nonnxruntime==1.20.0\n"


def linear_model(
    features: int = 4,
    classes: int = 3,
    seed: int = 0,
    scale: float = 1.0,
    dtype: str = "float32",
) -> bytes:
    """Build ``softmax(X @ W + b)`` as ONNX; outputs ``label`` int64 and ``probabilities``.

    Another `seed` gives other weights; the same arguments give the same bytes.
    """
    from onnx import TensorProto, helper, numpy_helper

    kind = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[dtype]
    random = np.random.default_rng(seed)
    weights = (random.standard_normal((features, classes)) * scale).astype(dtype)
    offset = (random.standard_normal(classes) * scale).astype(dtype)
    nodes = [
        helper.make_node("MatMul", ["X", "W"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("X", kind, ["batch", features])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("probabilities", kind, ["batch", classes]),
        ],
        [numpy_helper.from_array(weights, "W"), numpy_helper.from_array(offset, "b")],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="lading-tests")
    return bytes(model.SerializeToString(deterministic=True))


def linear_rows(features: int = 4, rows: int = 16, dtype: str = "float32") -> np.ndarray[Any, Any]:
    """Draw the input rows that `linear_bundle` uses as golden samples."""
    return np.random.default_rng(7).uniform(0.0, 7.0, (rows, features)).astype(dtype)


def run_model(model: bytes | str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Run ONNX Runtime here on a model given as bytes or a path."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def linear_draft(
    name: str = "iris",
    *,
    features: int = 4,
    classes: int = 3,
    labels: bool = True,
    owner: str = "ml@example.com",
    dtype: str = "float32",
    **changes: Any,
) -> Draft:
    """Say of `linear_model` what a packer knows; `changes` replace fields of the draft."""
    from lading.bundle import Draft, Training
    from lading.parity import Tolerance
    from lading.signature import Signature, Tensor

    class_names = IRIS if classes == 3 else tuple(f"class {at}" for at in range(classes))
    values = tuple(str(at) for at in range(classes))
    columns = IRIS_COLUMNS if features == 4 else ()
    fields: dict[str, Any] = {
        "name": name,
        "runtime": "onnx",
        "signature": Signature(
            inputs=(Tensor(name="X", dtype=dtype, shape=("batch", features), columns=columns),),
            outputs=(
                Tensor(name="label", dtype="int64", shape=("batch",)),
                Tensor(name="probabilities", dtype=dtype, shape=("batch", classes), columns=values),
            ),
        ),
        "labels": dict(zip(values, class_names, strict=True)) if labels else {},
        "purpose": "classification",
        "owner": owner,
        "description": "A linear model for tests.",
        "metrics": {"accuracy": 0.9},
        "tolerance": Tolerance(),
        "expected_from": "onnxruntime",
        "training": Training(
            python="3.11.0",
            platform="linux",
            framework="onnx",
            packages={"numpy": "2.0.0", "onnxruntime": "1.20.0"},
        ),
    }
    return Draft(**{**fields, **changes})


def linear_samples(model: bytes, *, features: int = 4, rows: int = 16, dtype: str = "float32") -> Samples:
    """Compute the golden samples of a `linear_model` with ONNX Runtime here."""
    from lading.bundle import Samples

    inputs = {"X": linear_rows(features, rows, dtype)}
    return Samples(inputs=inputs, outputs=run_model(model, inputs), rows=rows)


def linear_bundle(
    path: Path | str,
    name: str = "iris",
    *,
    seed: int = 0,
    rows: int = 16,
    features: int = 4,
    classes: int = 3,
    labels: bool = True,
    owner: str = "ml@example.com",
    scale: float = 1.0,
    dtype: str = "float32",
    requirements: str = REQUIREMENTS,
    **changes: Any,
) -> Bundle:
    """Write a bundle of `linear_model` to `path`; another `seed` gives another digest.

    `changes` replace fields of the draft: ``metrics={"accuracy": 0.5}``.
    """
    from lading.bundle import write_bundle

    model = linear_model(features, classes, seed, scale, dtype)
    draft = linear_draft(
        name, features=features, classes=classes, labels=labels, owner=owner, dtype=dtype, **changes
    )
    samples = linear_samples(model, features=features, rows=rows, dtype=dtype)
    return write_bundle(Path(path), draft, model=model, samples=samples, requirements=requirements)
