"""Routes and errors of the Open Inference Protocol over REST."""

from __future__ import annotations

from lading.server.inference.version import ServedVersion
from support.hosted_app import hosted
from support.open_inference import infer


def test_the_server_is_ready_once_its_models_are(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2/models/iris/ready").json() == {"name": "iris", "ready": True}
    loading = hosted(ServedVersion("iris", 1, "sha256:0"))
    assert loading.get("/v2/health/live").status_code == 200
    assert loading.get("/v2/health/ready").status_code == 503
    assert loading.get("/v2/models/iris/ready").json() == {"name": "iris", "ready": False}
    assert loading.get("/v2/models/iris/ready").status_code == 503
    assert loading.get("/v2/models/iris").status_code == 503
    refused = infer(loading, "iris", {"name": "X", "shape": [1], "datatype": "FP32", "data": [1]})
    assert refused.status_code == 503
    assert loading.post("/v2/repository/index", {"ready": True}).json() == []
    assert loading.post("/v2/repository/index").json() == [
        {"name": "iris", "version": "1", "state": "LOADING", "reason": ""}
    ]


def test_loading_through_the_protocol_is_not_supported(client):
    for act in ("load", "unload"):
        answer = client.post(f"/v2/repository/models/iris/{act}", {})
        assert answer.status_code == 501
        assert "hint" in answer.json()["error"]


def test_a_sentence_of_the_parser_becomes_part_of_ours(client):
    answer = client.post("/v2/models/echo-float32/infer", content=b"{,")
    assert answer.json()["error"].startswith("body: JSON is malformed")
