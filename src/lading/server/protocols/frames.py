"""Rows as data frames and tables send them: by column name or by position, as JSON or as CSV.

Columns are those of the only input, or the inputs themselves. Text is parsed strictly by the dtype of its
column, because CSV has nothing but text; JSON values are never parsed. Knows no routes.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from lading.errors import (
    BodyInvalid,
    EmptyInput,
    InputError,
    InputMissing,
    InputUnknown,
    ShapeRefused,
    ValueRefused,
)
from lading.signature import Array, Signature, Tensor, describe

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NAN = {"nan", "na", "null", ""}
_INFINITE = {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf}
_LONGEST_PLAIN = 20
_NO_PLAIN = str.maketrans("", "", "0123456789+-.eE ")
_BOOLEANS = {"true": True, "false": False}


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
    order = _order(signature, columns, f"{path}.columns")
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
    if records and not signature.columns:
        # The model knows no names: the order of the first record is the order of the columns.
        names = list(records[0])
        if any(list(record) != names for record in records):
            raise ValueRefused(f"`{path}`", expected="the same columns in every record", found="others")
        return from_rows(signature, [list(record.values()) for record in records], path)
    return signature.cast_rows(records, path)


def from_rows(signature: Signature, rows: Any, path: str) -> dict[str, Array]:
    """Read rows as lists, as values, or as objects by input or column name."""
    if isinstance(rows, list) and rows and len(signature.inputs) == 1:
        only = signature.inputs[0]
        if all(isinstance(row, dict) and list(row) == [only.name] for row in rows):
            rows = [row[only.name] for row in rows]
        elif len(only.shape) == 1 and all(isinstance(row, list) and len(row) == 1 for row in rows):
            rows = [row[0] for row in rows]  # A frame of one column, for an input of one value a row.
    elif isinstance(rows, dict):
        raise BodyInvalid(f"`{path}`", expected="a list of rows", found="an object")
    return signature.cast_rows(rows, path)


def from_columns(signature: Signature, value: Any, path: str) -> dict[str, Array]:
    """Read whole inputs: the only one's value, or an object of inputs or of columns by name."""
    if not isinstance(value, dict):
        return from_rows(signature, value, path)
    names = {tensor.name for tensor in signature.inputs}
    if len(signature.inputs) == 1 and signature.columns and not names & set(value):
        lengths = {len(column) for column in value.values() if isinstance(column, list)}
        if len(lengths) != 1 or not all(isinstance(column, list) for column in value.values()):
            raise ShapeRefused(f"`{path}`", expected="columns of one length", found="others")
        rows = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
        return signature.cast_rows(rows, path)
    whole = {
        tensor.name: _stood_up(tensor, value[tensor.name])
        for tensor in signature.inputs
        if tensor.name in value
    }
    return signature.cast_rows({**value, **whole}, path)


def from_csv(signature: Signature, body: bytes, *, header: bool | None = None) -> dict[str, Array]:
    """Read CSV with a header row or without; `header` None tells them apart by the first row.

    A first row that holds the columns' names is a header, and so is one of nothing but text where every
    column is a number. Without a header the values stand in the signature's order.
    """
    table = _parse_csv(body)
    columns = _csv_columns(signature, len(table[0]))
    first = [cell.strip() for cell in table[0]]
    if header is None:
        header = _is_header(first, columns)
    order = _order(signature, first, "header") if header else list(range(len(columns)))
    lines = table[1:] if header else table
    if not lines:
        raise EmptyInput("body", expected="at least one row", found="a header alone" if header else "none")
    quick = _plain_matrix(signature, lines, order)
    if quick is not None:
        return quick
    rows = []
    for number, line in enumerate(lines, start=2 if header else 1):
        if len(line) != len(columns):
            expected = f"{len(columns)} values"
            raise ShapeRefused(f"line {number}", expected=expected, found=f"{len(line)}")
        rows.append(
            [_cell(tensor, line[at], number, name) for (name, tensor), at in zip(columns, order, strict=True)]
        )
    return from_rows(signature, rows, "$")


def _plain_matrix(
    signature: Signature, lines: list[list[str]], order: Sequence[int]
) -> dict[str, Array] | None:
    """Read lines of plain numbers at once for the only input; None for whatever wants a closer look."""
    tensor = signature.inputs[0]
    if len(signature.inputs) > 1 or tensor.dtype not in ("float32", "float64") or len(tensor.shape) != 2:
        return None
    if set(map(len, lines)) != {len(order)}:
        return None
    cells = list(chain.from_iterable(lines))
    # Longer ones may be integers that no float holds, and Python's `float` takes words and underscores.
    if max(map(len, cells)) > _LONGEST_PLAIN or "".join(cells).translate(_NO_PLAIN):
        return None
    try:
        wide = np.array(list(map(float, cells))).reshape(len(lines), -1)
        return signature.cast({tensor.name: wide[:, order]})
    except (ValueError, InputError):
        return None


def _is_header(first: Sequence[str], columns: Sequence[tuple[str, Tensor]]) -> bool:
    if sorted(first) == sorted(name for name, _ in columns):
        return True
    if any(tensor.dtype in ("string", "bool") for _, tensor in columns):
        return False
    if len(first) > 1 and first == [str(at) for at in range(len(first))]:
        # pandas names columns so where nobody else has; a row of these values looks the same.
        expected = "`text/csv; header=present` or `header=absent`"
        raise BodyInvalid("line 1", expected=expected, found="what may be a header or a row")
    return all(_number(cell) is None and cell.lower() not in _NAN for cell in first)


def _order(signature: Signature, given: Sequence[Any], path: str) -> list[int]:
    """Find where each column of the signature stands in the columns that are given."""
    wanted = signature.columns or tuple(tensor.name for tensor in signature.inputs)
    if not signature.columns and list(given) != list(wanted):
        return list(range(len(given)))  # The model knows no names: there is nothing to compare.
    shown = ", ".join(f"`{name}`" for name in given)
    for name in wanted:
        if name not in given:
            raise InputMissing(f"`{path}`", expected=f"column `{name}`", found=f"columns {shown}")
    for name in given:
        if name not in wanted:
            expected = "the columns " + ", ".join(f"`{one}`" for one in wanted)
            raise InputUnknown(f"`{path}`", expected=expected, found=f"column `{name}`")
    if len(given) != len(wanted):
        raise BodyInvalid(f"`{path}`", expected="each column once", found=f"columns {shown}")
    return [list(given).index(name) for name in wanted]


def _stood_up(tensor: Tensor, value: Any) -> Any:
    """Let a flat list of values be the column of a ``[batch, 1]`` input."""
    flat = isinstance(value, list) and bool(value) and not any(isinstance(one, list) for one in value)
    return [[one] for one in value] if flat and tensor.scalar_rows and len(tensor.shape) == 2 else value


def _parse_csv(body: bytes) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BodyInvalid("body", expected="CSV in UTF-8", found="other bytes") from None
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise BodyInvalid("body", expected="CSV", found=str(error)) from None
    if not lines:
        raise EmptyInput("body", expected="at least one row", found="none")
    return lines


def _csv_columns(signature: Signature, width: int) -> list[tuple[str, Tensor]]:
    """Name the columns of a table with the tensor that each one's values belong to."""
    inputs = signature.inputs
    if len(inputs) > 1:
        if not all(tensor.scalar_rows for tensor in inputs):
            raise BodyInvalid("body", expected="JSON, because an input is no column", found="CSV")
        return [(tensor.name, tensor) for tensor in inputs]
    only = inputs[0]
    if not only.batched or len(only.shape) > 2:
        raise BodyInvalid("body", expected=f"JSON for `{only}`", found="CSV")
    size = 1 if len(only.shape) == 1 else only.shape[1]
    count = size if isinstance(size, int) else width
    if only.columns:
        return [(column, only) for column in only.columns]
    return [(only.name if count == 1 else f"{only.name}[{at}]", only) for at in range(count)]


def _cell(tensor: Tensor, text: str, line: int, column: str) -> Any:
    """Parse the text of one cell by the dtype of its column; an empty cell is a missing value."""
    if tensor.dtype == "string":
        return text
    stripped = text.strip()
    if tensor.dtype == "bool":
        value: Any = _BOOLEANS.get(stripped.lower())
    elif tensor.allows_nan and stripped.lower() in _NAN:
        return None
    else:
        value = _number(stripped)
    if value is None:
        raise ValueRefused(
            f"input `{tensor.name}`",
            expected=f"`{tensor}`",
            found=f"`{text[:100]}` in line {line}, column `{column}`",
        )
    return value


def _number(text: str) -> float | int | None:
    """Parse a number as people write it; None for anything else, and for what no float can hold."""
    if not _NUMBER.fullmatch(text):
        return _INFINITE.get(text.lower().replace("infinity", "inf"))
    if text.lstrip("+-").isdigit():
        return int(text) if len(text) <= 20 else None
    value = float(text)
    return None if math.isinf(value) else value
