"""Named inputs and outputs of a model, and the checking of values against them.

A value is taken as it is, cast without change, or refused with the path of the first offender; nothing
is clipped, parsed from text or padded. Reads no bytes (`csvtext` and protocols do) and runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from lading.errors import EmptyInput, InputMissing, InputUnknown, LadingError, ShapeRefused, ValueRefused
from lading.signature.arrays import cast_array
from lading.signature.labels import label_output, named_labels
from lading.signature.tensor import (
    BATCH,
    DTYPES,
    Array,
    DType,
    Tensor,
    describe,
    listed,
    missing,
    names_of,
    quoted,
)
from lading.signature.values import cast_json

__all__ = [
    "BATCH",
    "DTYPES",
    "Array",
    "DType",
    "Signature",
    "Tensor",
    "cast_array",
    "cast_json",
    "describe",
    "label_output",
    "missing",
    "named_labels",
    "quoted",
]


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

    @property
    def fixed_rows(self) -> bool:
        """Whether a row of every input can have one shape only, so that any rows can be put together."""
        rows = (tensor.shape[1:] if tensor.batched else tensor.shape for tensor in self.inputs)
        return all(isinstance(size, int) for shape in rows for size in shape)

    def input(self, name: str) -> Tensor:
        """Return the input called `name`; raises `InputUnknown`."""
        for tensor in self.inputs:
            if tensor.name == name:
                return tensor
        raise InputUnknown(f"input {quoted(name)}", expected=names_of(self.inputs), found=quoted(name))

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
            raise ValueRefused(
                f"`{path}[0]`", expected=f"an object with {names_of(self.inputs)}", found=found
            )
        for at, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != len(self.inputs):
                found = f"{len(row)} values" if isinstance(row, list) else describe(row)
                expected = f"{len(self.inputs)} values: {names_of(self.inputs)}"
                kind = ShapeRefused if isinstance(row, list) else ValueRefused
                raise kind(f"`{path}[{at}]`", expected=expected, found=found)
        return {
            tensor.name: _cast_column(tensor, [row[at] for row in rows], path, at)  # type: ignore[index]
            for at, tensor in enumerate(self.inputs)
        }


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
            given = listed(list(row))
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
