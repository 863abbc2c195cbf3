"""Rows as CSV: its header, its columns and its cells, read by a signature.

CSV holds nothing but text, so cells are parsed by the dtype of their column, strictly: as numbers are written
and not as Python reads them. The server and the command line share this reader; it knows neither.
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
from lading.signature import Array, Signature, Tensor

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NAN = {"nan", "na", "null", ""}
_INFINITE = {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf}
_LONGEST_PLAIN = 20
_DELETE_PLAIN = str.maketrans("", "", "0123456789+-.eE ")
_BOOLEANS = {"true": True, "false": False}


def read_csv(
    signature: Signature,
    content: bytes,
    where: str = "body",
    *,
    header: bool | None = None,
    leave_out: bool = False,
) -> dict[str, Array]:
    """Read CSV with or without a header row; `header` None distinguishes them by the first row.

    A first row with the columns' names is a header, and so is a row of nothing but text if every column is a
    number. Without a header the values are in the signature's order. Columns that the model does not have are
    refused, or left out with `leave_out`. `where` names the source in messages. Raises `InputError`.
    """
    table = _parse(content, where)
    if leave_out and header is not False:
        table = _without_unknown(signature, table)
    columns = _columns(signature, len(table[0]), where)
    first = [cell.strip() for cell in table[0]]
    if header is None:
        header = _is_header(first, columns, where)
    order = column_order(signature, first, f"{where}, line 1") if header else list(range(len(columns)))
    if len(order) != len(columns):
        raise _wrong_width(f"{where}, line 1", columns, order)
    lines = table[1:] if header else table
    if not lines:
        raise EmptyInput(where, expected="at least one row", found="a header alone" if header else "none")
    matrix = _plain_matrix(signature, lines, order)
    if matrix is not None:
        return matrix
    rows = []
    for number, line in enumerate(lines, start=2 if header else 1):
        if len(line) != len(columns):
            raise _wrong_width(f"{where}, line {number}", columns, line)
        rows.append(
            [_cell(tensor, line[at], number, name) for (name, tensor), at in zip(columns, order, strict=True)]
        )
    single = len(signature.inputs) == 1 and len(signature.inputs[0].shape) == 1
    return signature.cast_rows([row[0] for row in rows] if single else rows, "$")


def _without_unknown(signature: Signature, table: list[list[str]]) -> list[list[str]]:
    """Return a table without the columns that the model does not have, if its first line names all it has."""
    names = [cell.strip() for cell in table[0]]
    if not signature.columns or not set(signature.columns) < set(names):
        return table
    width, kept = len(names), [at for at, name in enumerate(names) if name in signature.columns]
    # A line of another width stays as it is, for the reader to refuse it.
    return [[line[at] for at in kept] if len(line) == width else line for line in table]


def column_order(signature: Signature, names: Sequence[Any], where: str) -> list[int]:
    """Return for each column of the signature its index in `names`.

    Raises `InputMissing`, `InputUnknown`, `BodyInvalid`.
    """
    expected_names = signature.columns or tuple(tensor.name for tensor in signature.inputs)
    if not signature.columns and list(names) != list(expected_names):
        return list(range(len(names)))  # The model has no column names to compare with.
    listing = ", ".join(f"`{name}`" for name in names)
    for name in expected_names:
        if name not in names:
            raise InputMissing(where, expected=f"column `{name}`", found=f"columns {listing}")
    for name in names:
        if name not in expected_names:
            expected = "the columns " + ", ".join(f"`{column}`" for column in expected_names)
            raise InputUnknown(where, expected=expected, found=f"column `{name}`")
    if len(names) != len(expected_names):
        raise BodyInvalid(where, expected="each column once", found=f"columns {listing}")
    return [list(names).index(name) for name in expected_names]


def _is_header(first: Sequence[str], columns: Sequence[tuple[str, Tensor]], where: str) -> bool:
    if sorted(first) == sorted(name for name, _ in columns):
        return True
    if any(tensor.dtype in ("string", "bool") for _, tensor in columns):
        return False
    if len(first) > 1 and first == [str(at) for at in range(len(first))]:
        # pandas names unnamed columns 0, 1, 2 …; a row of these values looks the same.
        raise BodyInvalid(
            f"{where}, line 1",
            expected="a header or a row",
            found="what may be either",
            hint="name the columns; over HTTP `text/csv; header=present` or `header=absent` says it, too",
        )
    return all(_number(cell) is None and cell.lower() not in _NAN for cell in first)


def _plain_matrix(
    signature: Signature, lines: list[list[str]], order: Sequence[int]
) -> dict[str, Array] | None:
    """Read lines of plain numbers for the only input in one pass; None if any cell needs a closer look."""
    tensor = signature.inputs[0]
    if len(signature.inputs) > 1 or tensor.dtype not in ("float32", "float64") or len(tensor.shape) != 2:
        return None
    if set(map(len, lines)) != {len(order)}:
        return None
    cells = list(chain.from_iterable(lines))
    # Longer cells may be integers that no float holds; Python's `float` also takes words and underscores.
    if max(map(len, cells)) > _LONGEST_PLAIN or "".join(cells).translate(_DELETE_PLAIN):
        return None
    try:
        wide = np.array(list(map(float, cells))).reshape(len(lines), -1)  # [rows, columns]
        if np.isinf(wide).any():  # `1e400` is written as a number, but no float holds it.
            return None
        return signature.cast({tensor.name: wide[:, order]})
    except (ValueError, InputError):
        return None


def _parse(content: bytes, where: str) -> list[list[str]]:
    try:
        text = content.decode("utf-8-sig")  # Spreadsheets write a byte order mark.
    except UnicodeDecodeError:
        raise BodyInvalid(where, expected="CSV in UTF-8", found="other bytes") from None
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise BodyInvalid(where, expected="CSV", found=str(error)) from None
    if not lines:
        raise EmptyInput(where, expected="at least one row", found="none")
    return lines


def _columns(signature: Signature, width: int, where: str) -> list[tuple[str, Tensor]]:
    """Return the name of each column of a table, with the tensor that its values belong to."""
    inputs = signature.inputs
    if len(inputs) > 1:
        if not all(tensor.scalar_rows for tensor in inputs):
            raise BodyInvalid(where, expected="JSON, because an input is no column", found="CSV")
        return [(tensor.name, tensor) for tensor in inputs]
    only = inputs[0]
    if not only.batched or len(only.shape) > 2:
        raise BodyInvalid(where, expected=f"JSON for `{only}`", found="CSV")
    size = 1 if len(only.shape) == 1 else only.shape[1]
    count = size if isinstance(size, int) else width
    if only.columns:
        return [(column, only.at_column(at)) for at, column in enumerate(only.columns)]
    names = (only.name if count == 1 else f"{only.name}[{at}]" for at in range(count))
    return [(name, only.at_column(at)) for at, name in enumerate(names)]


def _wrong_width(where: str, columns: Sequence[Any], line: Sequence[Any]) -> ShapeRefused:
    return ShapeRefused(where, expected=f"{len(columns)} values", found=f"{len(line)}")


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
        cell = f"`{text[:100]}`" if stripped else "an empty cell"
        raise ValueRefused(
            f"input `{tensor.name}`",
            expected=f"`{tensor}`",
            found=f"{cell} in line {line}, column `{column}`",
        )
    return value


def _number(text: str) -> float | int | None:
    """Parse a number as people write it; None for any other text, and for a number that no float holds."""
    if not _NUMBER.fullmatch(text):
        return _INFINITE.get(text.lower().replace("infinity", "inf"))
    if text.lstrip("+-").isdigit():
        return int(text) if len(text) <= 20 else None  # More digits than any 64-bit integer has.
    value = float(text)
    return None if math.isinf(value) else value
