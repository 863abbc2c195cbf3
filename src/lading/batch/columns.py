"""The values of a column as a tensor has them, and why some do not fit. Knows no file and no other column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lading.batch.arrow_numpy import to_numpy
from lading.errors import InputError
from lading.signature import BATCH, Array, Tensor, cast_array, cast_json
from lading.signature.csvtext import parse_number

Wrong = dict[int, str]
"""What was expected and found in the rows that do not fit, by their place in the column."""

_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_WHOLE = r"^[+-]?\d{1,18}$"
_MANY = 19
_MANY_DIGITS = rf"^[+-]?\d{{{_MANY},}}$"
_EMPTY, _NULL = pa.scalar("", pa.string()), pa.scalar(None, pa.string())
_MISSING = ("nan", "na", "null", "")
_INFINITE = r"^[+-]?inf(inity)?$"
_LONGEST_FOUND = 200
_LARGEST_EXACT = 2**53

# Those that Python takes for blanks, as the server does; Arrow's own list is another.
_BLANKS = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column has texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Return whether a column has lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def scalars(
    tensor: Tensor, column: pa.Array, *, texts: bool, known: Array | None = None
) -> tuple[Array, Wrong]:
    """Return a value for each row, ``[rows]``, for a tensor of one value in a row; any where it does not fit.

    `texts` is whether numbers come as texts. Rows that `known` marks are refused already, and not looked at.
    """
    wrong: Wrong = {}
    # A dictionary is how a column is stored, not what it holds.
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if tensor.dtype == "string":
        values = _texts(column, wrong)
    elif is_text(column.type) and not texts:
        _refuse(pc.is_valid(column), tensor, "a text", wrong)
        _refuse(pc.is_null(column), tensor, "no value", wrong)
        return np.zeros(len(column), tensor.numpy_dtype), wrong
    elif pa.types.is_decimal(column.type) and not tensor.dtype.startswith("float"):
        values = _whole_decimals(tensor, column, wrong)
    else:
        values = _numbers(tensor, _typed(tensor, column, wrong), wrong)
    return cast_values(tensor, values, wrong, known), wrong


def _typed(tensor: Tensor, column: pa.Array, wrong: Wrong) -> pa.Array:
    if is_text(column.type):
        return parsed(tensor, column, wrong)
    if pa.types.is_decimal(column.type):
        # As every number that is written is, to the nearest float.
        return column.cast(pa.float64())
    if pa.types.is_null(column.type):
        return column.cast(pa.bool_() if tensor.dtype == "bool" else pa.float64())
    return column


def _numbers(tensor: Tensor, column: pa.Array, wrong: Wrong) -> Array:
    if not column.null_count:
        return to_numpy(column)
    missing = column.is_null()
    may_lack = tensor.dtype.startswith("float") and tensor.allows_nan
    if not may_lack:
        _refuse(missing, tensor, "no value", wrong)
    # Arrow would turn whole numbers with nulls into floats, which hold no more than 2**53 exactly.
    filled = to_numpy(column.fill_null(pa.scalar(0).cast(column.type)))
    if not may_lack:
        return filled
    absent = missing.to_numpy(zero_copy_only=False)
    values = cast_values(tensor, filled, wrong, absent)
    values[absent] = np.nan
    return values


def _whole_decimals(tensor: Tensor, column: pa.Array, wrong: Wrong) -> Array:
    """Return decimals as whole numbers: through a float they would lose digits."""
    kind = pa.uint64() if tensor.dtype == "uint64" else pa.int64()
    try:
        return _numbers(tensor, column.cast(kind), wrong)
    except pa.ArrowInvalid:
        limits = np.iinfo(kind.to_pandas_dtype())
    values = np.zeros(len(column), kind.to_pandas_dtype())
    for at, value in enumerate(column.to_pylist()):
        if value is None:
            wrong[at] = f"expected `{tensor.dtype}`, found no value"
        elif value == (whole := int(value)) and limits.min <= whole <= limits.max:
            values[at] = whole
        else:
            wrong[at] = f"expected `{tensor.dtype}`, found {_plain(value)}"
    return values


def _plain(value: Decimal) -> str:
    return f"{value:f}"[:_LONGEST_FOUND]


def _refuse(mask: pa.Array, tensor: Tensor, found: str, wrong: Wrong) -> None:
    for at in np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist():
        wrong.setdefault(at, f"expected `{tensor.dtype}`, found {found}")


def _texts(column: pa.Array, wrong: Wrong) -> Array:
    values = np.empty(len(column), object)
    # Views and columns of nothing but nulls have few functions in Arrow.
    column = column.cast(pa.large_string())
    for at in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist():
        wrong[at] = "expected `string`, found no value"
    filled = column.fill_null("")
    try:
        listed = filled.to_pylist()
    except UnicodeDecodeError:  # Parquet does not hold its texts to be texts.
        listed = []
        for at, data in enumerate(filled.cast(pa.large_binary()).to_pylist()):
            try:
                listed.append(data.decode())
            except UnicodeDecodeError:
                listed.append("")
                wrong[at] = "expected a text in UTF-8, found other bytes"
    # Assigned to all at once: numpy would make an array of texts of one length otherwise.
    values[:] = listed
    return values


def cast_values(tensor: Tensor, values: Array, wrong: Wrong, known: Array | None = None) -> Array:
    """Cast what can be cast; the rest is added to `wrong`, which is not looked at again."""
    if not len(values):
        return values.astype(tensor.numpy_dtype)
    if not wrong and known is None:
        # Most columns of most files: all values fit, and none has to be kept from the others.
        with suppress(InputError):
            return cast_array(tensor, values)
    empty = "" if tensor.dtype == "string" else values.dtype.type(0)
    refused = np.zeros(len(values), bool) if known is None else known.copy()
    refused[list(wrong)] = True
    if refused.any():
        # Their values are no longer of interest, and must not make others fail.
        values = values.copy()
        values[refused] = empty
    whole = np.zeros(len(values), tensor.numpy_dtype)
    for start, end, array in parts(len(values), lambda start, end: cast_array(tensor, values[start:end])):
        if isinstance(array, InputError):
            wrong.setdefault(start, _cast_problem(array))
            whole[start:end] = "" if tensor.dtype == "string" else 0
        else:
            whole[start:end] = array
    return whole


def _cast_problem(error: InputError) -> str:
    """Return why a value is refused; its place in the batch says nothing to those who read it."""
    actual = (error.found or "").removesuffix(" at [0]")
    return f"expected {(error.expected or '').replace(' [batch]', '')}, found {actual}"


def parsed(tensor: Tensor, column: pa.Array, wrong: Wrong) -> pa.Array:
    """Return cells as numbers, or true and false; missing ones as null.

    As the server reads CSV: numbers as they are written, not as Python or Arrow would take them.
    """
    if tensor.dtype.startswith("float") and (plain := _plain_floats(column)) is not None:
        return plain
    trimmed = pc.utf8_trim(column, _BLANKS)
    lowered = pc.utf8_lower(trimmed)
    missing = pc.is_in(lowered, pa.array(_MISSING, lowered.type))
    if tensor.dtype == "bool":
        good = pc.is_in(lowered, pa.array(["true", "false"], lowered.type))
        for at in _places(pc.invert(pc.or_(good, missing))):
            wrong.setdefault(at, "expected `true` or `false`, found another text")
        return pc.if_else(good, pc.equal(lowered, "true"), pa.scalar(None, pa.bool_()))
    if not tensor.dtype.startswith("float"):
        return _parsed_whole(tensor, column, trimmed, missing, wrong)
    good = pc.match_substring_regex(trimmed, _NUMBER)
    infinite = pc.match_substring_regex(lowered, _INFINITE)
    _refuse_texts(column, pc.invert(pc.or_(pc.or_(good, missing), infinite)), wrong)
    plain = pc.utf8_ltrim(pc.if_else(good, trimmed, pa.scalar(None, trimmed.type)), "+").cast(pa.float64())
    _refuse(pc.fill_null(pc.is_inf(plain), fill_value=False), tensor, "a number beyond float64", wrong)
    if pc.any(infinite).as_py():
        signed = pc.if_else(pc.starts_with(lowered, "-"), -np.inf, np.inf)
        plain = pc.if_else(infinite, signed, plain)
    # The server takes digits for a whole number, which has no more than its largest one.
    for at in _places(pc.match_substring_regex(trimmed, _MANY_DIGITS)):
        if parse_number(trimmed[at].as_py()) is None:
            wrong.setdefault(at, _no_number(column[at].as_py()))
    return plain


def _plain_floats(column: pa.Array) -> pa.Array | None:
    """Return cells as numbers, the empty ones as null, or None if one of them takes a closer look."""
    try:
        plain = pc.if_else(pc.equal(column, _EMPTY), _NULL, column).cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    # Of what Arrow takes for numbers, these are all that the server reads otherwise, or not at all: what is
    # not finite, and whole numbers of more digits than 64 bits hold.
    whole = pc.and_(pc.equal(pc.floor(plain), plain), pc.greater_equal(pc.binary_length(column), _MANY))
    return None if pc.any(whole).as_py() or not pc.all(pc.is_finite(plain)).as_py() else plain


def _parsed_whole(
    tensor: Tensor, column: pa.Array, trimmed: pa.Array, missing: pa.Array, wrong: Wrong
) -> pa.Array:
    """Return cells as whole numbers, none of them through a float that does not hold it."""
    kind = pa.uint64() if tensor.dtype == "uint64" else pa.int64()
    signs = pc.starts_with(trimmed, "-") if tensor.dtype == "uint64" else None
    whole = pc.match_substring_regex(trimmed, _WHOLE)
    if signs is not None:
        whole = pc.and_(whole, pc.invert(signs))
    values = pc.utf8_ltrim(pc.if_else(whole, trimmed, pa.scalar(None, trimmed.type)), "+").cast(kind)
    others = list(_places(pc.invert(pc.or_(whole, missing))))
    if not others:
        return values
    # Few cells are written otherwise, `5.0` or `1e3`, or need a closer look.
    array, limits = values.fill_null(0).to_numpy().copy(), np.iinfo(kind.to_pandas_dtype())
    for at in others:
        value = parse_number(trimmed[at].as_py())
        if value is None:
            wrong.setdefault(at, _no_number(column[at].as_py()))
        elif isinstance(value, float) and not (value.is_integer() and abs(value) <= _LARGEST_EXACT):
            wrong.setdefault(at, f"expected `{tensor.dtype}`, found {value}")
        elif not limits.min <= value <= limits.max:
            wrong.setdefault(at, f"expected `{tensor.dtype}`, found {int(value)}, which is beyond it")
        else:
            array[at] = int(value)
    return pa.array(array, mask=missing.to_numpy(zero_copy_only=False))


def _refuse_texts(column: pa.Array, mask: pa.Array, wrong: Wrong) -> None:
    for at in _places(mask):
        wrong.setdefault(at, _no_number(column[at].as_py()))


def _no_number(text: str) -> str:
    return f"expected a number, found `{text[:_LONGEST_FOUND]}`"


def _places(mask: pa.Array) -> Sequence[int]:
    places: list[int] = np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist()
    return places


def nested(
    tensor: Tensor, column: pa.Array, problem: Callable[[InputError], str]
) -> tuple[Array, Wrong] | None:
    """Return lists as an array, ``[rows, ...]``; None if rows that fit have several sizes.

    `problem` returns the reason of an error in one row.
    """
    quick = _uniform(tensor, column)
    if quick is not None:
        return quick, {}
    values = column.to_pylist()
    array: Array | None = None
    wrong: Wrong = {}
    for start, end, part in parts(len(values), lambda start, end: cast_json(tensor, values[start:end], "$")):
        if isinstance(part, InputError):
            wrong[start] = problem(part)
            continue
        if array is None:
            array = np.zeros((len(values), *part.shape[1:]), tensor.numpy_dtype)
        if part.shape[1:] != array.shape[1:]:
            return None
        array[start:end] = part
    if array is None:
        inner = (size if isinstance(size, int) else 0 for size in tensor.shape[1:])
        array = np.zeros((len(values), *inner), tensor.numpy_dtype)
    return array, wrong


def _uniform(tensor: Tensor, column: pa.Array) -> Array | None:
    """Return lists of floats without gaps that have the sizes of the tensor; None for others."""
    sizes = tensor.shape[1:]
    leaf, count = column, len(column)
    for size in sizes:
        if not isinstance(size, int) or not is_list(leaf.type) or leaf.null_count:
            return None
        if not pc.all(pc.equal(pc.list_value_length(leaf), size)).as_py():
            return None
        leaf, count = leaf.flatten(), count * size
    if leaf.null_count or not pa.types.is_floating(leaf.type) or len(leaf) != count or not count:
        return None
    if not tensor.dtype.startswith("float"):
        return None
    try:
        return cast_array(tensor, leaf.to_numpy(zero_copy_only=False).reshape(len(column), *sizes))
    except InputError:
        return None  # Row by row, so that the others are kept.


def parts(count: int, cast: Callable[[int, int], Any]) -> Iterator[tuple[int, int, Any]]:
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


def flat(tensor: Tensor, at: int | None) -> Tensor:
    """Return the tensor as one column of it is: a value for each row."""
    of = tensor if at is None else tensor.at_column(at)
    return msgspec.structs.replace(of, shape=(BATCH,), columns=(), nan_columns=())
