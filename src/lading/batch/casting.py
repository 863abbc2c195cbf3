"""Columns of a file as the inputs of a model, cast as the server casts; rows that do not fit are set aside.

Values are held to the signature that requests are held to. Reads no file and runs no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lading.batch.tables import Rejected, Rows
from lading.errors import InputError, InputMissing, ShapeRefused, ValueRefused
from lading.signature import BATCH, Array, Signature, Tensor, cast_array, cast_json

_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_WHOLE = r"^[+-]?\d{1,18}$"
_MISSING = ("nan", "na", "null", "")
_INFINITE = {"inf": np.inf, "+inf": np.inf, "-inf": -np.inf}
_LONGEST_SHOWN = 2000

Reasons = dict[int, str]
"""Why rows of a batch are not scored, by their place in it."""


@dataclass(frozen=True)
class _Source:
    """Where a tensor comes from: one column that holds its rows, or one for each entry of its last axis."""

    tensor: Tensor
    columns: tuple[str, ...]
    is_stacked: bool


@dataclass(frozen=True)
class Fitting:
    """The rows of a batch that fit: where each was in it, and the inputs of the model, ``[rows, ...]``."""

    kept: Array
    inputs: dict[str, Array]
    rejected: tuple[Rejected, ...]


class Caster:
    """Makes inputs of rows for one signature; rows of several files go through the same."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._sources = tuple(_sources(signature))

    def columns(self, schema: pa.Schema | None, where: str) -> tuple[str, ...]:
        """Return the columns to be read of a file. Raises `InputError` for one that no row can fit."""
        wanted = tuple(name for source in self._sources for name in source.columns)
        if schema is None:
            return wanted
        for source in self._sources:
            for name in source.columns:
                if schema.names.count(name) > 1:
                    raise ShapeRefused(where, expected=f"column `{name}` once", found="it several times")
                if name not in schema.names:
                    raise _missing(name, schema.names, where)
                _check_kind(source, name, schema.field(name).type, where)
        return wanted

    def cast(self, rows: Rows) -> Fitting:
        """Cast what fits; everything else comes out with its reason, in the order of the rows."""
        reasons: Reasons = {}
        count = len(rows.objects) if rows.objects is not None else len(rows.batch)
        if rows.objects is not None:
            inputs = self._of_objects(rows.objects, reasons)
        else:
            inputs = {source.tensor.name: self._of_columns(source, rows, reasons) for source in self._sources}
        # Cast as a whole: arrays have a place for each row until those that do not fit are known.
        kept = np.ones(count, bool)
        kept[list(reasons)] = False
        if reasons and rows.objects is None:
            inputs = {name: array[kept] for name, array in inputs.items()}
        refused = [
            Rejected(rows.numbers[at].as_py(), reasons[at], content_of(rows, at)) for at in sorted(reasons)
        ]
        refused = sorted([*refused, *rows.rejected], key=lambda each: each.row)
        return Fitting(np.flatnonzero(kept), inputs, tuple(refused))

    def _of_columns(self, source: _Source, rows: Rows, reasons: Reasons) -> Array:
        tensor, count = source.tensor, len(rows.batch)
        if not source.is_stacked:
            array = rows.batch.column(source.columns[0])
            if tensor.scalar_rows:
                flat = _scalars(_flat(tensor, None), source.columns[0], array, rows.texts, reasons)
                return flat.reshape(-1, *tensor.shape[1:])
            return _nested(tensor, source.columns[0], array, reasons)
        # Column by column: a table of mixed kinds has no common dtype that would hold all of them exactly.
        # One column after the other in memory, as they came and as they are counted.
        whole = np.empty((len(source.columns), count), tensor.numpy_dtype)
        for at, name in enumerate(source.columns):
            whole[at] = _scalars(_flat(tensor, at), name, rows.batch.column(name), rows.texts, reasons)
        return whole.T

    def _of_objects(self, objects: Sequence[Mapping[str, Any]], reasons: Reasons) -> dict[str, Array]:
        def cast(start: int, end: int) -> dict[str, Array]:
            values: dict[str, Any] = {}
            for source in self._sources:
                listed = [self._row(source, objects[at]) for at in range(start, end)]
                shape = (BATCH,) if not source.is_stacked and source.tensor.shape[1:] == (1,) else None
                of = source.tensor
                if shape is not None and listed and not isinstance(listed[0], list):
                    array = cast_json(of, listed, "$", shape=shape).reshape(-1, 1)
                else:
                    array = cast_json(of, listed, "$", columns=source.columns if source.is_stacked else ())
                values[of.name] = array
            return values

        parts = list(_pieces(len(objects), cast, reasons))
        return {
            source.tensor.name: np.concatenate([part[source.tensor.name] for part in parts])
            if parts
            else np.empty((0, *_inner(source.tensor)), source.tensor.numpy_dtype)
            for source in self._sources
        }

    def _row(self, source: _Source, row: Mapping[str, Any]) -> Any:
        for name in source.columns:
            if name not in row:
                raise InputMissing("the row", expected=f"`{name}`", found="no such key")
        if source.is_stacked:
            return [row[name] for name in source.columns]
        return row[source.columns[0]]


def content_of(rows: Rows, at: int) -> str:
    """Return a row as JSON, as far as it is read, for somebody who has to find out what is wrong with it."""
    row = rows.objects[at] if rows.objects is not None else rows.batch.slice(at, 1).to_pylist()[0]
    text = msgspec.json.encode(row, enc_hook=str).decode("utf-8", "replace")
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _sources(signature: Signature) -> Iterator[_Source]:
    for tensor in signature.inputs:
        if tensor.columns and len(tensor.shape) == 2:
            yield _Source(tensor, tensor.columns, is_stacked=True)
        else:
            yield _Source(tensor, (tensor.name,), is_stacked=False)


def _flat(tensor: Tensor, at: int | None) -> Tensor:
    """Return the tensor as one column of it is: a value for each row."""
    of = tensor if at is None else tensor.at_column(at)
    return msgspec.structs.replace(of, shape=(BATCH,), columns=(), nan_columns=())


def _inner(tensor: Tensor) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else 0 for size in tensor.shape[1:])


def _check_kind(source: _Source, name: str, kind: pa.DataType, where: str) -> None:
    """Raise `ValueRefused` for a column of which no value can be an input."""
    tensor = source.tensor
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if source.is_stacked or tensor.scalar_rows:
        fits = pa.types.is_null(kind) or _fits_scalar(tensor, kind)
    else:
        fits = _is_list(kind) or _is_text(kind)
    if not fits:
        hint = "a time must be the number or the text that the model was trained on"
        raise ValueRefused(
            f"{where}, column `{name}`",
            expected=f"`{tensor.dtype}`" if tensor.scalar_rows or source.is_stacked else f"`{tensor}`",
            found=f"`{kind}`",
            hint=hint if pa.types.is_temporal(kind) else None,
        )


def _fits_scalar(tensor: Tensor, kind: pa.DataType) -> bool:
    if _is_text(kind):
        return True  # Of a CSV, every column is; of another file, the values are refused one by one.
    if tensor.dtype == "string":
        return False
    if tensor.dtype == "bool":
        return bool(pa.types.is_boolean(kind))
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _missing(name: str, names: Sequence[str], where: str) -> InputMissing:
    listed = ", ".join(f"`{each}`" for each in names[:12]) + (", …" if len(names) > 12 else "")
    return InputMissing(where, expected=f"column `{name}`", found=listed or "no columns")


def _scalars(tensor: Tensor, name: str, column: pa.Array, texts: bool, reasons: Reasons) -> Array:
    """Return a value for each row, ``[rows]``; in rows that do not fit it is any."""
    # A dictionary is how a column is stored, not what it holds.
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if tensor.dtype == "string":
        return _texts(tensor, name, column, reasons)
    if _is_text(column.type):
        if not texts:
            _refuse_all(pc.is_valid(column), name, f"`{tensor.dtype}`", "a text", reasons)
            column = pa.nulls(len(column), pa.float64())
        else:
            column = _parsed(tensor, name, column, reasons)
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    elif pa.types.is_null(column.type):
        column = column.cast(pa.bool_() if tensor.dtype == "bool" else pa.float64())
    if not column.null_count:
        return _cast(tensor, name, column.to_numpy(zero_copy_only=False), reasons)
    missing = column.is_null()
    may_lack = tensor.dtype.startswith("float") and tensor.allows_nan
    if not may_lack:
        _refuse_all(missing, name, f"`{tensor.dtype}`", "no value", reasons)
    # Arrow would turn whole numbers with nulls into floats, which hold no more than 2**53 exactly.
    filled = column.fill_null(pa.scalar(0).cast(column.type))
    values = _cast(tensor, name, filled.to_numpy(zero_copy_only=False), reasons)
    if may_lack:
        values[missing.to_numpy(zero_copy_only=False)] = np.nan
    return values


def _refuse_all(mask: pa.Array, name: str, expected: str, actual: str, reasons: Reasons) -> None:
    for at in np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist():
        reasons.setdefault(at, f"column `{name}`: expected {expected}, found {actual}")


def _texts(tensor: Tensor, name: str, column: pa.Array, reasons: Reasons) -> Array:
    _refuse_all(column.is_null(), name, "`string`", "no value", reasons)
    values = np.empty(len(column), object)
    # Assigned to all at once: numpy would make an array of texts of one length otherwise.
    values[:] = column.fill_null("").to_pylist() if len(column) else []
    return _cast(tensor, name, values, reasons)


def _cast(tensor: Tensor, name: str, values: Array, reasons: Reasons) -> Array:
    if not len(values):
        return values.astype(tensor.numpy_dtype)
    known = {at for at in reasons if at < len(values)}
    if known:
        # Their values are no longer of interest, and must not make others fail.
        values = values.copy()
        values[list(known)] = "" if tensor.dtype == "string" else values.dtype.type(0)
    whole = np.zeros(len(values), tensor.numpy_dtype)
    for start, end, array in _parts(len(values), lambda start, end: cast_array(tensor, values[start:end])):
        if isinstance(array, InputError):
            reasons.setdefault(start, _reason(name, array))
            whole[start:end] = "" if tensor.dtype == "string" else 0
        else:
            whole[start:end] = array
    return whole


def _reason(name: str, error: InputError) -> str:
    """Return why a value is refused; its place in the batch says nothing to those who read it."""
    actual = (error.found or "").removesuffix(" at [0]")
    expected = (error.expected or "").replace(" [batch]", "")
    return f"column `{name}`: expected {expected}, found {actual}"


def _parsed(tensor: Tensor, name: str, column: pa.Array, reasons: Reasons) -> pa.Array:
    """Return cells as numbers, or true and false; missing ones as null."""
    # As the server reads CSV: numbers as they are written, not as Python or Arrow would take them.
    trimmed = pc.utf8_trim_whitespace(column)
    lowered = pc.utf8_lower(trimmed)
    missing = pc.is_in(lowered, pa.array(_MISSING))
    if tensor.dtype == "bool":
        good = pc.is_in(lowered, pa.array(["true", "false"]))
        _refuse_all(pc.invert(pc.or_(good, missing)), name, "`true` or `false`", "another text", reasons)
        return pc.if_else(good, pc.equal(lowered, "true"), pa.scalar(None, pa.bool_()))
    whole = pc.match_substring_regex(trimmed, _WHOLE)
    # Through float64, large whole numbers would lose digits.
    if pc.all(whole).as_py() and not tensor.dtype.startswith("float"):
        return pc.utf8_ltrim(trimmed, "+").cast(pa.int64())
    good = pc.match_substring_regex(trimmed, _NUMBER)
    infinite = pc.is_in(lowered, pa.array(list(_INFINITE)))
    wrong = pc.invert(pc.or_(pc.or_(good, missing), infinite))
    for at in np.flatnonzero(wrong.to_numpy(zero_copy_only=False)).tolist():
        actual = column[at].as_py()
        reasons.setdefault(at, f"column `{name}`: expected a number, found `{actual[:200]}`")
    plain = pc.utf8_ltrim(pc.if_else(good, trimmed, pa.scalar(None, pa.string())), "+").cast(pa.float64())
    beyond = pc.fill_null(pc.is_inf(plain), fill_value=False)
    _refuse_all(beyond, name, f"`{tensor.dtype}`", "a number beyond float64", reasons)
    if pc.any(infinite).as_py():
        signed = pc.if_else(pc.starts_with(lowered, "-"), -np.inf, np.inf)
        plain = pc.if_else(infinite, signed, plain)
    return plain


def _nested(tensor: Tensor, name: str, column: pa.Array, reasons: Reasons) -> Array:
    """Return lists of values as an array, ``[rows, ...]``; row by row, as their sizes may differ."""
    values = column.to_pylist()

    def cast(start: int, end: int) -> Array:
        return cast_json(tensor, values[start:end], "$")

    array = np.zeros((len(values), *_inner(tensor)), tensor.numpy_dtype)
    for start, end, part in _parts(len(values), cast):
        if isinstance(part, InputError):
            reasons.setdefault(start, _json_reason(name, part))
        elif part.shape[1:] != array.shape[1:]:
            expected = f"`{tensor}` of one size in all rows"
            raise ShapeRefused(f"column `{name}`", expected=expected, found="several sizes")
        else:
            array[start:end] = part
    return array


def _json_reason(name: str, error: InputError) -> str:
    # The place in the batch says nothing to those who read it; that within the row does.
    where = f"column `{name}`" if name else error.where.replace("$[0]", "the row")
    text = f"{where}: expected {error.expected}, found {error.found}"
    within = (error.path or "$").removeprefix("$").removeprefix("[0]")
    text = f"{text} at `{within}`" if within else text
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _pieces(
    count: int, cast: Callable[[int, int], dict[str, Array]], reasons: Reasons
) -> Iterator[dict[str, Array]]:
    for start, _, part in _parts(count, cast):
        if isinstance(part, InputError):
            reasons.setdefault(start, _json_reason("", part))
        else:
            yield part


def _parts(count: int, cast: Callable[[int, int], Any]) -> Iterator[tuple[int, int, Any]]:
    """Iterate over ranges that could be cast, and single rows that could not, each with its error.

    A range that is refused is halved, so that a bad row among many costs a few casts more.
    """
    todo = [(0, count)] if count else []
    while todo:
        start, end = todo.pop()
        try:
            part = cast(start, end)
        except InputError as error:
            # Of many rows the error names the first only, and not what else is wrong.
            if end - start == 1:
                yield start, end, error
                continue
            middle = (start + end) // 2
            todo += [(middle, end), (start, middle)]
            continue
        yield start, end, part
