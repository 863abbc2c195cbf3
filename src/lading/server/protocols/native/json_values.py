"""Arrays and golden samples as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from lading.server.inference.version import ServedVersion
from lading.signature import Array, Tensor


def dumps(value: Any) -> bytes:
    """Write a value that holds numpy arrays as JSON; NaN becomes `null`."""
    return orjson.dumps(value, _plain, orjson.OPT_SERIALIZE_NUMPY)


def first_sample(served: ServedVersion) -> dict[str, Array]:
    """Return the inputs of the first golden row; batched inputs as a batch of one.

    Rows that depend on each other stay together: one of them alone has another answer.
    """
    return _first_rows(served, served.signature.inputs, served.samples.inputs)


def first_expected(served: ServedVersion) -> dict[str, Array]:
    """Return the outputs of `first_sample`; batched outputs as a batch of one."""
    return _first_rows(served, served.signature.outputs, served.samples.outputs)


def sample_rows(served: ServedVersion, sample: dict[str, Array]) -> Any:
    """Write sample inputs as the value of ``data``: rows as lists, or as objects for several inputs."""
    inputs = served.signature.inputs
    if not all(tensor.batched for tensor in inputs):
        return sample
    if len(inputs) == 1:
        return sample[inputs[0].name]
    count = len(sample[inputs[0].name])
    return [{tensor.name: _cell(tensor, sample[tensor.name][at]) for tensor in inputs} for at in range(count)]


def _cell(tensor: Tensor, value: Any) -> Any:
    """Return the value of one row: a plain scalar if the tensor has one value per row."""
    if not tensor.scalar_rows:
        return value
    return np.asarray(value, dtype=tensor.numpy_dtype).reshape(-1).tolist()[0]


def _first_rows(
    served: ServedVersion, tensors: Sequence[Tensor], arrays: Mapping[str, Array]
) -> dict[str, Array]:
    rows = 1 if served.signature.independent_rows else served.samples.rows
    return {
        tensor.name: arrays[tensor.name][:rows] if tensor.batched else arrays[tensor.name]
        for tensor in tensors
    }


def _plain(value: Any) -> Any:
    # orjson calls this for what it does not write itself: strings, strided arrays and numpy scalars.
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(type(value).__name__)
