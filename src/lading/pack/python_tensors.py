"""Inputs and outputs of a model that runs in Python, as its samples and its answers show them."""

from __future__ import annotations

import numpy as np

from lading.convert.table import Table
from lading.errors import ConverterFailed, SamplesRefused
from lading.pack.python_models import PythonModel
from lading.signature import BATCH, Array, DType, Tensor

_DTYPES: dict[str, DType] = {
    name: name
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    )
}  # fmt: skip


def in_floats(table: Table, dtype: str) -> Table:
    """Return a table whose floats have `dtype`; as they are for ``auto``."""
    if dtype == "auto":
        return table
    arrays = {
        name: array.astype(dtype) if array.dtype.kind == "f" else array
        for name, array in table.arrays.items()
    }
    return table.with_arrays(arrays)


def input_tensors(
    table: Table, title: str, *, needs_dtypes: bool = True
) -> tuple[tuple[Tensor, ...], dict[str, Array]]:
    """Return the inputs of the model `title`, and their values.

    Columns are one input where all are numbers of one dtype, or of any unless the model `needs_dtypes`.
    Raises `SamplesRefused`, `ConverterFailed` for a dtype that no tensor has.
    """
    # As ONNX bundles do: rows of a frame of numbers can then be sent as lists, too.
    if table.kind == "frame":
        dtypes = {array.dtype for array in table.arrays.values()}
        if table.numeric and (len(dtypes) == 1 or not needs_dtypes):
            stacked = np.column_stack(list(table.arrays.values()))  # [rows, columns]
            return (_input("X", stacked, title, tuple(table.arrays)),), {"X": stacked}
    sizes = {len(array) if array.ndim else 0 for array in table.arrays.values()}
    if len(sizes) > 1 or sizes == {0}:
        raise SamplesRefused(
            f"samples of `{title}`",
            expected="arrays with the rows first",
            found=f"lengths {sorted(sizes)}",
        )
    tensors = tuple(_input(name, array, title) for name, array in table.arrays.items())
    return tensors, dict(table.arrays)


def _input(name: str, array: Array, title: str, columns: tuple[str, ...] = ()) -> Tensor:
    dtype = _dtype(array, f"samples of `{title}`, `{name}`")
    shape = _shape(array)
    missing = array.dtype.kind == "f" and bool(np.isnan(array).any())
    where: tuple[int, ...] = ()
    if missing and array.ndim == 2:
        at = tuple(int(column) for column in np.flatnonzero(np.isnan(array).any(axis=0)))
        where = at if len(at) < array.shape[1] else ()
    return Tensor(name=name, dtype=dtype, shape=shape, columns=columns, allows_nan=missing, nan_columns=where)


def output_tensor(model: PythonModel, name: str, array: Array, rows: int) -> Tensor:
    """Return the output of a model that has answered `rows` rows with `array`; raises `ConverterFailed`."""
    where = f"output `{name}` of `{model.title}`"
    if array.ndim == 0 or len(array) != rows:
        shape = "a single value" if array.ndim == 0 else f"{len(array)}"
        raise ConverterFailed(where, expected=f"{rows} rows, as many as the inputs have", found=shape)
    columns = model.columns.get(name, ())
    if array.ndim < 2 or len(columns) != array.shape[-1]:
        columns = ()
    dtype = _dtype(array, where)
    return Tensor(name=name, dtype=dtype, shape=_shape(array), columns=tuple(columns))


def _shape(array: Array) -> tuple[int | str, ...]:
    sizes: list[int | str] = [int(size) for size in array.shape[1:]]
    return (BATCH, *sizes)


def _dtype(array: Array, where: str) -> DType:
    if array.dtype.kind in "OUS":
        values = array.ravel().tolist()
        wrong = next((value for value in values if not isinstance(value, str)), None)
        if not all(isinstance(value, str) for value in values):
            raise ConverterFailed(
                where, expected="numbers, booleans or texts", found=f"`{type(wrong).__name__}`"
            )
        return "string"
    dtype = _DTYPES.get(array.dtype.name)
    if dtype is None:
        raise ConverterFailed(where, expected="numbers, booleans or texts", found=f"`{array.dtype}`")
    return dtype
