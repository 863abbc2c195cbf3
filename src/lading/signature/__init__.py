"""Named inputs and outputs of a model, and the checking of values against them.

A value is accepted as it is, cast without change, or refused with the path of the first offender; nothing
is clipped, parsed from text or padded. Reads no bytes (`csvtext` and protocols do) and runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from lading import notebook
from lading.errors import EmptyInput, InputMissing, InputUnknown, ShapeRefused, ValueRefused
from lading.signature.arrays import cast_array
from lading.signature.labels import label_output, named_labels
from lading.signature.tensor import (
    BATCH,
    DTYPES,
    UNNAMED,
    USUAL_BOUND,
    Array,
    DType,
    Tensor,
    all_within,
    bound_of,
    describe,
    input_missing,
    list_names,
    names_of,
    quoted,
)
from lading.signature.values import cast_json

__all__ = [
    "BATCH",
    "DTYPES",
    "UNNAMED",
    "USUAL_BOUND",
    "Array",
    "DType",
    "Signature",
    "Tensor",
    "all_within",
    "bound_of",
    "cast_array",
    "cast_json",
    "describe",
    "input_missing",
    "label_output",
    "named_labels",
    "quoted",
]


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The inputs and outputs of a model, in the model's order.

    ``independent_rows`` is false if the answer to a row depends on the other rows of its request: such
    rows are run as they came, never with those of other requests and never in parts.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    independent_rows: bool = True

    def __repr__(self) -> str:
        def listed(tensors: tuple[Tensor, ...]) -> str:
            return ", ".join(f"{tensor.name}: {tensor}" for tensor in tensors)

        tensors = f"{listed(self.inputs)} → {listed(self.outputs)}"
        return f"Signature({notebook.line(tensors)})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("signature", self)

    @property
    def batched(self) -> bool:
        """Return whether rows may be run in any company: requests can be merged, and divided."""
        return self.independent_rows and all(tensor.batched for tensor in (*self.inputs, *self.outputs))

    @property
    def primary(self) -> Tensor:
        """Return the output of `predict`: probabilities, else scores, else value, else the first."""
        named = {tensor.name: tensor for tensor in self.outputs}
        by_rank = (named[name] for name in ("probabilities", "scores", "value") if name in named)
        return next(by_rank, self.outputs[0])

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the keys of a row that is written as an object; empty if no row can be."""
        if len(self.inputs) == 1 and self.inputs[0].columns:
            return self.inputs[0].columns
        if all(tensor.batched for tensor in self.inputs) and len(self.inputs) > 1:
            return tuple(tensor.name for tensor in self.inputs)
        return ()

    @property
    def fixed_rows(self) -> bool:
        """Return whether a row of every input has one fixed shape, so that any rows can run in one batch."""
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
            self.input(name)  # Raises for an unknown name.
        cast = {}
        for tensor in self.inputs:
            if tensor.name not in arrays:
                raise input_missing(tensor, "the request", list(arrays))
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
        # The first row decides the form of all.
        if columns and isinstance(rows[0], dict):
            cast = self._cast_objects(rows, columns, path)
        elif len(self.inputs) == 1:
            cast = {self.inputs[0].name: cast_json(self.inputs[0], rows, path)}
        else:
            cast = self._cast_lists(rows, path)
        self.check_sizes(cast)
        return cast

    def check_sizes(self, arrays: Mapping[str, Array]) -> None:
        """Check that dimensions of one name have one size across inputs; raises `ShapeRefused`.

        Sizes without a name are independent.
        """
        # The usual case, one input whose dimensions all differ, has nothing to compare.
        if len(self.inputs) == 1 and len(self.inputs[0].shape) == len(set(self.inputs[0].shape)):
            return
        sizes: dict[str, tuple[int, str]] = {}
        for tensor in self.inputs:
            for name, size in zip(tensor.shape, arrays[tensor.name].shape, strict=True):
                if isinstance(name, str) and name != UNNAMED:
                    first, owner = sizes.setdefault(name, (size, tensor.name))
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
                raise input_missing(tensor, f"`{path}`", list(values))
            cast[tensor.name] = cast_json(tensor, values[tensor.name], f"{path}.{tensor.name}")
        self.check_sizes(cast)
        return cast

    def _cast_objects(
        self, rows: list[dict[str, object]], columns: tuple[str, ...], path: str
    ) -> dict[str, Array]:
        _check_keys(rows, columns, path)
        if len(self.inputs) == 1:
            lists = [[row[column] for column in columns] for row in rows]  # [rows, columns]
            only = self.inputs[0]
            return {only.name: cast_json(only, lists, path, columns=columns)}
        return {
            tensor.name: _cast_column(tensor, [row[tensor.name] for row in rows], path)
            for tensor in self.inputs
        }

    def _cast_lists(self, rows: list[object], path: str) -> dict[str, Array]:
        if not all(tensor.scalar_rows for tensor in self.inputs):
            raise ValueRefused(
                f"`{path}[0]`", expected=f"an object with {names_of(self.inputs)}", found=describe(rows[0])
            )
        for at, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != len(self.inputs):
                text = f"{len(row)} values" if isinstance(row, list) else describe(row)
                expected = f"{len(self.inputs)} values: {names_of(self.inputs)}"
                kind = ShapeRefused if isinstance(row, list) else ValueRefused
                raise kind(f"`{path}[{at}]`", expected=expected, found=text)
        return {
            tensor.name: _cast_column(tensor, [row[at] for row in rows], path, at)  # type: ignore[index]
            for at, tensor in enumerate(self.inputs)
        }


def _check_keys(rows: Sequence[object], columns: tuple[str, ...], path: str) -> None:
    """Check that every row is an object with exactly the keys `columns`."""
    keys = set(columns)
    for at, row in enumerate(rows):
        if not isinstance(row, dict):
            where = f"`{path}[{at}]`"
            raise ValueRefused(where, expected="an object, as the first row is", found=describe(row))
        if row.keys() == keys:
            continue
        absent = [column for column in columns if column not in row]
        if absent:
            names = list_names(list(row))
            raise InputMissing(f"`{path}[{at}]`", expected=f"column `{absent[0]}`", found=f"columns {names}")
        unknown = next(key for key in row if key not in keys)
        expected = "the columns " + ", ".join(f"`{column}`" for column in columns)
        raise InputUnknown(f"`{path}[{at}]`", expected=expected, found=f"column {quoted(unknown)}")


def _cast_column(tensor: Tensor, values: list[object], path: str, at: int | None = None) -> Array:
    """Cast one input whose rows are `values`, the entry of its name, or entry `at`, of the caller's rows."""
    # Rows of a [batch, 1] tensor may be single values: these are cast flat and stood up afterwards.
    is_flat = tensor.scalar_rows and len(tensor.shape) == 2 and not isinstance(values[0], list)
    row_suffix = f".{tensor.name}" if at is None else f"[{at}]"
    shape = tensor.shape[:1] if is_flat else tensor.shape
    cast = cast_json(tensor, values, path, shape=shape, row_suffix=row_suffix)
    return cast.reshape(-1, 1) if is_flat else cast
