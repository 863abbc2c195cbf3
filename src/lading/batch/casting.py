"""Columns of a file as the inputs of a model, cast as the server casts; rows that do not fit are set aside.

Values are held to the signature that requests are held to. Reads no file and runs no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lading.batch.columns import flat, is_list, is_text, nested, parts, scalars
from lading.batch.tables import Rejected, Rows, shown, shown_row
from lading.errors import InputError, InputMissing, ShapeRefused, ValueRefused
from lading.signature import BATCH, Array, Signature, Tensor, cast_json

_LONGEST_SHOWN = 2000
_FEW_ROWS = 4096

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
        if schema is None:
            return tuple(name for source in self._sources for name in source.columns)
        # Counted once: a file may have a hundred thousand columns.
        names = Counter(schema.names)
        wanted: list[str] = []
        for source in self._sources:
            chosen = _as_lists(source) if _has_lists(source, names) else source
            for name in chosen.columns:
                if names[name] > 1:
                    raise ShapeRefused(where, expected=f"column `{name}` once", found="it several times")
                if not names[name]:
                    raise _missing(name, schema.names, where)
                _check_kind(chosen, name, schema.field(name).type, where)
            wanted += chosen.columns
        return tuple(dict.fromkeys(wanted))

    def cast(self, rows: Rows) -> Fitting:
        """Cast what fits; everything else comes out with its reason, in the order of the rows."""
        reasons: Reasons = {}
        count = len(rows.objects) if rows.objects is not None else len(rows.batch)
        if rows.objects is not None:
            inputs = self._of_objects(rows.objects, reasons)
        else:
            inputs = {each.tensor.name: self._of_columns(each, rows, reasons) for each in self._sources}
        # Cast as a whole: arrays have a place for each row until those that do not fit are known.
        kept = np.ones(count, bool)
        kept[list(reasons)] = False
        if reasons and rows.objects is None:
            inputs = {name: array[kept] for name, array in inputs.items()}
        refused = [
            Rejected(rows.numbers[at].as_py(), reasons[at], _content(rows, at)) for at in sorted(reasons)
        ]
        refused = sorted([*refused, *rows.rejected], key=lambda each: each.row)
        return Fitting(np.flatnonzero(kept), inputs, tuple(refused))

    def _of_columns(self, source: _Source, rows: Rows, reasons: Reasons) -> Array:
        if source.is_stacked and _has_lists(source, rows.batch.schema.names):
            source = _as_lists(source)
        if source.is_stacked:
            return _stacked(source, rows, reasons)
        tensor, name = source.tensor, source.columns[0]
        column = rows.batch.column(name)
        if tensor.scalar_rows:
            known = _known(reasons, len(column))
            values, wrong = scalars(flat(tensor, None), column, texts=rows.texts, known=known)
            _add(reasons, name, wrong)
            return values.reshape(-1, *tensor.shape[1:])
        lists = nested(tensor, column, _problem)
        if lists is None:
            expected = f"`{tensor}` of one size in all rows"
            raise ShapeRefused(f"column `{name}`", expected=expected, found="several sizes")
        _add(reasons, name, lists[1])
        return lists[0]

    def _of_objects(self, objects: Sequence[Mapping[str, Any]], reasons: Reasons) -> dict[str, Array]:
        def cast(start: int, end: int) -> dict[str, Array]:
            values: dict[str, Any] = {}
            for source in self._sources:
                listed = [_row(source, objects[at]) for at in range(start, end)]
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


def _row(source: _Source, row: Mapping[str, Any]) -> Any:
    if source.is_stacked and _has_lists(source, row):
        return row[source.tensor.name]
    for name in source.columns:
        if name not in row:
            raise InputMissing("the row", expected=f"`{name}`", found="no such key")
    if source.is_stacked:
        return [row[name] for name in source.columns]
    return row[source.columns[0]]


def _has_lists(source: _Source, names: Container[str]) -> bool:
    """Return whether rows of a tensor with named columns come as lists, under the name of the tensor."""
    return source.is_stacked and source.tensor.name in names and source.columns[0] not in names


def _as_lists(source: _Source) -> _Source:
    return _Source(source.tensor, (source.tensor.name,), is_stacked=False)


def _stacked(source: _Source, rows: Rows, reasons: Reasons) -> Array:
    """Return a tensor of columns, ``[rows, columns]``."""
    # Column by column: a table of mixed kinds has no common dtype that would hold all of them exactly.
    tensor, batch = source.tensor, rows.batch
    # One column after the other in memory, as they came and as they are counted.
    whole = np.empty((len(source.columns), len(batch)), tensor.numpy_dtype)
    if not len(batch):
        return whole.T
    if len(batch) <= _FEW_ROWS < len(batch) * len(source.columns):
        _stack_alike(source, rows, whole, reasons)
        return whole.T
    for at, name in enumerate(source.columns):
        known = _known(reasons, len(batch))
        column = batch.column(name)
        whole[at], wrong = scalars(flat(tensor, at), column, texts=rows.texts, known=known)
        _add(reasons, name, wrong)
    return whole.T


def _stack_alike(source: _Source, rows: Rows, whole: Array, reasons: Reasons) -> None:
    """Fill `whole`, ``[columns, rows]``, those of one kind as one: each call costs more than its few rows."""
    tensor, count = source.tensor, len(rows.batch)
    alike: dict[tuple[pa.DataType, bool], list[int]] = {}
    columns = [rows.batch.column(name) for name in source.columns]
    for at, column in enumerate(columns):
        alike.setdefault((column.type, tensor.at_column(at).allows_nan), []).append(at)
    first: dict[int, tuple[int, str]] = {}
    for group in alike.values():
        joined = _joined([columns[at] for at in group])
        known = _known(reasons, count)
        known = None if known is None else np.tile(known, len(group))
        values, wrong = scalars(flat(tensor, group[0]), joined, texts=rows.texts, known=known)
        whole[group] = values.reshape(len(group), count)
        # The first column counts, as if they had been looked at one after the other.
        for place, text in wrong.items():
            found_at = (group[place // count], text)
            first[place % count] = min(first.get(place % count, found_at), found_at)
    for row, (at, text) in sorted(first.items()):
        _add(reasons, source.columns[at], {row: text})


def _joined(columns: Sequence[pa.Array]) -> pa.Array:
    if pa.types.is_dictionary(columns[0].type):
        columns = [column.dictionary_decode() for column in columns]
    return pa.concat_arrays(columns)


def _known(reasons: Reasons, count: int) -> Array | None:
    if not reasons:
        return None
    known = np.zeros(count, bool)
    known[list(reasons)] = True
    return known


def _add(reasons: Reasons, name: str, wrong: Mapping[int, str]) -> None:
    for at, text in wrong.items():
        reasons.setdefault(at, f"column `{name}`: {text}")


def _problem(error: InputError) -> str:
    """Return why a list is refused, and where in it."""
    return _with_path(f"expected {error.expected}, found {error.found}", error)


def _with_path(text: str, error: InputError) -> str:
    # The place in the batch says nothing to those who read it; that within the row does.
    within = (error.path or "$").removeprefix("$").removeprefix("[0]")
    text = f"{text} at `{within}`" if within else text
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _content(rows: Rows, at: int) -> str:
    return shown(rows.objects[at]) if rows.objects is not None else shown_row(rows.batch, at)


def _sources(signature: Signature) -> Iterator[_Source]:
    for tensor in signature.inputs:
        if tensor.columns and len(tensor.shape) == 2:
            yield _Source(tensor, tensor.columns, is_stacked=True)
        else:
            yield _Source(tensor, (tensor.name,), is_stacked=False)


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
        fits = is_list(kind) or is_text(kind)
    if not fits:
        hint = "a time must be the number or the text that the model was trained on"
        raise ValueRefused(
            f"{where}, column `{name}`",
            expected=f"`{tensor.dtype}`" if tensor.scalar_rows or source.is_stacked else f"`{tensor}`",
            found=f"`{kind}`",
            hint=hint if pa.types.is_temporal(kind) else None,
        )


def _fits_scalar(tensor: Tensor, kind: pa.DataType) -> bool:
    if is_text(kind):
        return True  # Of a CSV, every column is; of another file, the values are refused one by one.
    if tensor.dtype == "string":
        return False
    if tensor.dtype == "bool":
        return bool(pa.types.is_boolean(kind))
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _missing(name: str, names: Sequence[str], where: str) -> InputMissing:
    listed = ", ".join(f"`{each}`" for each in names[:12]) + (", …" if len(names) > 12 else "")
    return InputMissing(where, expected=f"column `{name}`", found=listed or "no columns")


def _pieces(
    count: int, cast: Callable[[int, int], dict[str, Array]], reasons: Reasons
) -> Iterator[dict[str, Array]]:
    for start, _, part in parts(count, cast):
        if isinstance(part, InputError):
            where = part.where.replace("$[0]", "the row")
            reasons.setdefault(
                start, _with_path(f"{where}: expected {part.expected}, found {part.found}", part)
            )
        else:
            yield part
