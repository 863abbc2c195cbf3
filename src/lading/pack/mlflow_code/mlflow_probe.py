"""Asks a model of MLflow before its outputs are known: it answers the bytes of them all. In no bundle."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from mlflow_model import MlflowModel


class Probe:
    """The model, with one output: an archive of its outputs, as numpy writes one."""

    def load(self, files: Path) -> None:
        """Load the model."""
        self.model = MlflowModel()
        self.model.load(files)

    def predict(self, _named_arrays: dict[str, Any]) -> dict[str, Any]:
        """Return the outputs as one array of bytes."""
        outputs = self.model.predict(_named_arrays)
        # Names of outputs may be any texts; those of an archive's files may not.
        names = np.array(list(outputs), dtype=str)
        plain = [array.astype(str) if array.dtype.hasobject else array for array in outputs.values()]
        buffer = io.BytesIO()
        np.savez(buffer, names, *plain)
        return {"answer": np.frombuffer(buffer.getvalue(), np.uint8)}
