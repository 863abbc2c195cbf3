"""What is measured of a tensor: which columns it has, and the values of each in a batch of rows.

Named columns and positions are measured one by one, up to a thousand of them. Of larger rows, such as images
and embeddings, and beside many unnamed positions, summaries of a row are measured: its norm, its mean, the
mean of each channel, and projections onto fixed directions. Counts nothing; `measure` does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lading.signature import Array, Signature, Tensor

MOST_POSITIONS = 1000
SUMMARISED_FROM = 33
"""Rows of at least so many unnamed numbers are summarised, too: no position of them means much by itself."""

MOST_CHANNELS = 4
PROJECTIONS = 8
CONFIDENCE = "confidence"

_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of a column come from; the fields are those of `ColumnProfile`."""

    tensor: str
    name: str
    position: int = -1
    summary: str = ""


def sources(tensor: Tensor, *, is_output: bool = False) -> Iterator[Source]:
    """Return the columns of one input or output, in the order of a row; none of what cannot be measured."""
    name, row = tensor.name, tensor.shape[1:] if tensor.batched else tensor.shape
    size = _size(row)
    if tensor.scalar_rows or size == 1:
        yield Source(name, tensor.columns[0] if tensor.columns else name, 0 if row else -1)
        return
    if size and len(row) == 1 and size <= MOST_POSITIONS:
        for at in range(size):
            yield Source(name, tensor.columns[at] if tensor.columns else f"{name}[{at}]", at)
    if tensor.dtype == "string":
        return
    if is_output and name == "probabilities":
        yield Source(name, f"{CONFIDENCE} of {name}", summary=CONFIDENCE)
    elif not tensor.columns and (size == 0 or size >= SUMMARISED_FROM or len(row) > 1):
        yield from _summaries(name, row)


def _size(row: tuple[int | str, ...]) -> int:
    """Return how many values a row has, 0 if its sizes are open."""
    size = 1
    for length in row:
        if not isinstance(length, int):
            return 0
        size *= length
    return size


def _summaries(name: str, row: tuple[int | str, ...]) -> Iterator[Source]:
    yield Source(name, f"norm of {name}", summary="norm")
    yield Source(name, f"mean of {name}", summary="mean")
    if len(row) == 3:
        axis = channel_axis(row)
        if axis is not None:
            for channel in range(int(row[axis])):
                yield Source(name, f"mean of channel {channel} of {name}", channel, "channel")
    if any(not isinstance(length, int) for length in row):
        yield Source(name, f"values in {name}", summary="length")
    elif len(row) == 1:
        for at in range(PROJECTIONS):
            yield Source(name, f"projection {at} of {name}", at, "projection")


def channel_axis(row: tuple[int | str, ...]) -> int | None:
    """Return the axis of the channels in a row with the shape of an image, or None if it is none."""
    for axis in (0, 2):
        length = row[axis]
        if isinstance(length, int) and 1 <= length <= MOST_CHANNELS:
            return axis
    return None


def values(source: Source, array: Array, tensor: Tensor) -> Array:
    """Return the values of one column in a batch of rows: ``[rows]``.

    A tensor without a batch dimension is one row.
    """
    rows = array if tensor.batched else array[None]
    if not source.summary:
        flat = rows.reshape(len(rows), -1)
        return flat[:, max(0, source.position)]
    if rows.dtype.kind != "f":
        rows = rows.astype(np.float64)
    flat = rows.reshape(len(rows), -1)
    if source.summary == "length":
        return np.full(len(rows), flat.shape[1], np.float64)
    if source.summary == "channel":
        axis = channel_axis(tensor.shape[1:] if tensor.batched else tensor.shape)
        assert axis is not None  # Else the column would not exist.
        return np.moveaxis(rows, axis + 1, 1)[:, source.position].reshape(len(rows), -1).mean(1, np.float64)
    if source.summary == "projection":
        return flat.astype(np.float64) @ _direction(tensor.name, source.position, flat.shape[1])
    if not flat.shape[1]:
        return np.full(len(rows), np.nan)
    if source.summary == "norm":
        return np.sqrt(np.square(flat, dtype=np.float64).sum(1))
    if source.summary == CONFIDENCE:
        return flat.max(1)
    return flat.mean(1, np.float64)


def _direction(name: str, number: int, size: int) -> Array:
    """Return a unit vector that depends on nothing but its arguments."""
    # A stated generator, so that the direction is the same in every version of numpy.
    seed = zlib.crc32(f"{name} {number}".encode())
    signs = np.random.Generator(np.random.PCG64(seed)).integers(0, 2, size) * 2 - 1
    return signs / np.sqrt(size)


def all_sources(signature: Signature) -> tuple[list[Source], list[Source]]:
    """Return the columns of a model's inputs, and those of its outputs."""
    ins = [source for tensor in signature.inputs for source in sources(tensor)]
    outs = [source for tensor in signature.outputs for source in sources(tensor, is_output=True)]
    return ins, outs


def tensors_of(signature: Signature) -> Mapping[str, Tensor]:
    """Return inputs and outputs by name; a name that is both is an input."""
    return {tensor.name: tensor for tensor in (*signature.outputs, *signature.inputs)}
