"""Frames of the prediction log: what comes out is what went in, however the bytes arrive."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from lading.log_frames import (
    Answers,
    FrameReader,
    Labels,
    Receipt,
    Texts,
    decode_receipts,
    encode_frame,
    encode_receipts,
    field_names,
    part_of,
    times_to_bytes,
    values_of,
)
from lading.signature import Tensor


def answers(parts, rows=(1, 2)) -> Answers:
    count = len(rows)
    return Answers(
        model="iris",
        version=3,
        digest="sha256:ab",
        release=7,
        replica="host-1",
        ids=[b"a%d" % at for at in range(count)],
        rows=list(rows),
        side="live",
        statuses=[200],
        errors=[],
        latencies_s=times_to_bytes([0.5] * count),
        ended_at=times_to_bytes([1.5] * count),
        warnings=[],
        parts=parts,
    )


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32", "float64"])
def test_arrays_come_out_bit_for_bit(dtype):
    array = np.random.default_rng(0).integers(0, 2, (3, 2, 2)).astype(dtype)
    part, data = part_of("inputs", "x", array)
    frame, body = next(FrameReader().feed(encode_frame(answers([part]), [data])))
    ((_, values),) = values_of(frame, body)
    assert values.dtype == array.dtype
    assert values.tobytes() == array.tobytes()
    assert values.shape == array.shape


@pytest.mark.parametrize("texts", [["a", "", "bc"], ["Zürich", "서울", ""]])
def test_texts_come_out_with_their_lengths_in_bytes(texts):
    part, data = part_of("inputs", "city", np.array(texts, dtype=object))
    frame, body = next(FrameReader().feed(encode_frame(answers([part]), [data])))
    ((_, values),) = values_of(frame, body)
    assert isinstance(values, Texts)
    data, starts = bytes(values.data), np.cumsum(values.lengths) - values.lengths
    pieces = zip(starts.tolist(), values.lengths.tolist(), strict=True)
    assert [data[start : start + length].decode() for start, length in pieces] == texts


def test_frames_may_come_in_any_pieces():
    part, data = part_of("inputs", "x", np.arange(3.0))
    stream = encode_frame(answers([part]), [data]) + encode_frame(Labels("iris", [b"a"], [("x",)], [2.0]))
    reader = FrameReader()
    frames = [frame for byte in stream for frame, _ in reader.feed(bytes([byte]))]
    assert [type(frame) for frame in frames] == [Answers, Labels]
    assert [frame.records for frame in frames] == [3, 1]


def test_bytes_that_are_no_frame_are_refused():
    with pytest.raises(ValueError, match="no frame"):
        list(FrameReader().feed(b"GET / HTTP/1.1\r\n"))
    broken = bytearray(encode_frame(Labels("iris", [b"a"], [("x",)], [2.0])))
    broken[12:16] = b"\xff" * 4
    with pytest.raises((ValueError, msgspec.DecodeError)):
        list(FrameReader().feed(bytes(broken)))


def test_receipts_are_one_line():
    receipts = [Receipt("iris", 3, "", 5), Receipt("iris", 3, "disk_full", 1)]
    line = encode_receipts(receipts)
    assert line.count(b"\n") == 1
    assert decode_receipts(line) == receipts


def test_a_field_is_a_column_or_a_tensor_and_no_two_have_one_name():
    tensors = (
        Tensor(name="X", dtype="float32", shape=("batch", 2), columns=("age", "size")),
        Tensor(name="Y", dtype="float32", shape=("batch", 1)),
        Tensor(name="Z", dtype="float32", shape=("batch", 2), columns=("age", "Y")),
        Tensor(name="image", dtype="uint8", shape=("batch", 8, 8)),
    )
    assert field_names(tensors) == {
        "X": ("X.age", "size"),
        "Y": ("Y.Y",),
        "Z": ("Z.age", "Z.Y"),
        "image": (),
    }
