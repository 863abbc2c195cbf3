"""Named inputs and outputs of a model, and the checking of values against them.

A value is taken as it is, cast without change, or refused with the path of the first offender; nothing
is clipped, parsed from text or padded. Reads no bytes (protocols do) and runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from lading.errors import EmptyInput, InputMissing, InputUnknown, LadingError, ShapeRefused, ValueRefused

DType = Literal[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "string",
]  # fmt: skip
DTYPES: tuple[DType, ...] = get_args(DType)
Array = NDArray[Any]

BATCH = "batch"
"""The name of the dimension along which rows are independent; always the first where it stands."""


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One named input or output.

    ``shape`` holds sizes and names; a name is a dynamic dimension, and equal names are equal sizes within
    one request. ``columns`` names the entries of the last axis. ``allows_nan`` is true where the golden
    samples held missing values: JSON ``null`` and NaN are then taken for them, and refused otherwise.
    """

    name: str
    dtype: DType
    shape: tuple[int | str, ...]
    columns: tuple[str, ...] = ()
    allows_nan: bool = False

    @property
    def batched(self) -> bool:
        """Whether the first dimension is the batch."""
        return bool(self.shape) and self.shape[0] == BATCH

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype that arrays of this tensor have; ``object`` (of ``str``) for strings."""
        return np.dtype(object) if self.dtype == "string" else np.dtype(self.dtype)

    @property
    def scalar_rows(self) -> bool:
        """Whether a row of it is one value: shape ``[batch]`` or ``[batch, 1]``."""
        return self.batched and self.shape[1:] in ((), (1,))

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(str(size) for size in self.shape)}]"


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The inputs and outputs of a model, in the model's order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def batched(self) -> bool:
        """Whether every input and output has the batch dimension first, so that requests can be merged."""
        return all(tensor.batched for tensor in (*self.inputs, *self.outputs))

    @property
    def primary(self) -> Tensor:
        """The output that `predict` gives: probabilities, else scores, else value, else the first."""
        named = {tensor.name: tensor for tensor in self.outputs}
        wanted = (named[name] for name in ("probabilities", "scores", "value") if name in named)
        return next(wanted, self.outputs[0])

    @property
    def columns(self) -> tuple[str, ...]:
        """The names by which a row can be given as an object; empty where it cannot."""
        if len(self.inputs) == 1 and self.inputs[0].columns:
            return self.inputs[0].columns
        if all(tensor.batched for tensor in self.inputs) and len(self.inputs) > 1:
            return tuple(tensor.name for tensor in self.inputs)
        return ()

    def input(self, name: str) -> Tensor:
        """Give the input called `name`; raises `InputUnknown`."""
        for tensor in self.inputs:
            if tensor.name == name:
                return tensor
        raise InputUnknown(f"input {quoted(name)}", expected=_names(self.inputs), found=quoted(name))

    def cast(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Check one array per input and cast each without change; inputs come out in signature order.

        Raises `InputMissing`, `InputUnknown`, `ValueRefused`, `ShapeRefused`, `EmptyInput`.
        """
        for name in arrays:
            self.input(name)
        cast = {}
        for tensor in self.inputs:
            if tensor.name not in arrays:
                raise missing(tensor, "the request", list(arrays))
            cast[tensor.name] = cast_array(tensor, arrays[tensor.name])
        self.check_sizes(cast)
        return cast

    def cast_rows(self, rows: object, path: str = "$.data") -> dict[str, Array]:
        """Read the JSON value of ``data``: a list of rows, or an object of whole inputs by name.

        A row is a list, one value, or an object by column name (`columns`). Raises as `cast`.
        """
        if isinstance(rows, dict):
            return self._cast_whole(rows, path)
        if not isinstance(rows, list):
            raise ValueRefused(f"`{path}`", expected="a list of rows", found=describe(rows))
        if not rows:
            raise EmptyInput(f"`{path}`", expected="at least one row", found="an empty list")
        columns = self.columns
        if columns and isinstance(rows[0], dict):
            cast = self._cast_objects(rows, columns, path)
        elif len(self.inputs) == 1:
            cast = {self.inputs[0].name: cast_json(self.inputs[0], rows, path)}
        else:
            cast = self._cast_lists(rows, path)
        self.check_sizes(cast)
        return cast

    def check_sizes(self, arrays: Mapping[str, Array]) -> None:
        """Check that dimensions of one name have one size across inputs; raises `ShapeRefused`."""
        if len(self.inputs) == 1 and len(self.inputs[0].shape) == len(set(self.inputs[0].shape)):
            return
        seen: dict[str, tuple[int, str]] = {}
        for tensor in self.inputs:
            for name, size in zip(tensor.shape, arrays[tensor.name].shape, strict=True):
                if isinstance(name, str):
                    first, owner = seen.setdefault(name, (size, tensor.name))
                    if first != size:
                        raise ShapeRefused(
                            f"input `{tensor.name}`",
                            expected=f"`{name}` = {first} as in input `{owner}`",
                            found=f"{size}",
                        )

    def _cast_whole(self, values: dict[str, object], path: str) -> dict[str, Array]:
        cast = {}
        for name in values:
            self.input(name)
        for tensor in self.inputs:
            if tensor.name not in values:
                raise missing(tensor, f"`{path}`", list(values))
            cast[tensor.name] = cast_json(tensor, values[tensor.name], f"{path}.{tensor.name}")
        self.check_sizes(cast)
        return cast

    def _cast_objects(
        self, rows: list[dict[str, object]], columns: tuple[str, ...], path: str
    ) -> dict[str, Array]:
        _check_keys(rows, columns, path)
        if len(self.inputs) == 1:
            lists = [[row[column] for column in columns] for row in rows]
            only = self.inputs[0]
            return {only.name: cast_json(only, lists, path, columns=columns)}
        return {
            tensor.name: _cast_column(tensor, [row[tensor.name] for row in rows], path)
            for tensor in self.inputs
        }

    def _cast_lists(self, rows: list[object], path: str) -> dict[str, Array]:
        if not all(tensor.scalar_rows for tensor in self.inputs):
            found = describe(rows[0])
            raise ValueRefused(f"`{path}[0]`", expected=f"an object with {_names(self.inputs)}", found=found)
        for at, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != len(self.inputs):
                found = f"{len(row)} values" if isinstance(row, list) else describe(row)
                expected = f"{len(self.inputs)} values: {_names(self.inputs)}"
                kind = ShapeRefused if isinstance(row, list) else ValueRefused
                raise kind(f"`{path}[{at}]`", expected=expected, found=found)
        return {
            tensor.name: _cast_column(tensor, [row[at] for row in rows], path, at)  # type: ignore[index]
            for at, tensor in enumerate(self.inputs)
        }


def cast_array(tensor: Tensor, array: Array) -> Array:
    """Check shape and values of `array` and cast it to the tensor's dtype without changing a value.

    Floats may round to the nearest float of a narrower kind, as every literal does; they may not
    overflow. Integers, booleans and strings keep their value exactly. Raises `ValueRefused`,
    `ShapeRefused`, `EmptyInput`.
    """
    _check_shape(tensor, array.shape)
    cast = array if array.dtype == tensor.numpy_dtype else _convert(tensor, array)
    if tensor.dtype == "string":
        _check_strings(tensor, cast)
    elif not tensor.allows_nan and cast.dtype.kind == "f" and np.isnan(cast).any():
        raise _refused(tensor, "NaN", _index(np.isnan(cast)))
    return cast


def cast_json(
    tensor: Tensor, value: object, path: str = "$", *, columns: tuple[str, ...] | None = None
) -> Array:
    """Turn a JSON value into the tensor's array, dtype and shape checked.

    ``columns`` are the keys to name in the path of the last axis when the rows came as objects.
    Raises `ValueRefused`, `ShapeRefused`, `EmptyInput`, each with the path of the first offender.
    """
    try:
        wide = np.array(_typed(tensor, value), dtype=_wide(tensor))
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise _explain(tensor, value, path, columns) from None
    if not _fits(tensor.shape, wide.shape):
        raise _explain(tensor, value, path, columns)
    cast = _narrow(tensor, wide)
    if cast is None:
        raise _explain(tensor, value, path, columns)
    return cast


def describe(value: object) -> str:
    """Name a JSON value as a message does: "a string", "1.5", "null", "a list"."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            # Python refuses to write out integers of thousands of digits, and nobody reads them.
            return f"{value}" if abs(value) < 10**40 else f"a number of {value.bit_length()} bits"
        case float():
            return f"{value!r}"
        case str():
            return "a string"
        case list():
            return "an empty list" if not value else "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"


def missing(tensor: Tensor, where: str, given: Sequence[str]) -> InputMissing:
    """Say that input `tensor` is not in what `where` gives."""
    found = _listed(given)
    return InputMissing(f"input `{tensor.name}` in {where}", expected=f"`{tensor}`", found=found)


def _typed(tensor: Tensor, value: object) -> object:
    kind = _json_type(tensor.dtype, len(tensor.shape), tensor.allows_nan)
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        if "int" not in tensor.dtype:
            raise
        return msgspec.convert(_whole(value, len(tensor.shape)), kind, strict=True)


def _whole(value: object, depth: int) -> object:
    """Write ``2.0`` as 2, which is the same number; data frames send integers so."""
    if isinstance(value, list):
        return [_whole(one, depth - 1) for one in value] if depth else value
    return int(value) if isinstance(value, float) and _is_whole(value) else value


def _is_whole(value: float) -> bool:
    # Past 2**53 the float may stand for another integer than the caller wrote.
    return value.is_integer() and abs(value) <= 2**53


@lru_cache(maxsize=256)
def _json_type(dtype: DType, ndim: int, allows_nan: bool) -> Any:
    if dtype == "bool":
        kind: Any = bool
    elif dtype == "string":
        kind = str
    else:
        kind = float if dtype.startswith("float") else int
    if allows_nan and kind is float:
        kind = kind | None
    for _ in range(ndim):
        kind = list[kind]
    return kind


def _wide(tensor: Tensor) -> np.dtype[Any]:
    """Give the dtype that holds any JSON number of the tensor's kind until its range is checked."""
    return np.dtype(np.float64) if tensor.dtype.startswith("float") else tensor.numpy_dtype


def _narrow(tensor: Tensor, wide: Array) -> Array | None:
    """Cast float64 to the tensor's dtype; None where a value overflows, is NaN, or text is impossible."""
    if tensor.dtype == "string":
        return None if any(_unfit_text(text) for text in wide.flat) else wide
    if wide.dtype.kind != "f":
        return wide
    with np.errstate(over="ignore", invalid="ignore"):
        cast = wide.astype(tensor.numpy_dtype, copy=False)
    if np.isfinite(cast).all():
        return cast
    if not tensor.allows_nan and np.isnan(wide).any():
        return None
    return cast if (np.isinf(cast) == np.isinf(wide)).all() else None


def _convert(tensor: Tensor, array: Array) -> Array:
    target = tensor.numpy_dtype
    kinds = array.dtype.kind + target.kind
    if tensor.dtype == "string":
        return _strings(tensor, array)
    if array.dtype.kind not in "biuf" or "b" in kinds:
        raise _refused(tensor, f"`{_dtype_name(array)}`", None)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(target)
        if kinds == "ff":
            changed = np.isinf(cast) & ~np.isinf(array)
        else:
            back = cast.astype(array.dtype)
            # A cast that wraps can come back to the same bits, so signs are compared as well.
            changed = (back != array) | ((cast < 0) != (array < 0))
            # Out of range a cast between float and integer gives what the processor likes (2**63 as
            # float64 saturates to the nearest int64 on ARM, and comes back): so ranges are compared.
            if array.dtype.kind == "f":
                changed |= _beyond(array, target)
            elif target.kind == "f":
                changed |= _beyond(cast, array.dtype)
    if changed.any():
        at = _index(changed)
        raise _refused(tensor, f"{array[at]!s}", at)
    return cast


def _beyond(floats: Array, integer: np.dtype[Any]) -> Array:
    """Tell which floats no value of the `integer` dtype is; the bounds are powers of two, so exact."""
    wide = floats.astype(np.float64)
    high = 2.0 ** (8 * integer.itemsize - (integer.kind == "i"))
    low = -high if integer.kind == "i" else 0.0
    return np.asarray(~((wide >= low) & (wide < high)))


def _strings(tensor: Tensor, array: Array) -> Array:
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8").astype(object)
        except UnicodeDecodeError:
            raise _refused(tensor, "bytes that are not UTF-8", None) from None
    if array.dtype.kind != "U":
        raise _refused(tensor, f"`{_dtype_name(array)}`", None)
    return array.astype(object)


def _check_strings(tensor: Tensor, array: Array) -> None:
    for at, text in np.ndenumerate(array):
        if not isinstance(text, str):
            raise _refused(tensor, describe(text), at)
        if _unfit_text(text):
            raise _refused(tensor, "a string with a NUL or a lone surrogate", at)


def _unfit_text(text: str) -> bool:
    # ONNX strings are UTF-8 without NUL: ONNX Runtime cuts at NUL and cannot encode surrogates.
    return (not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)) or "\0" in text


def _dtype_name(array: Array) -> str:
    return "string" if array.dtype.kind in "US" else array.dtype.name


def _index(mask: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def _refused(tensor: Tensor, found: str, at: tuple[int, ...] | None) -> ValueRefused:
    place = f" at {list(at)}" if at is not None else ""
    return ValueRefused(f"input `{tensor.name}`", expected=f"`{tensor}`", found=f"{found}{place}")


def _fits(shape: tuple[int | str, ...], found: tuple[int, ...]) -> bool:
    return (
        len(shape) == len(found)
        and all(isinstance(want, str) or want == size for want, size in zip(shape, found, strict=True))
        and not (shape and shape[0] == BATCH and found[0] == 0)
    )


def _check_shape(tensor: Tensor, shape: tuple[int, ...]) -> None:
    if _fits(tensor.shape, shape):
        return
    if tensor.batched and shape and shape[0] == 0:
        raise EmptyInput(f"input `{tensor.name}`", expected="at least one row", found="none")
    raise ShapeRefused(f"input `{tensor.name}`", expected=f"`{tensor}`", found=f"shape `{list(shape)}`")


def _check_keys(rows: Sequence[object], columns: tuple[str, ...], path: str) -> None:
    wanted = set(columns)
    for at, row in enumerate(rows):
        if not isinstance(row, dict):
            where = f"`{path}[{at}]`"
            raise ValueRefused(where, expected="an object, as the first row is", found=describe(row))
        if row.keys() == wanted:
            continue
        absent = [column for column in columns if column not in row]
        if absent:
            given = _listed(list(row))
            raise InputMissing(f"`{path}[{at}]`", expected=f"column `{absent[0]}`", found=f"columns {given}")
        unknown = next(key for key in row if key not in wanted)
        expected = "the columns " + ", ".join(f"`{column}`" for column in columns)
        raise InputUnknown(f"`{path}[{at}]`", expected=expected, found=f"column {quoted(unknown)}")


def _cast_column(tensor: Tensor, values: list[object], path: str, at: int | None = None) -> Array:
    """Cast one input whose rows are `values`; single values are rows of a ``[batch, 1]`` tensor."""
    place = f".{tensor.name}" if at is None else f"[{at}]"
    if not tensor.scalar_rows or len(tensor.shape) == 1 or isinstance(values[0], list):
        flat, value = tensor, values
    else:
        flat, value = msgspec.structs.replace(tensor, shape=tensor.shape[:1]), values
    try:
        cast = cast_json(flat, value, "\0")
    except (ValueRefused, ShapeRefused, EmptyInput) as error:
        raise _relocate(error, tensor, path, place) from None
    return cast.reshape(-1, 1) if len(tensor.shape) == 2 and cast.ndim == 1 else cast


def _relocate(error: LadingError, tensor: Tensor, path: str, place: str) -> LadingError:
    r"""Turn the path ``\\0[row]…`` of a column into the path in the caller's rows."""
    found = error.found or ""
    head, _, tail = found.partition("\0")
    row, bracket, rest = tail.partition("]")
    found = f"{head}{path}{row}{bracket}{place}{rest}" if tail else found
    return type(error)(f"input `{tensor.name}`", expected=f"`{tensor}`", found=found, hint=error.hint)


def _names(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"`{tensor.name}`" for tensor in tensors)


def quoted(name: str) -> str:
    """Give a name that a caller sent as a message shows it: short and printable."""
    short = name if len(name) <= 80 else f"{name[:80]}…"
    return f"`{short}`" if short.isprintable() else f"`{ascii(short)[1:-1]}`"


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > 12 else ""
    return ", ".join(quoted(name) for name in names[:12]) + more if names else "none"


def _explain(
    tensor: Tensor, value: object, path: str, columns: tuple[str, ...] | None
) -> ValueRefused | ShapeRefused | EmptyInput:
    """Find the first value that keeps `value` from being the tensor, and say where it is."""
    where, expected = f"input `{tensor.name}`", f"`{tensor}`"
    if tensor.batched and value == []:
        return EmptyInput(where, expected=f"{expected} with at least one row", found=f"none at `{path}`")
    for kind, found, place in _offences(tensor, value, tensor.shape, path, columns):
        return kind(where, expected=expected, found=f"{found} at `{place}`")
    # Only the sizes of dynamic dimensions are left: they differ, or an empty list hides the next one.
    found = f"lists of different lengths, or empty ones, at `{path}`"
    return ShapeRefused(where, expected=expected, found=found)


def _offences(
    tensor: Tensor,
    value: object,
    shape: tuple[int | str, ...],
    path: str,
    columns: tuple[str, ...] | None,
) -> Iterator[tuple[type[ValueRefused | ShapeRefused], str, str]]:
    if not shape:
        found = _bad_scalar(tensor, value)
        if found is not None:
            yield ValueRefused, found, path
        return
    if not isinstance(value, list):
        yield ValueRefused, describe(value), path
        return
    want = shape[0]
    if isinstance(want, int) and len(value) != want:
        yield ShapeRefused, f"{len(value)} value{'' if len(value) == 1 else 's'}", path
        return
    for at, item in enumerate(value):
        named = columns is not None and len(shape) == 1 and at < len(columns)
        place = f"{path}.{columns[at]}" if columns and named else f"{path}[{at}]"
        yield from _offences(tensor, item, shape[1:], place, columns)


def _bad_scalar(tensor: Tensor, value: object) -> str | None:
    """Describe `value` if it is not a JSON scalar of the tensor's dtype, else None."""
    dtype = tensor.dtype
    if value is None:
        return None if tensor.allows_nan and dtype.startswith("float") else "null"
    if dtype in ("bool", "string"):
        if not isinstance(value, bool if dtype == "bool" else str):
            return describe(value)
        unfit = isinstance(value, str) and _unfit_text(value)
        return "a string with a NUL or a lone surrogate" if unfit else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return describe(value)
    return _bad_number(tensor, value)


def _bad_number(tensor: Tensor, value: float) -> str | None:
    beyond = f"{describe(value)}, which is beyond {tensor.dtype},"
    if tensor.dtype.startswith("float"):
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN" if math.isnan(value) and not tensor.allows_nan else None
        try:
            with np.errstate(over="ignore"):
                over = np.isinf(np.float64(value).astype(tensor.numpy_dtype))
        except OverflowError:  # an integer beyond every float
            return beyond
        return beyond if over else None
    info = np.iinfo(tensor.numpy_dtype)
    if isinstance(value, float) and not value.is_integer():
        return describe(value)
    if not info.min <= value <= info.max:
        return beyond
    if isinstance(value, float) and not _is_whole(value):
        return f"{describe(value)}, a float too large to be one integer,"
    return None
