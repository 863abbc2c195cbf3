"""Rows as CSV: its header, its columns and its cells, read by a signature.

CSV has nothing but text, so that text is parsed by the dtype of its column, strictly: as numbers are written
and not as Python reads them. The server and the command line both read it so; knows neither.
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
_NO_PLAIN = str.maketrans("", "", "0123456789+-.eE ")
_BOOLEANS = {"true": True, "false": False}


def read_csv(
    signature: Signature, content: bytes, where: str = "body", *, header: bool | None = None
) -> dict[str, Array]:
    """Read CSV with a header row or without; `header` None tells them apart by the first row.

    A first row that holds the columns' names is a header, and so is one of nothing but text where every
    column is a number. Without a header the values stand in the signature's order. `where` names what is
    read. Raises `InputError`.
    """
    table = _parse(content, where)
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
    quick = _plain_matrix(signature, lines, order)
    if quick is not None:
        return quick
    rows = []
    for number, line in enumerate(lines, start=2 if header else 1):
        if len(line) != len(columns):
            raise _wrong_width(f"{where}, line {number}", columns, line)
        rows.append(
            [_cell(tensor, line[at], number, name) for (name, tensor), at in zip(columns, order, strict=True)]
        )
    single = len(signature.inputs) == 1 and len(signature.inputs[0].shape) == 1
    return signature.cast_rows([row[0] for row in rows] if single else rows, "$")


def column_order(signature: Signature, given: Sequence[Any], where: str) -> list[int]:
    """Find where each column of the signature stands in the columns that are given.

    Raises `InputMissing`, `InputUnknown`, `BodyInvalid`.
    """
    wanted = signature.columns or tuple(tensor.name for tensor in signature.inputs)
    if not signature.columns and list(given) != list(wanted):
        return list(range(len(given)))  # The model knows no names: there is nothing to compare.
    shown = ", ".join(f"`{name}`" for name in given)
    for name in wanted:
        if name not in given:
            raise InputMissing(where, expected=f"column `{name}`", found=f"columns {shown}")
    for name in given:
        if name not in wanted:
            expected = "the columns " + ", ".join(f"`{one}`" for one in wanted)
            raise InputUnknown(where, expected=expected, found=f"column `{name}`")
    if len(given) != len(wanted):
        raise BodyInvalid(where, expected="each column once", found=f"columns {shown}")
    return [list(given).index(name) for name in wanted]


def _is_header(first: Sequence[str], columns: Sequence[tuple[str, Tensor]], where: str) -> bool:
    if sorted(first) == sorted(name for name, _ in columns):
        return True
    if any(tensor.dtype in ("string", "bool") for _, tensor in columns):
        return False
    if len(first) > 1 and first == [str(at) for at in range(len(first))]:
        # pandas names columns so where nobody else has; a row of these values looks the same.
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
        wide = np.array(list(map(float, cells))).reshape(len(lines), -1)  # [rows, columns]
        if np.isinf(wide).any():  # `1e400`: written as a number, but none that a float holds.
            return None
        return signature.cast({tensor.name: wide[:, order]})
    except (ValueError, InputError):
        return None


def _parse(content: bytes, where: str) -> list[list[str]]:
    try:
        text = content.decode("utf-8-sig")
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
    """Name the columns of a table with the tensor that each one's values belong to."""
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
        return [(column, only) for column in only.columns]
    return [(only.name if count == 1 else f"{only.name}[{at}]", only) for at in range(count)]


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
        shown = f"`{text[:100]}`" if stripped else "an empty cell"
        raise ValueRefused(
            f"input `{tensor.name}`",
            expected=f"`{tensor}`",
            found=f"{shown} in line {line}, column `{column}`",
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
