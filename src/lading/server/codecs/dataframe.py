"""Rows as data frames write them in JSON: by column name or by position.

Columns are those of the only input, or the inputs themselves; columns of a frame that the model does not have
are left out, as MLflow leaves them out. Values are JSON values; text is never parsed
into numbers. Knows no routes.
"""

from __future__ import annotations

from typing import Any

from lading.errors import BodyInvalid, ShapeRefused, ValueRefused
from lading.signature import Array, Signature, Tensor, describe
from lading.signature.csvtext import column_order


def from_split(signature: Signature, frame: Any, path: str) -> dict[str, Array]:
    """Read ``{"columns": […], "data": [[…]]}``, as pandas writes a frame with ``orient="split"``."""
    if not isinstance(frame, dict) or not isinstance(frame.get("data"), list):
        raise BodyInvalid(f"`{path}`", expected="an object with `columns` and `data`", found=describe(frame))
    rows, columns = frame["data"], frame.get("columns")
    if columns is None:
        return from_rows(signature, rows, f"{path}.data")
    if not isinstance(columns, list):
        raise BodyInvalid(f"`{path}.columns`", expected="a list of names", found=describe(columns))
    for at, row in enumerate(rows):
        if not isinstance(row, list):
            raise ValueRefused(f"`{path}.data[{at}]`", expected="a list", found=describe(row))
        if len(row) != len(columns):
            expected = f"{len(columns)} values, one for each column"
            raise ShapeRefused(f"`{path}.data[{at}]`", expected=expected, found=f"{len(row)}")
    # The order of a frame's columns is the client's; a model has one of its own.
    known = [at for at, name in enumerate(columns) if name in _names(signature)] or range(len(columns))
    order = [known[at] for at in column_order(signature, [columns[at] for at in known], f"`{path}.columns`")]
    if order != list(range(len(columns))):
        rows = [[row[at] for at in order] for row in rows]
    return from_rows(signature, rows, f"{path}.data")


def from_records(signature: Signature, records: Any, path: str) -> dict[str, Array]:
    """Read a list of objects by column name, as pandas writes a frame with ``orient="records"``."""
    if not isinstance(records, list):
        raise BodyInvalid(f"`{path}`", expected="a list of objects", found=describe(records))
    for at, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueRefused(f"`{path}[{at}]`", expected="an object", found=describe(record))
    records = [_known(signature, record) for record in records]
    if records and not signature.columns:
        # The model has no column names: the order of the first record is the order of the columns.
        names = list(records[0])
        if any(list(record) != names for record in records):
            raise ValueRefused(f"`{path}`", expected="the same columns in every record", found="others")
        return from_rows(signature, [list(record.values()) for record in records], path)
    return signature.cast_rows(records, path)


def from_instances(signature: Signature, rows: Any, path: str) -> dict[str, Array]:
    """Read rows as `from_rows` does, without the columns that the model does not have."""
    if isinstance(rows, list):
        rows = [_known(signature, row) if isinstance(row, dict) else row for row in rows]
    return from_rows(signature, rows, path)


def from_rows(signature: Signature, rows: Any, path: str) -> dict[str, Array]:
    """Read rows as lists, as values, or as objects by input or column name."""
    if isinstance(rows, list) and rows and len(signature.inputs) == 1:
        only = signature.inputs[0]
        if all(isinstance(row, dict) and list(row) == [only.name] for row in rows):
            rows = [row[only.name] for row in rows]
        elif len(only.shape) == 1 and all(isinstance(row, list) and len(row) == 1 for row in rows):
            rows = [row[0] for row in rows]  # A frame of one column, for an input with one value per row.
    elif isinstance(rows, dict):
        raise BodyInvalid(f"`{path}`", expected="a list of rows", found="an object")
    return signature.cast_rows(rows, path)


def from_columns(signature: Signature, value: Any, path: str) -> dict[str, Array]:
    """Read whole inputs: the only input's value, or an object of inputs or of columns by name."""
    if not isinstance(value, dict):
        return from_rows(signature, value if isinstance(value, list) else _one_row(signature, value), path)
    value = _known(signature, value)
    if signature.columns and value and not any(isinstance(column, list | dict) for column in value.values()):
        return signature.cast_rows([value], path)  # One value for each column: one row.
    names = {tensor.name for tensor in signature.inputs}
    if len(signature.inputs) == 1 and signature.columns and not names & set(value):
        lengths = {len(column) for column in value.values() if isinstance(column, list)}
        if len(lengths) != 1 or not all(isinstance(column, list) for column in value.values()):
            raise ShapeRefused(f"`{path}`", expected="columns of one length", found="others")
        rows = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
        return signature.cast_rows(rows, path)
    whole = {
        tensor.name: _as_column(tensor, value[tensor.name])
        for tensor in signature.inputs
        if tensor.name in value
    }
    return signature.cast_rows({**value, **whole}, path)


def _names(signature: Signature) -> tuple[str, ...]:
    """Return the names that a column of a frame may have."""
    return signature.columns or tuple(tensor.name for tensor in signature.inputs)


def _known(signature: Signature, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the columns that the model does not have; as it is if it has none of them."""
    names = {*_names(signature), *(tensor.name for tensor in signature.inputs)}
    if names.issuperset(row):
        return row
    return {name: value for name, value in row.items() if name in names} or row


def _one_row(signature: Signature, value: Any) -> list[Any]:
    """Return one value as the rows of an input with one value a row."""
    return [value] if len(signature.inputs[0].shape) <= 1 else [[value]]


def _as_column(tensor: Tensor, value: Any) -> Any:
    """Turn a flat list of values into the rows of a ``[batch, 1]`` input."""
    if not tensor.scalar_rows or len(tensor.shape) != 2 or not isinstance(value, list):
        return value
    return value if any(isinstance(item, list) for item in value) else [[item] for item in value]
