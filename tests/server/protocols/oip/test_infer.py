"""Bodies of `infer` over REST: JSON, bytes behind it, both mixed, or nothing but bytes."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.open_inference import FLOAT_ROW, LENGTH, infer, infer_binary, split_binary, tensor_json


def test_one_input_as_json_and_one_as_bytes_go_together(client):
    a, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.full((3, 2), 0.5, np.float32)
    head = {
        "id": "42",
        "inputs": [
            tensor_json(a, "float32", "a", data=a.tolist()),
            tensor_json(b, "float32", "b", parameters={"binary_data_size": b.nbytes}),
        ],
        "outputs": [{"name": "rest", "parameters": {"binary_data": True}}, {"name": "total"}],
    }
    document, rest = split_binary(infer_binary(client, "sum", head, b.tobytes()))
    assert document["id"] == "42"
    assert [output["name"] for output in document["outputs"]] == ["rest", "total"]
    np.testing.assert_array_equal(np.frombuffer(rest, np.float32).reshape(3, 2), a - b)
    assert document["outputs"][1]["data"] == (a + b).reshape(-1).tolist()


def test_a_remembered_json_is_answered_by_the_bytes_of_each_request(client):
    zeros = np.zeros((2, 2), np.float32)
    size = {"parameters": {"binary_data_size": zeros.nbytes}}
    inputs = [tensor_json(zeros, "float32", "b", **size), tensor_json(zeros, "float32", "a", **size)]
    outputs = [{"name": "rest", "parameters": {"binary_data": True}}]
    for number in range(4):
        a, b = zeros + number, zeros + 10 * number
        head = {"inputs": inputs, "outputs": outputs, **({"id": "7"} if number == 2 else {})}
        document, rest = split_binary(infer_binary(client, "sum", head, b.tobytes(), a.tobytes()))
        assert document.get("id") == ("7" if number == 2 else None)
        np.testing.assert_array_equal(np.frombuffer(rest, np.float32).reshape(2, 2), a - b)
    head = {"inputs": inputs, "outputs": outputs}
    for body, text in ((b"\0" * 28, "16 bytes"), (b"\0" * 36, "32 bytes behind the JSON")):
        refused = infer_binary(client, "sum", head, body)
        assert refused.status_code == 400
        assert text in refused.json()["error"]
    spoilt = np.full((2, 2), np.nan, np.float32).tobytes()
    assert "NaN" in infer_binary(client, "sum", head, spoilt, spoilt).json()["error"]


def test_the_parameter_of_an_output_wins_over_that_of_the_request(client):
    a = np.ones((1, 2), np.float32)
    answer = infer(
        client,
        "sum",
        tensor_json(a, "float32", "a", data=[1, 1]),
        tensor_json(a, "float32", "b", data=[1, 1]),
        parameters={"binary_data_output": True, "content_type": "np", "priority": 0},
        outputs=[{"name": "total", "parameters": {"binary_data": False}}],
        id=None,  # As clients write it that write every field.
    )
    assert LENGTH not in answer.headers
    assert answer.json()["outputs"] == [
        {"name": "total", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 2.0]}
    ]
    assert "id" not in answer.json()


def test_a_raw_body_is_one_row_and_is_answered_raw(client):
    row = np.array([5.1, 3.5, 1.4, 0.2], np.float32)
    answer = client.post("/v2/models/iris/infer", content=row.tobytes(), headers={LENGTH: "0"})
    document, rest = split_binary(answer)
    assert [output["shape"] for output in document["outputs"]] == [[1], [1, 3]]
    assert len(rest) == 8 + 12


def test_the_length_of_a_raw_body_determines_one_dynamic_dimension(client):
    values = np.arange(7)
    answer = client.post("/v2/models/row/infer", content=values.tobytes(), headers={LENGTH: "0"})
    document, rest = split_binary(answer)
    assert document["outputs"][0]["shape"] == [7]
    assert rest == values.tobytes()


def test_raw_bodies_of_undetermined_shape_are_refused(client):
    for model, body in (("iris", b"123"), ("sum", b"12345678"), ("echo-string", b"text")):
        answer = client.post(f"/v2/models/{model}/infer", content=body, headers={LENGTH: "0"})
        assert answer.status_code == 400, model
        assert answer.json().keys() == {"error"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": "z"}, "`z`"),
        ({"datatype": "FP64"}, "expected datatype `FP32`, found `FP64`"),
        ({"datatype": "float"}, "`float`"),
        ({"shape": [1, 4]}, "[1, 4]"),
        ({"shape": [3]}, "[3]"),
        ({"shape": [-1, 3]}, "[-1, 3]"),
        ({"shape": [0, 3], "data": []}, "row"),
        ({"shape": [2, 3]}, "expected 6 values at `$.inputs[0].data`, found 3"),
        ({"shape": [2**40, 3]}, "found 3"),
        ({"shape": ["1", 3]}, "shape"),
        ({"data": [1, "2", 3]}, "a string at `$.inputs[0].data[1]`"),
        ({"data": [[1, 2, "x"]]}, "a string at `$.inputs[0].data[0][2]`"),
        ({"data": [1, None, 3]}, "null at `$.inputs[0].data[1]`"),
        ({"data": [1, 1e39, 3]}, "1e+39"),
        ({"data": [1, True, 3]}, "true at `$.inputs[0].data[1]`"),
        ({"data": "text"}, "a string at `$.inputs[0].data`"),
        ({"data": None}, "null at `$.inputs[0].data`"),
        ({"data": {}}, "an object"),
        ({"parameters": {"binary_data_size": -1}}, "binary_data_size"),
        ({"parameters": {"binary_data_size": "12"}}, "binary_data_size"),
        ({"parameters": {"binary_data_size": 12}}, "expected `data` or `binary_data_size`, found both"),
        ({"parameters": {"binary_data_size": 12}, "data": None}, "0 bytes behind the JSON"),
        ({"content_type": "base64"}, "unknown field `content_type` - at `$.inputs[0]`"),
        ({"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 12}}, "shared memory"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_its_place(client, change, text):
    answer = infer(client, "echo-float32", {**FLOAT_ROW, **change})
    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"error"}
    assert text in answer.json()["error"]


@pytest.mark.parametrize(
    ("more", "status", "text"),
    [
        ({"outputs": [{"name": "z"}]}, 400, "`z`"),
        ({"outputs": "y"}, 400, "outputs"),
        ({"inputs": []}, 400, "`x`"),
        ({"inputs": [FLOAT_ROW, FLOAT_ROW]}, 400, "again"),
        ({"inputs": [{key: FLOAT_ROW[key] for key in ("name", "shape", "datatype")}]}, 400, "found neither"),
        ({"inputs": [{**FLOAT_ROW, "shape": [2**70, 3]}]}, 400, "shape"),
        ({"inputs": {}}, 400, "inputs"),
        ({"id": 3}, 400, "id"),
        ({"parameters": {"binary_data_output": "yes"}}, 400, "binary_data_output"),
        ({"outputs": [{"name": "y", "parameters": {"classification": -1}}]}, 400, "classification"),
    ],
)
def test_a_body_of_another_form_is_refused(client, more, status, text):
    answer = client.post("/v2/models/echo-float32/infer", {"inputs": [FLOAT_ROW], **more})
    assert answer.status_code == status
    assert text in answer.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "99999", "1.5"])
def test_a_wrong_header_length_is_refused(client, length):
    answer = client.post("/v2/models/echo-float32/infer", {"inputs": [FLOAT_ROW]}, headers={LENGTH: length})
    assert answer.status_code == 400
    assert "inference-header-content-length" in answer.json()["error"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_the_header_length_counts_the_uncompressed_body(client, encoding):
    values = np.array([1.5, -2.5, 4.0], np.float32).tobytes()
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32"}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(values)}}]}).encode()
    packed = {"gzip": gzip, "deflate": zlib}[encoding].compress(head + values)
    headers = {LENGTH: str(len(head)), "content-encoding": encoding}
    answer = client.post("/v2/models/echo-float32/infer", content=packed, headers=headers)
    assert answer.json()["outputs"][0]["data"] == [1.5, -2.5, 4.0]


@pytest.mark.slow
@given(st.binary(max_size=200), st.sampled_from(["", "0", "5", "50"]))
@settings(max_examples=150)
def test_no_body_breaks_the_server(client, body, length):
    answer = client.post(
        "/v2/models/echo-string/infer", content=body, headers={LENGTH: length} if length else {}
    )
    assert 400 <= answer.status_code < 500
