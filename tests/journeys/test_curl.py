"""The examples that each protocol's own documents print, typed at one server with curl."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from support.bundles import linear_bundle
from support.server_process import ServerProcess, serving
from support.small_models import half_plus_two

PATH = "/v1/endpoints/12/deployedModels/34"
ENVIRON = {"AIP_HEALTH_ROUTE": PATH, "AIP_PREDICT_ROUTE": f"{PATH}:predict"}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("curl")
    iris = linear_bundle(folder / "iris")
    half = half_plus_two(folder / "half", "half_plus_two")
    (folder / "payload.csv").write_text("5.1,3.5,1.4,0.2\n6.3,3.3,6.0,2.5\n")
    with serving(iris.path, half.path, environ=ENVIRON) as started:
        yield started


def typed(server: ServerProcess, line: str, folder: Any = None) -> str:
    """Run a line of curl; ``$URL`` in it is the server's address."""
    command = ["curl", "--silent", "--show-error", "--fail", *shlex.split(line.replace("$URL", server.url))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_tensorflow_serving(server):
    # tensorflow/serving: README.md and g3doc/api_rest.md
    line = """-d '{"instances": [1.0, 2.0, 5.0]}' -X POST $URL/v1/models/half_plus_two:predict"""
    assert json.loads(typed(server, line)) == {"predictions": [2.5, 3.0, 4.5]}
    body = '{"signature_name": "serving_default", "inputs": {"x": [1.0]}}'
    line = f"-d '{body}' $URL/v1/models/half_plus_two:predict"
    assert json.loads(typed(server, line)) == {"outputs": [2.5]}
    line = """-d '{"examples": [{"x": 1.0}, {"x": 2.0}]}' -X POST $URL/v1/models/half_plus_two:regress"""
    assert json.loads(typed(server, line)) == {"results": [2.5, 3.0]}
    status = json.loads(typed(server, "$URL/v1/models/half_plus_two"))
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    metadata = json.loads(typed(server, "$URL/v1/models/half_plus_two/metadata"))
    assert "serving_default" in metadata["metadata"]["signature_def"]["signature_def"]


@pytest.mark.slow
def test_mlflow(server):
    # mlflow: docs "Deploy MLflow Model as a Local Inference Server"
    columns = '["sepal_length", "sepal_width", "petal_length", "petal_width"]'
    split = f"""'{{"dataframe_split": {{"columns": {columns}, "data": [[5.1, 3.5, 1.4, 0.2]]}}}}'"""
    answers = [
        typed(server, f'$URL/invocations -H "Content-Type:application/json" --data {split}'),
        typed(server, "$URL/invocations -H 'Content-Type: text/csv' --data '5.1,3.5,1.4,0.2'"),
        typed(
            server,
            """-X POST -H "Content-Type:application/json" --data '{"inputs": [[5.1, 3.5, 1.4, 0.2]]}' """
            "$URL/invocations",
        ),
        typed(
            server,
            """-X POST -H "Content-Type:application/json" --data '{"instances": [[5.1, 3.5, 1.4, 0.2]]}' """
            "$URL/invocations",
        ),
    ]
    assert len(set(answers)) == 1
    assert typed(server, "$URL/version")


@pytest.mark.slow
def test_sagemaker(server, tmp_path):
    # awslabs: scikit_bring_your_own, predict.sh
    (tmp_path / "payload.csv").write_text("5.1,3.5,1.4,0.2\n6.3,3.3,6.0,2.5\n")
    line = "--data-binary @payload.csv -H 'Content-Type: text/csv' -H 'Accept: text/csv' $URL/invocations"
    assert len(typed(server, line, tmp_path).splitlines()) == 2
    assert typed(server, "$URL/ping") == ""


@pytest.mark.slow
def test_vertex_ai(server):
    # Vertex AI's page "Custom container requirements for inference"
    line = f"""-X POST -H "Content-Type: application/json; charset=utf-8" \
        -d '{{"instances": [[5.1, 3.5, 1.4, 0.2]]}}' $URL{PATH}:predict"""
    assert len(json.loads(typed(server, line))["predictions"]) == 1
    typed(server, f"$URL{PATH}")


@pytest.mark.slow
def test_open_inference_protocol(server):
    # kserve/open-inference-protocol: required_api.md
    body = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}
    line = f"-X POST -H 'Content-Type: application/json' -d '{json.dumps(body)}' $URL/v2/models/iris/infer"
    assert {output["name"] for output in json.loads(typed(server, line))["outputs"]} == {
        "label",
        "probabilities",
    }
    typed(server, "$URL/v2/health/ready")


@pytest.mark.slow
def test_the_native_protocol(server):
    line = (
        """-X POST -H 'Content-Type: application/json' -d '{"data": [[5.1, 3.5, 1.4, 0.2]]}' $URL/predict"""
    )
    assert len(json.loads(typed(server, line))["prediction"]) == 3
    assert json.loads(typed(server, "$URL/health"))["health"] == "ok"
