"""Values and golden samples as plain JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from lading.server.inference.version import ServedVersion
from lading.signature import Array, Tensor


def dumps(value: Any) -> bytes:
    """Write a value that holds numpy arrays as JSON; NaN becomes `null`."""
    return orjson.dumps(value, _plain, orjson.OPT_SERIALIZE_NUMPY)


def first_sample(served: ServedVersion) -> dict[str, Array]:
    """Return the inputs of the first golden row, as a batch of one where there are batches."""
    inputs = served.signature.inputs
    return {one.name: _first(one, served.samples.inputs[one.name]) for one in inputs}


def first_expected(served: ServedVersion) -> dict[str, Array]:
    """Return the outputs of the first golden row, as a batch of one where there are batches."""
    outputs = served.signature.outputs
    return {one.name: _first(one, served.samples.outputs[one.name]) for one in outputs}


def sample_rows(served: ServedVersion, sample: dict[str, Array]) -> Any:
    """Write sample inputs as the value of ``data``: rows as lists, or as objects where inputs have names."""
    inputs = served.signature.inputs
    if not all(one.batched for one in inputs):
        return sample
    if len(inputs) == 1:
        return sample[inputs[0].name]
    rows = len(sample[inputs[0].name])
    return [{one.name: _cell(one, sample[one.name][at]) for one in inputs} for at in range(rows)]


def _cell(tensor: Tensor, value: Any) -> Any:
    return (
        np.asarray(value, dtype=tensor.numpy_dtype).reshape(-1).tolist()[0] if tensor.scalar_rows else value
    )


def _first(tensor: Tensor, array: Array) -> Array:
    return array[:1] if tensor.batched else array


def _plain(value: Any) -> Any:
    # orjson leaves to us what it does not write by itself: strings, strided arrays and numpy scalars.
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(type(value).__name__)
