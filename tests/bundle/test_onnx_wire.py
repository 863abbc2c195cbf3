"""The protobuf wire format, field by field."""

from __future__ import annotations

import pytest

from lading.bundle.onnx_wire import encode_varint, read_fields
from lading.errors import (
    ModelInvalid,
)


def field(number: int, wire: int, body: bytes) -> bytes:
    return encode_varint(number << 3 | wire) + body


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1])
def test_a_number_is_read_as_it_was_written(value):
    data = field(1, 0, encode_varint(value))
    assert [
        (number, number_value) for number, _, _, number_value in read_fields(data, 0, len(data), (), (1,))
    ] == [(1, value)]


def test_only_the_named_fields_are_returned():
    text = field(2, 2, encode_varint(3) + b"abc")
    data = field(1, 0, b"\x05") + text + field(3, 1, bytes(8)) + field(4, 5, bytes(4)) + text
    places = [(number, data[start:end]) for number, start, end, _ in read_fields(data, 0, len(data), (2,))]
    assert places == [(2, b"abc"), (2, b"abc")]


def test_a_long_run_of_one_field_is_skipped():
    data = field(1, 0, b"\x05") * 100_000 + field(2, 2, b"\x01a")
    assert [number for number, *_ in read_fields(data, 0, len(data), (2,))] == [2]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",  # field 0
        b"\x0b",  # a group, which is deprecated
        b"\x0a\x05a",  # longer than the message
        b"\x08" + b"\xff" * 11,  # a number without end
        b"\xff\xff\xff\xff\xff\x01",  # a tag beyond 32 bits
    ],
)
def test_malformed_bytes_are_refused(data):
    with pytest.raises(ModelInvalid, match="expected an ONNX model"):
        list(read_fields(data, 0, len(data), (1,), (1,)))
