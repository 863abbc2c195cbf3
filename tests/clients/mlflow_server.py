"""Run in MLflow's environment: its own scoring server over a small model, on the port that is given."""

from __future__ import annotations

import sys
import tempfile

import mlflow.pyfunc
import uvicorn
from mlflow.pyfunc import scoring_server


class Sum(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):  # noqa: ARG002 - MLflow's own names
        return model_input.sum(axis=1)


with tempfile.TemporaryDirectory() as folder:
    mlflow.pyfunc.save_model(f"{folder}/sum", python_model=Sum())
    app = scoring_server.init(mlflow.pyfunc.load_model(f"{folder}/sum"))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
