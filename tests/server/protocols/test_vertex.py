"""Vertex AI's contract: paths and port from its variables, instances in, predictions out."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import InvalidSetting
from lading.server.inference.version import ServedVersion, State
from lading.settings import serve_settings
from support.bundles import IRIS_COLUMNS, linear_bundle
from support.hosted_app import hosted, served_from
from support.small_models import people

PATH = "/v1/endpoints/12/deployedModels/34"
ENVIRON = {
    "AIP_HTTP_PORT": "8080",
    "AIP_HEALTH_ROUTE": PATH,
    "AIP_PREDICT_ROUTE": f"{PATH}:predict",
    "AIP_STORAGE_URI": "",
}
ROW = [5.1, 3.5, 1.4, 0.2]


def routes(environ: dict[str, str] = ENVIRON) -> dict[str, str]:
    settings = serve_settings({}, environ)
    return {
        "vertex_health_route": settings.vertex_health_route,
        "vertex_predict_route": settings.vertex_predict_route,
    }


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return hosted(served_from(linear_bundle(tmp_path_factory.mktemp("vertex") / "iris"), 3), **routes())


def label(client) -> int:
    return int(client.app.plane.find("iris").run({"X": np.array([ROW], np.float32)})["label"][0])


def test_the_platforms_variables_set_port_and_paths():
    assert serve_settings({}, ENVIRON).port == 8080
    assert routes() == {"vertex_health_route": PATH, "vertex_predict_route": f"{PATH}:predict"}


def test_every_instance_is_answered_by_one_prediction(iris):
    for instance in (ROW, {"X": ROW}, dict(zip(IRIS_COLUMNS, ROW, strict=True))):
        answer = iris.post(f"{PATH}:predict", {"instances": [instance, instance], "deployedModelId": "34"})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"predictions": [label(iris)] * 2}


def test_parameters_select_outputs(iris):
    body = {"instances": [ROW], "parameters": {"outputs": ["probabilities"]}}
    assert np.array(iris.post(f"{PATH}:predict", body).json()["predictions"]).shape == (1, 3)


def test_strings_may_be_base64(tmp_path):
    client = hosted(served_from(people(tmp_path / "people"), 1), **routes())
    body = {"instances": [{"age": 1, "city": {"b64": "c2VvdWw="}}], "parameters": {"outputs": ["where"]}}
    assert client.post(f"{PATH}:predict", body).json() == {"predictions": ["seoul"]}


def test_health_is_200_only_when_every_model_is_ready(iris):
    assert iris.get(PATH).status_code == 200
    assert hosted(**routes()).get(PATH).status_code == 503
    loading = hosted(ServedVersion("wine", 1, "sha256:0", State.LOADING), **routes())
    assert loading.get(PATH).status_code == 503
    assert loading.post(f"{PATH}:predict", {"instances": [ROW]}).status_code == 503


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "`$.instances`"),
        ({"instances": 3}, "`$.instances`"),
        ({"instances": []}, "`$.instances`"),
        ({"instances": [[1, 2]]}, "found 2 values at `$.instances[0]`"),
        ({"instances": [ROW], "parameters": 3}, "`$.parameters`"),
        ({"instances": [ROW], "parameter": {}}, "found `parameter`"),
        ({"instances": [ROW], "parameters": {"top_k": 3}}, "found `top_k`"),
    ],
)
def test_a_wrong_body_is_400(iris, body, text):
    answer = iris.post(f"{PATH}:predict", body)
    assert answer.status_code == 400
    assert text in answer.json()["error"]


def test_the_platform_may_choose_a_path_that_lading_has(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    paths = {"vertex_health_route": "/health", "vertex_predict_route": "/predict"}
    client = hosted(served_from(bundle, 1), **paths)
    assert client.get("/health").status_code == 200
    assert client.post("/predict", {"instances": [ROW]}).json() == {"predictions": [label(client)]}


def test_a_path_begins_with_a_slash():
    with pytest.raises(InvalidSetting, match="begins with"):
        hosted(vertex_health_route="health")


def test_without_the_variables_the_routes_do_not_exist(tmp_path):
    client = hosted(served_from(linear_bundle(tmp_path / "iris"), 1))
    assert client.post(f"{PATH}:predict", {"instances": [ROW]}).status_code == 400  # TensorFlow Serving's
    assert client.get("/invoke").status_code == 404
