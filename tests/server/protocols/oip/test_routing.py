"""Versions and tags in the routes of the Open Inference Protocol."""

from __future__ import annotations


def test_the_version_or_tag_in_the_route_answers(client):
    row = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
    for place, version in (("", 2), ("/versions/1", 1), ("/versions/2", 2), ("/versions/live", 2)):
        answer = client.post(f"/v2/models/iris{place}/infer", {"inputs": [row]})
        assert answer.json()["model_version"] == str(version)
        assert answer.headers["x-lading-model"] == f"iris:{version}"
    assert client.post("/v2/models/plain/versions/0/infer", {"inputs": [row]}).json()["model_version"] == "0"


def test_an_unknown_name_version_or_tag_is_not_found(client):
    for path in ("/v2/models/nope", "/v2/models/iris/versions/9", "/v2/models/iris/versions/beta"):
        for method, place in (("GET", ""), ("GET", "/ready"), ("POST", "/infer"), ("GET", "/stats")):
            answer = client.request(method, path + place)
            assert answer.status_code == 404, path + place
            assert answer.json().keys() == {"error"}
