"""Folders in MLflow's layout, made without MLflow: a small model, and whatever ``MLmodel`` is to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
import yaml
from sklearn.linear_model import LogisticRegression

X = np.random.default_rng(3).normal(size=(40, 3))
Y = (X.sum(axis=1) > 0).astype(int)
OF_SKLEARN: dict[str, Any] = {"pickled_model": "model.skops", "serialization_format": "skops"}
OF_PYFUNC: dict[str, Any] = {"loader_module": "mlflow.sklearn", "model_path": "model.skops"}
EXAMPLE = {"artifact_path": "input_example.json", "type": "ndarray"}


def mlflow_folder(folder: Path, **stated: Any) -> Path:
    """Write a logistic regression of three numbers as MLflow does; `stated` are keys of its ``MLmodel``."""
    folder.mkdir(parents=True)
    skops.io.dump(LogisticRegression().fit(X, Y), folder / "model.skops")
    (folder / "input_example.json").write_text(json.dumps(X[:6].tolist()))
    flavors = {"sklearn": OF_SKLEARN, "python_function": OF_PYFUNC}
    write_mlmodel(folder, {"flavors": flavors, "saved_input_example_info": EXAMPLE, **stated})
    return folder


def write_mlmodel(folder: Path, stated: Any) -> None:
    (folder / "MLmodel").write_text(yaml.safe_dump(stated))


def signature(inputs: list[dict[str, Any]], outputs: list[dict[str, Any]] | None = None) -> dict[str, str]:
    """Return a signature as ``MLmodel`` has it: JSON in YAML."""
    stated = {"inputs": json.dumps(inputs)}
    return stated if outputs is None else {**stated, "outputs": json.dumps(outputs)}


def tensor(dtype: str, *shape: int, **more: Any) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}, **more}
