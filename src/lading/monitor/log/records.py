"""Frames of the server as Arrow: a record for each row, its inputs and outputs as structs. Writes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lading.log_frames import Answers, Labels, Part, Texts, times_of, values_of
from lading.monitor.log.layout import ANSWER_FIELDS, LABEL_SCHEMA, TIME, Contents, hour_of
from lading.signature import Array

_OFFSET = np.dtype("<i4")
_US = 1_000_000


def answer_batches(frame: Answers, body: memoryview) -> Iterator[tuple[Contents, pa.RecordBatch]]:
    """Iterate over the records of answered requests, by hour. Raises `ValueError` for another body."""
    counts = np.asarray(frame.rows)
    total = int(counts.sum())
    # Most requests have one row; then nothing has to be repeated.
    single = total == len(frame.rows) and bool((counts == 1).all())
    of_request = None if single else pa.array(np.repeat(np.arange(len(counts)), counts))
    rows = (
        np.zeros(total, np.int32)
        if single
        else (np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)).astype(np.int32)
    )

    def spread(values: pa.Array) -> pa.Array:
        """Return values of requests as values of rows."""
        return values if of_request is None else values.take(of_request)

    times = np.rint(times_of(frame.ended_at) * _US).astype(np.int64)
    columns = [
        spread(_ids(frame.ids)),
        pa.array(rows),
        spread(pa.array(times).cast(TIME)),
        pa.repeat(pa.scalar(frame.side, pa.string()), total),
        *(spread(column) for column in _outcomes(frame)),
    ]
    fields = list(ANSWER_FIELDS)
    for group in ("inputs", "outputs"):
        struct = _struct(frame, body, group)
        if struct is not None:
            columns.append(struct)
            fields.append(pa.field(group, struct.type))
    batch = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
    for hour, part in _by_hour(batch, "time", times):
        yield (
            Contents(
                kind="answers",
                model=frame.model,
                hour=hour,
                version=frame.version,
                digest=frame.digest,
                release=frame.release,
                replica=frame.replica,
            ),
            part,
        )


def _ids(ids: list[bytes]) -> pa.StringArray:
    data = b"".join(ids)
    if data.isascii():  # As all that servers make: the bytes are the text, and no id is looked at by itself.
        return _flat_texts(Texts(np.fromiter(map(len, ids), _OFFSET, len(ids)), memoryview(data)))
    # Latin-1 has a character for each byte, as the header of the request may have had any.
    return pa.array([request.decode("latin-1") for request in ids], pa.string())


def _outcomes(frame: Answers) -> Iterator[pa.Array]:
    """Iterate over status, error, latency and warnings of each request."""
    count, kind = len(frame.ids), pa.list_(pa.string())
    if len(frame.statuses) == 1:
        yield pa.repeat(pa.scalar(str(frame.statuses[0]), pa.string()), count)
    else:
        yield pa.array(list(map(str, frame.statuses)), pa.string())
    if frame.errors:
        yield pa.array([error or None for error in frame.errors], pa.string())
    else:
        yield pa.nulls(count, pa.string())
    yield pa.array(times_of(frame.latencies_s))
    yield pa.array(frame.warnings, kind) if frame.warnings else pa.nulls(count, kind)


def label_batches(frame: Labels) -> Iterator[tuple[Contents, pa.RecordBatch]]:
    """Iterate over the records of labels, by the hour in which they came."""
    counts = list(map(len, frame.labels))
    times = np.rint(np.repeat(np.asarray(frame.came_at), counts) * _US).astype(np.int64)
    columns = [
        pa.array(
            [
                request.decode("latin-1")
                for request, count in zip(frame.ids, counts, strict=True)
                for _ in range(count)
            ],
            pa.string(),
        ),
        pa.array([row for count in counts for row in range(count)], pa.int32()),
        pa.array([label for labels in frame.labels for label in labels], pa.string()),
        pa.array(times).cast(TIME),
    ]
    batch = pa.RecordBatch.from_arrays(columns, schema=LABEL_SCHEMA)
    for hour, part in _by_hour(batch, "labelled_at", times):
        yield Contents(kind="labels", model=frame.model, hour=hour), part


def _by_hour(batch: pa.RecordBatch, column: str, times: Array) -> Iterator[tuple[int, pa.RecordBatch]]:
    if not len(times):
        return
    first, last = hour_of(int(times.min())), hour_of(int(times.max()))
    if first == last:  # But for the turn of an hour.
        yield first, batch
        return
    hours = pc.divide(batch.column(column).cast(pa.int64()), 3600 * _US)
    for hour in pc.unique(hours).to_pylist():
        yield hour * 3600, batch.filter(pc.equal(hours, hour))


def _struct(frame: Answers, body: memoryview, group: str) -> pa.StructArray | None:
    """Return the inputs or outputs of all rows, or None if the frame has none."""
    arrays, names = [], []
    for part, values in values_of(frame, body):
        if part.group == group:
            for name, array in _fields(part, values, frame.records):
                names.append(name)
                arrays.append(array)
    return pa.StructArray.from_arrays(arrays, names) if arrays else None


def _fields(part: Part, values: Array | Texts, rows: int) -> Iterator[tuple[str, pa.Array]]:
    flat = _flat_texts(values) if isinstance(values, Texts) else None
    if not part.columns:
        leaf = flat if flat is not None else pa.array(np.asarray(values).ravel())
        yield part.name, _nested(leaf, rows, part.shape)
        return
    width = len(part.columns)
    for at, name in enumerate(part.columns):
        if flat is not None:
            leaf = flat if width == 1 else flat.take(pa.array(np.arange(at, len(flat), width)))
        else:
            assert isinstance(values, np.ndarray)  # No texts.
            # A column of a matrix is not contiguous, and Arrow would copy it value by value.
            leaf = pa.array(np.ascontiguousarray(values[..., at]).ravel())
        yield name, _nested(leaf, rows, part.shape[:-1])


def _flat_texts(texts: Texts) -> pa.StringArray:
    offsets = np.zeros(len(texts.lengths) + 1, _OFFSET)
    np.cumsum(texts.lengths, out=offsets[1:])
    return pa.StringArray.from_buffers(
        len(texts.lengths), pa.py_buffer(offsets.tobytes()), pa.py_buffer(bytes(texts.data))
    )


def _nested(leaf: pa.Array, rows: int, shape: tuple[int, ...]) -> pa.Array:
    """Return the values of `rows` rows of `shape` as lists of lists; as they are if a row has one value."""
    # From the innermost axis outwards.
    for axis in range(len(shape) - 1, -1, -1):
        count = rows * math.prod(shape[:axis])
        offsets = pa.array(np.arange(count + 1, dtype=np.int32) * np.int32(shape[axis]))
        leaf = pa.ListArray.from_arrays(offsets, leaf)
    return leaf
