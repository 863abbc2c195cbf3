"""Predictions on their way to the prediction log, as bytes: what a server sends, and what the writer reads.

Columns go as they are in memory, so that neither side looks at single values; texts go with their lengths.
Opens no socket and no file, and knows neither a server nor Arrow.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from lading.signature import Array, Tensor

MOST_FRAME_BYTES = 8 * 2**20
"""A frame is no larger, so that what the writer takes in memory has a bound."""

LABELS_VERSION = -1
"""Stands in receipts for the version: labels are about answers of any."""

# Magic, bytes of the header, bytes of the body. The magic shows a stream that was joined in its middle.
_PREFIX = struct.Struct("<4sII")
_MAGIC = b"LPL1"
_LENGTH = np.dtype("<i4")


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One array of a frame, ``[rows, *shape]`` with `size_bytes` bytes of the body.

    ``columns`` names the entries of its last axis, each a field of the record; without them the array is one
    field, ``name``. ``dtype`` is that of numpy, or ``string``.
    """

    group: str  # "inputs" or "outputs"
    name: str
    columns: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


class Answers(msgspec.Struct, frozen=True, array_like=True, tag="answers"):
    """Requests that one version has answered, and their rows one after the other.

    The lists have an entry for each request; ``rows`` is how many rows it had. ``statuses`` has one entry if
    all have the same, ``errors`` and ``warnings`` none if no request has any. Seconds, and Unix times of the
    answers, are float64 as they are in memory (`times_of`).
    """

    model: str
    version: int
    digest: str
    release: int
    replica: str
    ids: list[bytes]
    rows: list[int]
    side: str
    statuses: list[int | str]
    errors: list[str]
    latencies_s: bytes
    ended_at: bytes
    warnings: list[list[str]]
    parts: list[Part]

    @property
    def records(self) -> int:
        """How many records it becomes: one for each row."""
        return sum(self.rows)


class Labels(msgspec.Struct, frozen=True, array_like=True, tag="labels"):
    """The truth about answers of one model: of each its id, a label for each row, and when it came."""

    model: str
    ids: list[bytes]
    labels: list[tuple[str, ...]]
    came_at: list[float]

    @property
    def records(self) -> int:
        """How many records it becomes: one for each label."""
        return sum(map(len, self.labels))


Frame = Answers | Labels


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """Records that the writer has received: written if `reason` is empty, else dropped."""

    model: str
    version: int
    reason: str
    records: int


class WriterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the writer is started with: the log's place, its limits, and how it cuts files.

    A segment is closed at ``segment_s`` or ``segment_bytes``; ``flush_s`` is the most that a crash loses.
    ``spool`` is the folder where files for a bucket are made and wait, at most ``spool_bytes`` of them.
    """

    url: str
    max_age_days: float
    max_bytes: int
    spool: str = ""
    spool_bytes: int = 2 * 2**30
    segment_s: float = 300.0
    segment_bytes: int = 64 * 2**20
    flush_s: float = 0.5
    log_level: str = "info"
    log_format: str = "text"


def times_to_bytes(seconds: Sequence[float]) -> bytes:
    """Return seconds as they are in a frame."""
    return array("d", seconds).tobytes()


def times_of(data: bytes) -> Array:
    """Return the float64 of `times_to_bytes`."""
    return np.frombuffer(data, np.float64)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Answers | Labels)
_receipts_decoder = msgspec.json.Decoder(list[Receipt])


def encode_frame(frame: Frame, body: Sequence[bytes] = ()) -> bytes:
    """Return the bytes of a frame; `body` has those of its parts, in order."""
    header = _encoder.encode(frame)
    # One copy into one buffer: the queue then holds nothing of the request's own memory.
    prefix = _PREFIX.pack(_MAGIC, len(header), sum(map(len, body)))
    return b"".join((prefix, header, *body))


def encode_receipts(receipts: Sequence[Receipt]) -> bytes:
    """Return receipts as one line."""
    return msgspec.json.encode(receipts) + b"\n"


def decode_receipts(line: bytes) -> list[Receipt]:
    """Return the receipts of one line."""
    return _receipts_decoder.decode(line)


def part_of(group: str, name: str, array: Array, columns: tuple[str, ...] = ()) -> tuple[Part, bytes]:
    """Return an array ``[rows, *shape]`` as a part and its bytes."""
    if array.dtype.kind == "O":
        data, dtype = _text_bytes(array), "string"
    else:
        data, dtype = array.tobytes(), array.dtype.name
    return Part(group, name, columns, dtype, array.shape[1:], len(data)), data


class Texts(NamedTuple):
    """Texts one after the other: the length of each in bytes of UTF-8, and the bytes of all."""

    lengths: Array
    data: memoryview


def values_of(frame: Answers, body: memoryview) -> Iterator[tuple[Part, Array | Texts]]:
    """Iterate over the parts of a frame with their values, which are views of `body`.

    Raises `ValueError` if the body does not have what its header says.
    """
    start, rows = 0, frame.records
    for part in frame.parts:
        data = body[start : start + part.size_bytes]
        start += part.size_bytes
        if part.dtype == "string":
            count = rows * math.prod(part.shape)
            at = count * _LENGTH.itemsize
            yield part, Texts(np.frombuffer(data[:at], dtype=_LENGTH, count=count), data[at:])
        else:
            yield part, np.frombuffer(data, dtype=part.dtype).reshape(rows, *part.shape)


class FrameReader:
    """Cuts a stream of bytes into frames; keeps the start of an incomplete one."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Frame, memoryview]]:
        """Iterate over the frames that `data` completes, each with its body.

        Raises `ValueError` (`msgspec.DecodeError` among them) for bytes that are no frames.
        """
        rest, at = self._rest, 0
        rest += data
        try:
            while len(rest) - at >= _PREFIX.size:
                magic, header_bytes, body_bytes = _PREFIX.unpack_from(rest, at)
                if magic != _MAGIC or header_bytes + body_bytes > 2 * MOST_FRAME_BYTES:
                    raise ValueError("no frame of the prediction log")
                body_at = at + _PREFIX.size + header_bytes
                end = body_at + body_bytes
                if len(rest) < end:
                    return
                # Copies of their own: the views that are made of them outlive the buffer.
                with memoryview(rest) as view:
                    header, body = bytes(view[at + _PREFIX.size : body_at]), bytes(view[body_at:end])
                at = end
                yield _decoder.decode(header), memoryview(body)
        finally:
            del rest[:at]  # Once: what is behind it moves.


def _text_bytes(array: Array) -> bytes:
    """Return the int32 length in bytes of each text, followed by the bytes of all."""
    texts = array.ravel().tolist()
    data = "".join(texts).encode("utf-8", "replace")
    lengths = list(map(len, texts))
    if sum(lengths) != len(data):  # Not ASCII alone: bytes are counted, and not characters.
        lengths = [len(text.encode("utf-8", "replace")) for text in texts]
    return np.array(lengths, _LENGTH).tobytes() + data


def field_names(tensors: Sequence[Tensor]) -> dict[str, tuple[str, ...]]:
    """Return, by tensor, the fields of a record that have its values.

    A tensor with named columns has a field for each, a tensor of one value in a row one of its own name, and
    any other one none: its rows are one field, as lists. Names that occur twice get their tensor's in front.
    """
    # Of tensors without named columns the whole is one field, which has the tensor's name.
    names = {tensor.name: _own_names(tensor) for tensor in tensors}
    times = Counter(name for tensor, fields in names.items() for name in fields or (tensor,))
    return {
        tensor: tuple(f"{tensor}.{name}" if times[name] > 1 else name for name in fields)
        for tensor, fields in names.items()
    }


def _own_names(tensor: Tensor) -> tuple[str, ...]:
    if tensor.columns:
        return tensor.columns
    return (tensor.name,) if tensor.batched and tensor.shape[1:] == (1,) else ()
