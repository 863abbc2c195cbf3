"""Health, metadata and lists of models over the native routes."""

from __future__ import annotations

import numpy as np

from lading.server.inference.version import ServedVersion, State
from support.hosted_app import hosted

ROW = [5.1, 3.5, 1.4, 0.2]


def test_metadata_is_read_from_the_bundle(iris):
    metadata = iris.get("/metadata").json()
    samples = iris.app.plane.resolve("iris").samples
    assert metadata["data_type"] == "float32"
    assert metadata["data_structure"] == "(1,4)"
    np.testing.assert_array_equal(np.array(metadata["data_sample"], np.float32), samples.inputs["X"][:1])
    assert metadata["prediction_type"] == "float32"
    assert metadata["prediction_structure"] == "(1,3)"
    expected = samples.outputs["probabilities"][0]
    np.testing.assert_array_equal(np.array(metadata["prediction_sample"], np.float32), expected)
    assert metadata["digest"] == iris.app.plane.resolve("iris").digest


def test_the_models_are_listed_with_their_states(iris):
    models = iris.get("/models").json()["models"]
    assert [(model["version"], model["state"]) for model in models] == [(1, "ready"), (2, "ready")]
    model = iris.get("/models/iris").json()
    assert [version["version"] for version in model["versions"]] == [1, 2]
    assert model["labels"]["0"] == "setosa"


def test_health_is_ok_only_when_every_model_is_ready(iris):
    assert iris.get("/health").json()["health"] == "ok"
    assert hosted().get("/health").status_code == 503
    assert hosted().get("/health").json()["health"] == "empty"
    assert hosted().post("/predict", {"data": [ROW]}).status_code == 503
    for state, word in ((State.LOADING, "loading"), (State.WARMING, "loading"), (State.FAILED, "failed")):
        served = ServedVersion("wine", 1, "sha256:0", state, "because")
        answer = hosted(*iris.app.plane.versions("iris"), served).get("/health")
        assert answer.status_code == 503
        assert answer.json()["health"] == word
        assert answer.json()["reason"] == "because"
