"""Tensors as raw bytes, and classes as strings."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from lading.errors import BodyInvalid
from lading.server.protocols.oip.tensors import DATATYPES, from_bytes, raw_shape, to_bytes
from lading.signature import DTYPES, Tensor
from support.echo_models import values_of
from support.open_inference import infer, infer_binary, split_binary, tensor_json


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_datatype_comes_back_as_bytes(client, dtype):
    values = values_of(dtype, (5, 3))
    data = to_bytes(values)
    tensor = tensor_json(values, dtype, parameters={"binary_data_size": len(data)})
    head = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    answer = infer_binary(client, f"echo-{dtype}", head, data)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    document, rest = split_binary(answer)
    (output,) = document["outputs"]
    assert output["parameters"] == {"binary_data_size": len(data)}
    assert "data" not in output
    assert rest == data


def test_an_array_at_an_odd_address_is_read_correctly(client):
    values = values_of("float64", (5, 3))
    tensor = tensor_json(values, "float64", parameters={"binary_data_size": values.nbytes})
    for pad in range(8):
        head = {"inputs": [tensor], "id": "x" * (pad + 1), "parameters": {"binary_data_output": True}}
        _, rest = split_binary(infer_binary(client, "echo-float64", head, values.tobytes()))
        assert rest == values.tobytes()


def test_bytes_that_do_not_match_their_declaration_are_refused(client):
    def refused(dtype: str, data: bytes, declared: int | None = None) -> str:
        size = len(data) if declared is None else declared
        tensor = {"name": "x", "shape": [1, 3], "datatype": DATATYPES[dtype]}
        head = {"inputs": [{**tensor, "parameters": {"binary_data_size": size}}]}
        answer = infer_binary(client, f"echo-{dtype}", head, data)
        assert answer.status_code == 400
        return answer.json()["error"]

    assert "12 bytes" in refused("float32", b"\0" * 8)
    assert "another byte" in refused("bool", b"\0\1\2")
    text = struct.pack("<I", 1) + b"a"
    assert "3 strings" in refused("string", text)
    assert "bytes" in refused("string", text * 2 + struct.pack("<I", 2**31) + b"a")
    assert "UTF-8" in refused("string", text * 2 + struct.pack("<I", 1) + b"\xff")
    assert "in 3 strings" in refused("string", text * 4)


def test_classification_answers_the_best_values_with_index_and_label(client):
    row = {"name": "X", "shape": [2, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2, 1, 2, 3, 4]}
    selected = {"name": "probabilities", "parameters": {"classification": 2}}
    (output,) = infer(client, "iris", row, outputs=[selected]).json()["outputs"]
    assert output["datatype"] == "BYTES"
    assert output["shape"] == [2, 2]
    value, index, label = output["data"][0].split(":")
    assert label == ["setosa", "versicolor", "virginica"][int(index)]
    assert len(value.partition(".")[2]) == 6
    assert float(value) >= float(output["data"][1].split(":")[0])


def test_raw_bytes_are_read_in_place():

    data = np.arange(6, dtype=np.float32).tobytes()
    array = from_bytes(Tensor(name="x", dtype="float32", shape=("batch", 3)), [2, 3], data)
    assert not array.flags.owndata
    assert not array.flags.writeable


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        (("batch", 4), 16, [1, 4]),
        (("batch", "length"), 12, [1, 3]),
        (("batch", "length", 2), 24, [1, 3, 2]),
        (("length",), 0, [0]),
        ((), 4, []),
    ],
)
def test_the_length_of_a_raw_body_gives_one_row_and_one_dynamic_dimension(shape, size, expected):
    assert raw_shape(Tensor(name="x", dtype="float32", shape=shape), size) == expected


def test_two_dynamic_dimensions_do_not_follow_from_a_length():
    with pytest.raises(BodyInvalid, match="at most one dynamic dimension"):
        raw_shape(Tensor(name="x", dtype="float32", shape=("batch", "length", "width")), 24)
