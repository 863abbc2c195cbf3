"""Rows as CSV: its header, its columns and its cells, read by a signature.

CSV holds nothing but text, so cells are parsed by the dtype of their column, strictly: as numbers are written
and not as Python reads them. The server and the command line share this reader; it knows neither.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
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
_CELLS_AT_ONCE = 65_536
_ROW_IN_PATH = re.compile(r"^\$\[(\d+)\]")
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
    lines = _lines(content, where)
    first = next(lines, None)
    if first is None:
        raise EmptyInput(where, expected="at least one row", found="none")
    if leave_out and header is not False:
        kept = _known_columns(signature, first)
        if kept:
            # A line of another width stays as it is, for the reader to refuse it.
            lines = _picked(lines, kept, len(first))
            first = [first[at] for at in kept]
    columns = _columns(signature, len(first), where)
    cells = [cell.strip() for cell in first]
    if header is None:
        header = _is_header(cells, columns, where)
    order = column_order(signature, cells, f"{where}, line 1") if header else list(range(len(columns)))
    if len(order) != len(columns):
        raise _wrong_width(f"{where}, line 1", columns, order)
    rows = lines if header else chain([first], lines)
    reader = _RowReader(signature, columns, order, where, 2 if header else 1)
    parts = list(reader.read_all(rows))
    if not parts:
        raise EmptyInput(where, expected="at least one row", found="a header alone" if header else "none")
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}  # [rows, ...]


class _RowReader:
    """Reads lines by their columns, some at a time: as texts they take up to 80 times their size.

    ``order`` has for each column its index in a line, ``first_line`` is the number of the first line.
    """

    def __init__(
        self,
        signature: Signature,
        columns: Sequence[tuple[str, Tensor]],
        order: Sequence[int],
        where: str,
        first_line: int,
    ) -> None:
        self._signature = signature
        self._columns = columns
        self._order = order
        self._where = where
        self._first_line = first_line
        self._single = len(signature.inputs) == 1 and len(signature.inputs[0].shape) == 1

    def read_all(self, lines: Iterator[list[str]]) -> Iterator[dict[str, Array]]:
        """Return the rows of `lines`, in parts; raises `InputError`."""
        start, at_once = 0, max(1, _CELLS_AT_ONCE // max(1, len(self._columns)))
        while part := list(islice(lines, at_once)):
            matrix = _plain_matrix(self._signature, part, self._order)
            yield matrix if matrix is not None else self._read(part, start)
            start += len(part)

    def _read(self, lines: Sequence[list[str]], start: int) -> dict[str, Array]:
        """Return the rows of `lines`, the first of which is row number `start`."""
        rows = []
        for number, line in enumerate(lines, self._first_line + start):
            if len(line) != len(self._columns):
                raise _wrong_width(f"{self._where}, line {number}", self._columns, line)
            pairs = zip(self._columns, self._order, strict=True)
            rows.append([_cell(tensor, line[at], number, name) for (name, tensor), at in pairs])
        try:
            return self._signature.cast_rows([row[0] for row in rows] if self._single else rows, "$")
        except InputError as error:
            raise _in_rows_from(error, start) from None


def _in_rows_from(error: InputError, start: int) -> InputError:
    """Return an error about rows that begin at number `start` with the path in all rows."""
    if not start or error.path is None:
        return error
    path = _ROW_IN_PATH.sub(lambda row: f"$[{int(row[1]) + start}]", error.path)
    return type(error)(**{**vars(error), "path": path})


def _known_columns(signature: Signature, first: list[str]) -> list[int]:
    """Return where the columns of the model are in a header that has others, too; nothing if it has none."""
    names = [cell.strip() for cell in first]
    if not signature.columns or not set(signature.columns) < set(names):
        return []
    return [at for at, name in enumerate(names) if name in signature.columns]


def _picked(lines: Iterator[list[str]], kept: Sequence[int], width: int) -> Iterator[list[str]]:
    """Return the columns `kept` of each line that has `width` columns, and others whole."""
    for line in lines:
        yield [line[at] for at in kept] if len(line) == width else line


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
    return all(parse_number(cell) is None and cell.lower() not in _NAN for cell in first)


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


def _lines(content: bytes, where: str) -> Iterator[list[str]]:
    """Return the cells of each line that is not empty, one line at a time; raises `BodyInvalid`."""
    # Spreadsheets write a byte order mark.
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
    try:
        yield from filter(None, csv.reader(text, strict=True))
    except UnicodeDecodeError:
        raise BodyInvalid(where, expected="CSV in UTF-8", found="other bytes") from None
    except csv.Error as error:
        raise BodyInvalid(where, expected="CSV", found=str(error)) from None


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
        value = parse_number(stripped)
    if value is None:
        cell = f"`{text[:100]}`" if stripped else "an empty cell"
        raise ValueRefused(
            f"input `{tensor.name}`",
            expected=f"`{tensor}`",
            found=f"{cell} in line {line}, column `{column}`",
        )
    return value


def parse_number(text: str) -> float | int | None:
    """Parse a number as people write it; None for any other text, and for a number that no float holds."""
    if not _NUMBER.fullmatch(text):
        return _INFINITE.get(text.lower().replace("infinity", "inf"))
    if text.lstrip("+-").isdigit():
        return int(text) if len(text) <= 20 else None  # More digits than any 64-bit integer has.
    value = float(text)
    return None if math.isinf(value) else value
