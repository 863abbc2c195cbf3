"""Plain numbers between Arrow and numpy, without a copy.

pyarrow's own ways (`pa.array`, `Array.to_numpy`) import pandas where it is installed, which takes a process
longer than scoring 200,000 rows. They are used here only for what has no plain layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from lading.signature import Array


def to_arrow(values: Array) -> pa.Array:
    """Return a flat array of numbers, or of true and false, as Arrow has it: ``[rows]``."""
    kind = pa.from_numpy_dtype(values.dtype)
    # A bit for each, the first one the lowest of its byte.
    packed = np.packbits(values, bitorder="little") if values.dtype == bool else np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(packed)])


def to_numpy(column: pa.Array) -> Array:
    """Return the values of a column without nulls: ``[rows]``. They may not be written to."""
    kind = column.type
    if column.null_count == 0 and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        numbers: Array = np.from_dlpack(column)
        return numbers
    other: Any = column.to_numpy(zero_copy_only=False)
    return np.asarray(other)
