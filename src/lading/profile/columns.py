"""What is measured of a tensor: which columns it has, and the values of each in a batch of rows.

Named columns and positions are measured one by one, up to a thousand of them. Of larger rows, such as images
and embeddings, and beside many unnamed positions, summaries of a row are measured: its norm, its mean, the
mean of each channel, and projections onto fixed directions. Counts nothing; `measure` does.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lading.profile import ColumnProfile
from lading.profile.texts import text_numbers
from lading.signature import Array, Signature, Tensor

MOST_POSITIONS = 1000
SUMMARISED_FROM = 33
"""Rows of at least so many unnamed numbers are summarised, too: no position of them means much by itself."""

MOST_CHANNELS = 4
PROJECTIONS = 8
_MOST_PROJECTIONS = 1000
CONFIDENCE = "confidence"

_BITS = 20  # of a sum over a row: six decimal digits


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of a column come from; the fields are those of `ColumnProfile`."""

    tensor: str
    name: str
    position: int = -1
    summary: str = ""

    @classmethod
    def of(cls, column: ColumnProfile) -> Source:
        """Return where the values of a column of a profile come from."""
        return cls(column.tensor, column.name, column.position, column.summary)


def sources(tensor: Tensor, *, is_output: bool = False) -> Iterator[Source]:
    """Return the columns of one input or output, in the order of a row; none of what cannot be measured."""
    name, row = tensor.name, _row(tensor)
    size = _size(row)
    if size == 1 and len(row) <= 1:
        yield Source(name, tensor.columns[0] if tensor.columns else name, 0 if row else -1)
        return
    by_position = len(row) == 1 and 1 < size <= MOST_POSITIONS
    if by_position:
        for at in range(size):
            known = tensor.columns[at] if tensor.columns else str(at)
            # Columns of outputs are classes, which by themselves could be anything.
            is_known = bool(tensor.columns) and not is_output
            yield Source(name, known if is_known else f"{name}[{known}]", at)
    if tensor.dtype == "string":
        return
    if is_output and name == "probabilities":
        yield Source(name, f"{CONFIDENCE} of {name}", summary=CONFIDENCE)
    elif not by_position or (not tensor.columns and size >= SUMMARISED_FROM):
        yield from _summaries(tensor, row)


def is_measurable(source: Source, tensor: Tensor) -> bool:
    """Return whether `values` has such a column of `tensor`.

    More than `sources` returns: what another version of lading measured is a profile all the same.
    """
    row = _row(tensor)
    if not source.summary:
        return -1 <= source.position < _size(row) and (source.position >= 0 or _size(row) == 1)
    if tensor.dtype == "string":
        return False
    if source.summary == "channel":
        axis = _channel_axis(row)
        return axis is not None and 0 <= source.position < int(row[axis])
    if source.summary == "projection":
        return 0 <= source.position < _MOST_PROJECTIONS
    return source.position == -1 and source.summary in ("norm", "mean", "length", CONFIDENCE)


def _row(tensor: Tensor) -> tuple[int | str, ...]:
    """Return the shape of a row; a tensor without a batch dimension is one."""
    return tensor.shape[1:] if tensor.batched else tensor.shape


def _size(row: tuple[int | str, ...]) -> int:
    """Return how many values a row has, 0 if its sizes are open."""
    size = 1
    for length in row:
        if not isinstance(length, int):
            return 0
        size *= length
    return size


def _summaries(tensor: Tensor, row: tuple[int | str, ...]) -> Iterator[Source]:
    name, open_sizes = tensor.name, _size(row) == 0
    # The norm of numbers that stand for words would mean nothing.
    if tensor.dtype.startswith("float") or not open_sizes:
        yield Source(name, f"norm of {name}", summary="norm")
    yield Source(name, f"mean of {name}", summary="mean")
    axis = _channel_axis(row)
    if axis is not None:
        for channel in range(int(row[axis])):
            yield Source(name, f"mean of channel {channel} of {name}", channel, "channel")
    if open_sizes:
        yield Source(name, f"values in {name}", summary="length")
    elif len(row) == 1:
        for at in range(PROJECTIONS):
            yield Source(name, f"projection {at} of {name}", at, "projection")


def _channel_axis(row: tuple[int | str, ...]) -> int | None:
    """Return the axis of the channels in a row with the shape of an image, or None if it is none."""
    if len(row) != 3:
        return None
    lengths = [(length, axis) for axis in (0, 2) if isinstance(length := row[axis], int)]
    fewest, axis = min(lengths, default=(0, 0))
    return axis if 1 <= fewest <= MOST_CHANNELS else None


def values(source: Source, array: Array, tensor: Tensor) -> Array:
    """Return the values of one column in a batch of rows: ``[rows]``.

    A tensor without a batch dimension is one row.
    """
    rows = array if tensor.batched else array[None]
    if not source.summary:
        return _flat(rows)[:, max(0, source.position)]
    if source.summary == CONFIDENCE:
        largest: Array = _flat(rows).max(1, initial=-np.inf)
        return largest
    if source.summary == "length":
        return np.full(len(rows), rows[0].size if len(rows) else 0)
    # What is not finite is counted as such, and no warning to a server.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        return _summary(source, rows, tensor)


def _summary(source: Source, rows: Array, tensor: Tensor) -> Array:
    # In order, so that a row is summed as it is alone.
    flat = _flat(np.ascontiguousarray(rows, np.float64))
    if not flat.shape[1]:
        return np.full(len(rows), np.nan)
    norm = np.sqrt(np.einsum("ij,ij->i", flat, flat))
    if source.summary == "norm":
        return _rounded(norm, norm)
    if source.summary == "projection":
        return _rounded((flat * _direction(tensor.name, source.position, flat.shape[1])).sum(1), norm)
    if source.summary == "channel":
        axis = _channel_axis(_row(tensor))
        assert axis is not None  # Else the column would not exist.
        channel = np.moveaxis(rows, axis + 1, 1)[:, source.position]
        means = _flat(np.ascontiguousarray(channel, np.float64)).mean(1)
    else:
        means = flat.mean(1)
    return _rounded(means, norm / np.sqrt(flat.shape[1]))


def _flat(rows: Array) -> Array:
    # Of no rows, numpy cannot tell the size itself.
    return rows.reshape(len(rows), math.prod(rows.shape[1:]))


def measured(column: ColumnProfile, array: Array, tensor: Tensor) -> Array:
    """Return what `Cells` of the column take: its values, or what is measured of its texts."""
    data = values(Source.of(column), array, tensor)
    return text_numbers(column.kind, data) if column.kind in ("text", "timestamp") else data


def _rounded(numbers: Array, scale: Array) -> Array:
    """Return sums over a row without the digits that are noise for values of this `scale`.

    Vectors of length 1 have norms of 1 ± 1e-8: bins of such a column would show the machine, not the data.
    """
    # Powers of two, so that dividing and multiplying by them changes no digit.
    unit = np.ldexp(1.0, np.frexp(scale)[1] - _BITS)  # [rows]
    rounded = np.round(numbers / unit) * unit
    return np.where(np.isfinite(rounded), rounded, numbers)


@lru_cache(maxsize=64)
def _direction(name: str, number: int, size: int) -> Array:
    """Return a unit vector that depends on nothing but its arguments."""
    # A stated generator, so that the direction is the same in every version of numpy.
    seed = zlib.crc32(f"{name} {number}".encode())
    signs = np.random.Generator(np.random.PCG64(seed)).integers(0, 2, size) * 2 - 1
    direction: Array = signs / np.sqrt(size)
    return direction


def all_sources(signature: Signature) -> tuple[list[Source], list[Source]]:
    """Return the columns of a model's inputs, and those of its outputs."""
    ins = [source for tensor in signature.inputs for source in sources(tensor)]
    outs = [source for tensor in signature.outputs for source in sources(tensor, is_output=True)]
    return ins, outs


def tensors_of(signature: Signature) -> Mapping[str, Tensor]:
    """Return inputs and outputs by name; a name that is both is an input."""
    return {tensor.name: tensor for tensor in (*signature.outputs, *signature.inputs)}
