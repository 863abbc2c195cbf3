"""Servers of the Open Inference Protocol, by the JSON in the documentation of Triton and KServe."""

from __future__ import annotations

from lading.inventory import adopt
from support.canned_server import answering

TRITON = {
    "GET /v2": {"name": "triton", "version": "2.60.0", "extensions": ["model_repository", "statistics"]},
    "POST /v2/repository/index": [
        {"name": "net", "version": "3", "state": "READY"},
        {"name": "old", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
    ],
    "GET /v2/models/net/versions/3": {
        "name": "net",
        "versions": ["3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [],
    },
    "GET /v2/models/stats": {
        "model_stats": [
            {
                "name": "net",
                "version": "3",
                "last_inference": 1_800_000_000_000,
                "inference_count": 12,
                "inference_stats": {"success": {"count": 10, "ns": 5}, "fail": {"count": 2, "ns": 5}},
            }
        ]
    },
}


def test_triton_is_asked_for_its_repository_and_its_statistics():
    with answering(TRITON) as server:
        replica = adopt(server)
    assert (replica.software, replica.id) == ("triton 2.60.0", server.removeprefix("http://"))
    net, old = replica.models
    assert (net.version, net.state, net.input_format) == (3, "ready", "X: fp32 [-1, 4]")
    assert (net.requests, net.last_request_at) == (12, "2027-01-15T08:00:00Z")
    assert (old.state, old.reason) == ("unavailable", "unloaded")


def test_a_server_without_a_repository_is_asked_for_the_names_of_its_models():
    answers = {
        "GET /v2": {"name": "kserve", "version": "0.15"},
        "GET /v2/models": {"models": ["net"]},
        "GET /v2/models/net": {"name": "net", "versions": ["7"], "inputs": None},
        "GET /v2/models/net/ready": {"ready": True},
    }
    with answering(answers) as server:
        (model,) = adopt(server).models
    assert (model.name, model.version, model.state) == ("net", 7, "ready")


def test_a_named_model_that_is_not_listed_is_asked_whether_it_is_ready():
    with answering({"GET /v2": {"name": "kserve"}}) as server:
        (model,) = adopt(server, ["net"]).models
    assert (model.name, model.state) == ("net", "unavailable")
