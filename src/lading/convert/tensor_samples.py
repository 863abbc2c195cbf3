"""Samples for a model of named tensors: arrays by name, in order, or one; or the columns of a data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lading.convert.table import make_table
from lading.errors import SamplesRefused
from lading.signature import Array, Tensor


def read_arrays(
    samples: Any, inputs: Sequence[Tensor], aliases: Mapping[str, str], title: str
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return an array for each input, and the names of the columns if there is one input for a data frame.

    `aliases` has the input for each further name. Raises `SamplesRefused`.
    """
    names = [tensor.name for tensor in inputs]
    if isinstance(samples, list | tuple) and _is_by_position(samples, inputs):
        samples = dict(zip(names, samples, strict=True))
    table = make_table(samples, title)
    arrays = dict(table.arrays)
    columns: tuple[str, ...] = ()
    if table.kind == "frame" and not set(names) <= set(_by_input(arrays, aliases)):
        if len(names) > 1:
            raise _refused(title, f"columns or arrays by name: {_quoted(names)}", _quoted(arrays))
        columns = tuple(arrays)
        arrays = {names[0]: np.column_stack(list(arrays.values()))}  # [rows, columns]
    elif table.kind == "array":
        if len(names) > 1:
            raise _refused(title, f"arrays by name or in this order: {_quoted(names)}", "one array")
        arrays = {names[0]: arrays["X"]}
    else:
        arrays = _by_input(arrays, aliases)
        if len(names) == len(arrays) == 1:
            arrays = {names[0]: next(iter(arrays.values()))}
    # Columns of a data frame that are no inputs are left out; an array that nothing takes is a mistake.
    if not set(names) <= set(arrays) or (table.kind == "named" and len(arrays) > len(names)):
        raise _refused(title, f"arrays by name: {_quoted(names)}", _quoted(arrays))
    return {tensor.name: _shaped(arrays[tensor.name], tensor) for tensor in inputs}, columns


def _by_input(arrays: Mapping[str, Array], aliases: Mapping[str, str]) -> dict[str, Array]:
    return {aliases.get(name, name): array for name, array in arrays.items()}


def _is_by_position(samples: Sequence[Any], inputs: Sequence[Tensor]) -> bool:
    """Return whether a list has an array for each input, and not the rows of the only one."""
    if len(samples) != len(inputs):
        return False
    return len(inputs) > 1 or np.ndim(samples[0]) == len(inputs[0].shape)


def _shaped(array: Array, tensor: Tensor) -> Array:
    """Make ``[rows, 1]`` of ``[rows]`` if a row of the input is one value in an axis of its own."""
    is_column = array.ndim == 1 and len(tensor.shape) == 2 and tensor.shape[1] == 1
    return array.reshape(-1, 1) if is_column else array


def _quoted(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _refused(title: str, expected: str, actual: str) -> SamplesRefused:
    return SamplesRefused(f"samples of `{title}`", expected=expected, found=actual)
