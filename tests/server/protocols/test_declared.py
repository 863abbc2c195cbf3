"""What a request declares (content types, parameters, keys) is honoured or refused, never ignored."""

from __future__ import annotations

import base64
import json
from typing import Any

import grpc
import pytest

from lading.errors import BodyInvalid
from lading.server.protocols.oip.parameters import check_request
from support.bundles import linear_bundle
from support.echo_models import echo_bundle
from support.grpc_client import ask, grpc_serving, plane_of
from support.hosted_app import hosted, served_from
from support.open_inference import LENGTH, infer

ROW = [5.1, 3.5, 1.4, 0.2]
IRIS = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": ROW}
WORDS = {"name": "x", "shape": [2], "datatype": "BYTES", "data": ["aGVsbG8=", "7JWI64WV"]}
PREDICTING = {
    "/predict": {"data": [ROW]},
    "/predict/label": {"data": [ROW]},
    "/models/iris/predict": {"data": [ROW]},
    "/v2/models/iris/infer": {"inputs": [IRIS]},
    "/v1/models/iris:predict": {"instances": [ROW]},
    "/v1/models/iris:classify": {"examples": [{"X": ROW}]},
    "/vertex": {"instances": [ROW]},
    "/invocations": {"instances": [ROW]},
}
"""A good body of each route that predicts."""


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("declared")
    text = echo_bundle(folder / "text", "string", "text", ("batch",))
    return served_from(linear_bundle(folder / "iris"), 3, ("live",)), served_from(text)


@pytest.fixture(scope="module")
def client(versions):
    return hosted(*versions, vertex_predict_route="/vertex", default_model="iris")


@pytest.mark.parametrize("path", [*PREDICTING, "/v2/models/text/infer", "/models/iris/feedback"])
@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
def test_an_empty_body_is_refused(client, path, kind):
    answer = client.post(path, headers={"content-type": kind})
    assert answer.status_code == (415 if path == "/invocations" and "octet" in kind else 400), answer.text


def test_an_empty_raw_body_that_is_declared_is_an_empty_text(client):
    answer = client.post("/v2/models/text/infer", headers={LENGTH: "0"})
    assert answer.status_code == 200
    assert answer.content.endswith(b"\0\0\0\0")


@pytest.mark.parametrize("path", PREDICTING)
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=UTF-8", 200),
        ("", 200),
        ("application/xml", 415),
        ("application/x-parquet", 415),
        ("multipart/form-data; boundary=a", 415),
        ("application/json; charset=utf-16", 415),
        ("text/csv; charset=latin-1", 415),
    ],
)
def test_a_content_type_that_is_not_read_is_refused(client, path, kind, status):
    answer = client.post(path, PREDICTING[path], headers={"content-type": kind})
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("path", PREDICTING)
def test_what_tools_send_by_themselves_declares_nothing(client, path):
    for kind in ("application/x-www-form-urlencoded", "text/plain; charset=utf-8", "application/vnd.a+json"):
        answer = client.post(path, PREDICTING[path], headers={"content-type": kind})
        # MLflow's own server refuses them, and so does its route.
        assert answer.status_code == (415 if path == "/invocations" else 200), answer.text


@pytest.mark.parametrize("path", [path for path in PREDICTING if path != "/invocations"])
def test_a_key_that_a_body_does_not_have_is_refused(client, path):
    for body in ({**PREDICTING[path], "outputz": ["label"]}, {"pad": " " * 5000, **PREDICTING[path]}):
        answer = client.post(path, body)
        assert answer.status_code == 400, answer.text
        assert "`outputz`" in answer.text or "`pad`" in answer.text


def test_base64_is_decoded_where_it_is_declared(client):
    plain = infer(client, "text", WORDS)
    assert plain.json()["outputs"][0]["data"] == WORDS["data"]
    for kind, expected in (("str", WORDS["data"]), ("base64", ["hello", "안녕"])):
        answer = infer(client, "text", {**WORDS, "parameters": {"content_type": kind}})
        assert answer.json()["outputs"][0]["data"] == expected, answer.text


def test_base64_in_bytes_behind_the_json_is_decoded_each_time(client):
    text = base64.b64encode("안녕".encode())
    size = {"content_type": "base64", "binary_data_size": 4 + len(text)}
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "parameters": size}
    for _ in range(2):  # The JSON of a request without values is remembered.
        head = json.dumps({"inputs": [tensor]}).encode()
        answer = client.post(
            "/v2/models/text/infer",
            content=head + len(text).to_bytes(4, "little") + text,
            headers={LENGTH: str(len(head))},
        )
        assert answer.json()["outputs"][0]["data"] == ["안녕"]


@pytest.mark.parametrize(
    ("value", "found"), [("a b", "other text in element 1"), ("/w==", "other bytes in element 1")]
)
def test_what_is_not_the_declared_base64_is_refused(client, value, found):
    tensor = {**WORDS, "data": ["aGVsbG8=", value], "parameters": {"content_type": "base64"}}
    answer = infer(client, "text", tensor)
    assert answer.status_code == 400
    assert found in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "fields", "text"),
    [
        ({"parameters": {"content_type": "datetime"}}, {}, "parameters.content_type`: expected `np`"),
        ({"parameters": {"content_type": "base64"}}, {}, "expected `np`, found `base64`"),
        ({"parameters": {"scale": 2}}, {}, "found `scale`"),
        ({}, {"parameters": {"sequence_id": 7}}, "found `sequence_id` = `7`"),
        ({}, {"parameters": {"timeout": 1000}}, "found `timeout` = `1000`"),
        ({}, {"parameters": {"temperature": 0.5}}, "found `temperature`"),
        ({}, {"parameters": {"content_type": "json"}}, "found `json`"),
        ({}, {"outputs": [{"name": "label", "parameters": {"shared_memory_region": "a"}}]}, "shared memory"),
        ({}, {"outputs": [{"name": "label", "parameters": {"content_type": "base64"}}]}, "`base64`"),
        ({}, {"outputs": [{"name": "label", "parameters": {"top_k": 1}}]}, "found `top_k`"),
        ({}, {"outputs": [{"name": "label", "params": {}}]}, "`params`"),
        ({}, {"model_name": "wine"}, "`$.model_name`: expected `iris`, found `wine`"),
        ({}, {"model_version": "2"}, "`$.model_version`: expected `3`, found `2`"),
    ],
)
def test_a_parameter_that_is_not_honoured_is_refused(client, change, fields, text):
    answer = infer(client, "iris", {**IRIS, **change}, **fields)
    assert answer.status_code == 400, answer.text
    assert text in answer.json()["error"]


def test_what_clients_state_without_asking_for_anything_is_taken(client):
    tensor = {**IRIS, "parameters": {"content_type": "np"}}
    neutral = {"sequence_id": 0, "sequence_start": False, "sequence_end": False, "priority": 0, "timeout": 0}
    answer = infer(
        client,
        "iris",
        tensor,
        parameters={**neutral, "content_type": "np"},
        outputs=[{"name": "label", "parameters": {"content_type": "np"}}],
        model_name="iris",
        model_version="live",
    )
    assert answer.status_code == 200, answer.text


def test_zero_point_zero_is_no_sequence():
    with pytest.raises(BodyInvalid, match="sequence_id"):
        check_request({"sequence_id": 0.0}, ())


def test_grpc_honours_or_refuses_the_same(versions):
    words = [text.encode() for text in WORDS["data"]]
    tensor = {"name": "x", "shape": [2], "datatype": "BYTES", "contents": {"bytes_contents": words}}
    declared = {**tensor, "parameters": {"content_type": {"string_param": "base64"}}}

    def refused(**fields) -> str:
        with pytest.raises(grpc.RpcError) as error:
            ask(channel, "ModelInfer", model_name="text", **fields)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        return error.value.details()

    with grpc_serving(plane_of(*versions)) as (channel, _):
        answer, _ = ask(channel, "ModelInfer", model_name="text", inputs=[declared])
        assert list(answer.outputs[0].contents.bytes_contents) == [b"hello", "안녕".encode()]
        other = {"parameters": {"sequence_id": {"int64_param": 7}}}
        assert "`sequence_id` = `7`" in refused(inputs=[tensor], **other)
        assert "`scale`" in refused(inputs=[{**tensor, "parameters": {"scale": {"double_param": 2}}}])
        shared = {"name": "y", "parameters": {"shared_memory_region": {"string_param": "a"}}}
        assert "shared memory" in refused(inputs=[tensor], outputs=[shared])
        with pytest.raises(grpc.RpcError, match="repository_name"):
            ask(channel, "RepositoryIndex", repository_name="other")


def test_the_size_of_raw_contents_may_be_stated_over_grpc(versions):
    raw = b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in WORDS["data"])

    def sent(size: int, *contents: bytes) -> dict[str, Any]:
        size_of = {"parameters": {"binary_data_size": {"int64_param": size}}}
        tensor = {"name": "x", "shape": [2], "datatype": "BYTES", **size_of}
        return {"model_name": "text", "inputs": [tensor], "raw_input_contents": list(contents)}

    with grpc_serving(plane_of(*versions)) as (channel, _):
        answer, _ = ask(channel, "ModelInfer", **sent(len(raw), raw))
        assert answer.outputs[0].shape == [2]
        for contents, words in (([raw], f"expected 3 bytes, .* found {len(raw)} bytes"), ([], "none")):
            with pytest.raises(grpc.RpcError, match=words) as error:
                ask(channel, "ModelInfer", **sent(3, *contents))
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
