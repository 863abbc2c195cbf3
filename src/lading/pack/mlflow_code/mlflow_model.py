"""Loads a model as MLflow does and asks it as MLflow does. Written into the bundle by lading.

The files of the model's folder are side by side in a bundle; ``mlflow.json`` has their paths in the folder.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# Before MLflow is imported: a model that answers requests reports to nobody.
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")


class MlflowModel:
    """A model of MLflow, called with arrays by the names of the bundle's inputs."""

    def load(self, files: Path) -> None:
        """Make the folder of the model again, and load it."""
        import mlflow.pyfunc

        self.settings = json.loads((files / "mlflow.json").read_text(encoding="utf-8"))
        # The folder goes with the process, as all that is in its working folder.
        folder = Path(tempfile.mkdtemp(prefix="mlflow-"))
        for path, name in self.settings["files"].items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if path == "MLmodel":  # MLflow takes a link out of the folder for a path that leaves it
                shutil.copyfile(files / name, folder / path)
            else:
                (folder / path).symlink_to(files.absolute() / name)
        self.model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)

    # A name that no input has: inputs are passed by name where parameters have their names.
    def predict(self, _named_arrays: dict[str, Any]) -> dict[str, Any]:
        """Return the outputs of MLflow's `predict` by name."""
        return outputs_of(self.model.predict(self.rows(_named_arrays)))

    def rows(self, arrays: dict[str, Any]) -> Any:
        """Return what the model is called with: a data frame, an array, or arrays by name."""
        form, texts = self.settings["form"], self.settings["texts"]
        if form != "frame":
            plain = {name: array.astype(str) if name in texts else array for name, array in arrays.items()}
            return plain if form == "named" else next(iter(plain.values()))
        import pandas as pd

        columns: dict[str, Any] = {}
        for name, array in arrays.items():
            together = self.settings["columns"].get(name)
            columns.update(
                zip(together, array.T, strict=True) if together else {name: array.reshape(len(array))}
            )
        frame = pd.DataFrame({name: columns[name] for name in self.settings["order"]})
        if self.settings["unnamed"]:
            frame.columns = range(len(frame.columns))
        return frame


def outputs_of(answer: Any) -> dict[str, Any]:
    """Return an answer of MLflow's `predict` as arrays by name: ``value`` where it has no names."""
    if hasattr(answer, "columns"):
        return {str(name): _array(answer[name].to_numpy(), str(name)) for name in answer.columns}
    if isinstance(answer, dict):
        return {str(name): _array(values, str(name)) for name, values in answer.items()}
    if isinstance(answer, list) and answer and all(isinstance(row, dict) for row in answer):
        return {str(name): _array([row[name] for row in answer], str(name)) for name in answer[0]}
    return {"value": _array(answer, "value")}


def _array(values: Any, name: str) -> Any:
    if hasattr(values, "toarray"):
        values = values.toarray()
    elif hasattr(values, "numpy") and not hasattr(values, "to_numpy"):
        values = values.numpy()
    array = np.asarray(values)
    if array.dtype.kind != "O":
        return array.astype(object) if array.dtype.kind in "US" else array
    # Objects: texts as they are, numbers with gaps as floats with NaN, nothing else.
    flat = array.ravel().tolist()
    if all(isinstance(value, str) for value in flat):
        return array
    plain = np.array([np.nan if value is None else value for value in flat])
    if plain.dtype.kind not in "biuf" or plain.shape != (len(flat),):
        kinds = ", ".join(sorted({type(value).__name__ for value in flat}))
        raise TypeError(f"the output {name!r} holds values that no tensor holds: {kinds}")
    return plain.reshape(array.shape)
