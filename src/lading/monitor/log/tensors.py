"""Records back to the arrays that they were made of, bit for bit. Reads no file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lading.errors import InputMissing
from lading.log_frames import field_names
from lading.signature import Array, Tensor


def present(struct: pa.StructArray, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors of which the records of a batch have every field."""
    names = {field.name for field in struct.type}
    return [tensor for tensor in tensors if set(_fields(tensor, tensors)) <= names]


def complete_rows(
    struct: pa.StructArray, tensors: Sequence[Tensor], all_tensors: Sequence[Tensor] = ()
) -> Array:
    """Return which records have a value in every field of `tensors`: a boolean for each.

    `all_tensors` are all that the model has, if `tensors` are only some of them. Raises `InputMissing` if the
    log has no such field at all.
    """
    names = {field.name for field in struct.type}
    complete = pc.is_valid(struct)
    for tensor in tensors:
        for field in _fields(tensor, all_tensors or tensors):
            if field not in names:
                hint = "a column that was excluded from the log cannot be replayed"
                where = f"the log's records of `{tensor.name}`"
                raise InputMissing(where, expected=f"`{field}`", found="no such column", hint=hint)
            complete = pc.and_(complete, pc.is_valid(struct.field(field)))
    return np.asarray(complete)


def arrays_of(
    struct: pa.StructArray, tensors: Sequence[Tensor], all_tensors: Sequence[Tensor] = ()
) -> Iterator[tuple[Array, dict[str, Array]]]:
    """Iterate over the records as arrays by tensor, ``[rows, *shape]``, each with the indices of its records.

    Records whose sizes are open, and differ, come in several parts. Every record must be complete.
    `all_tensors` are all that the model has, if `tensors` are only some of them. Raises `InputMissing` for
    values that were logged as hashes.
    """
    everything = all_tensors or tensors
    if not tensors or not len(struct):
        return
    whole = {tensor.name: _array(struct, tensor, _fields(tensor, everything)) for tensor in tensors}
    if all(isinstance(array, np.ndarray) for array in whole.values()):
        yield np.arange(len(struct)), {name: np.asarray(array) for name, array in whole.items()}
        return
    # Rows of one size run together; texts as tokens have a few dozen sizes.
    by_shape: dict[Any, list[int]] = {}
    for at in range(len(struct)):
        by_shape.setdefault(tuple(np.shape(array[at]) for array in whole.values()), []).append(at)
    for indices in by_shape.values():
        yield (
            np.array(indices),
            {name: np.stack([array[at] for at in indices]) for name, array in whole.items()},
        )


def _fields(tensor: Tensor, tensors: Sequence[Tensor]) -> tuple[str, ...]:
    return field_names(tensors)[tensor.name] or (tensor.name,)


def _array(struct: pa.StructArray, tensor: Tensor, fields: Sequence[str]) -> Array | list[Array]:
    """Return the values of a tensor, ``[rows, *shape]``, or those of each record if their sizes differ."""
    sizes = tensor.shape[1:] if tensor.batched else tensor.shape
    columns = bool(tensor.columns) or len(fields) > 1 or sizes == (1,)
    inner = sizes[:-1] if columns else sizes
    parts = [_column(struct.field(field), tensor, inner, field) for field in fields]
    if all(isinstance(part, np.ndarray) for part in parts):
        arrays = [np.asarray(part) for part in parts]
        return np.stack(arrays, axis=-1) if columns else arrays[0]
    rows = [[part[at] for part in parts] for at in range(len(struct))]
    return [np.stack(row, axis=-1) if columns else row[0] for row in rows]


def _column(values: pa.Array, tensor: Tensor, sizes: Sequence[int | str], field: str) -> Array | list[Array]:
    rows = len(values)
    leaf, depth = values, 0
    while pa.types.is_list(leaf.type) or pa.types.is_large_list(leaf.type):
        leaf, depth = leaf.flatten(), depth + 1
    _check_not_hashed(leaf.type, tensor, field)
    if depth != len(sizes):
        form = f"records of {depth} dimensions"
        raise InputMissing(f"the log's `{field}`", expected=f"`{tensor}`", found=form)
    # Of fixed sizes no row has to be looked at.
    if all(isinstance(size, int) for size in sizes):
        return _numpy(leaf, tensor).reshape(rows, *map(int, sizes))
    return [np.array(value.as_py(), dtype=tensor.numpy_dtype) for value in values]


def _numpy(leaf: pa.Array, tensor: Tensor) -> Array:
    if tensor.dtype == "string":
        return np.array(leaf.to_pylist(), dtype=object)
    # A float16 comes as float32, which is as exact back again.
    return np.asarray(leaf.to_numpy(zero_copy_only=False)).astype(tensor.numpy_dtype)


def _check_not_hashed(kind: pa.DataType, tensor: Tensor, field: str) -> None:
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if is_text != (tensor.dtype == "string"):
        hint = "a column that was logged as a hash cannot be replayed"
        raise InputMissing(f"the log's `{field}`", expected=f"`{tensor.dtype}`", found=f"`{kind}`", hint=hint)
