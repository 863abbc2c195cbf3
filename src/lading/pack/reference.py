"""Reference data: what a model was trained on, read as its samples are, and the labels of those rows.

Rows that the model's signature does not take are left out, counted and named. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lading.convert.table import Table, is_missing
from lading.errors import InputError, InvalidSetting, SamplesRefused
from lading.pack.sources import read_samples
from lading.signature import Array, Signature, Tensor, label_output, named_labels

CHUNK_VALUES = 2**22
_LABELS = "`reference_labels`"
_HINT = "pass one label for each row of `reference`, in its order, or the name of its column"


@dataclass(frozen=True)
class Reference:
    """The reference data that `pack` was called with.

    ``data`` are rows in any form of samples, None without any. ``wanted`` is false if no profile is to be
    made. ``table`` are the rows to measure as the model's route reads them, ``of_samples`` says that they
    are its samples, ``most_answered`` to how many of them the model is asked, 0 for the usual number.
    """

    data: Any = None
    labels: Array | None = None
    wanted: bool = True
    table: Table | None = None
    of_samples: bool = False
    most_answered: int = 0


def read_reference(data: Any, labels: Any, *, wanted: bool) -> Reference:
    """Return reference data and labels as `pack` takes them: rows, files, or the name of a column.

    Raises `SamplesRefused`, `InvalidSetting`.
    """
    if not wanted and (data is not None or labels is not None):
        raise InvalidSetting("`profile`", expected="true with `reference`", found="false")
    if data is None:
        if labels is not None:
            raise InvalidSetting(
                _LABELS, expected="labels of the rows of `reference`", found="no `reference`"
            )
        return Reference(wanted=wanted)
    with_name = _named_reference(data)
    rows = read_samples(data)
    if labels is None:
        return Reference(rows)
    if isinstance(labels, str) and not Path(labels).is_file():
        rows, labels = _taken_out(rows, labels, with_name)
    return Reference(rows, _label_values(labels))


def _named_reference(data: Any) -> str:
    return f"reference `{data}`" if isinstance(data, str | Path) else "`reference`"


def _taken_out(rows: Any, column: str, where: str) -> tuple[Any, Any]:
    """Return rows without the column of labels, and the labels."""
    names = [str(name) for name in getattr(rows, "columns", rows if isinstance(rows, Mapping) else ())]
    if column not in names:
        listed = ", ".join(f"`{name}`" for name in names[:12]) or "no columns"
        raise InvalidSetting(
            _LABELS, expected=f"a file, or a column of {where}: {listed}", found=f"`{column}`"
        )
    labels = rows[column]
    if isinstance(rows, Mapping):
        return {name: values for name, values in rows.items() if name != column}, labels
    # A frame of polars drops a column by its name, too.
    return (rows.drop(columns=[column]) if hasattr(rows, "iloc") else rows.drop(column)), labels


def _label_values(labels: Any) -> Array:
    content = read_samples(labels)
    if isinstance(content, Mapping):
        content = next(iter(content.values())) if len(content) == 1 else content
    elif hasattr(content, "columns"):
        names = list(content.columns)
        content = content[names[0]] if len(names) == 1 else content
    values = np.asarray(content.to_numpy() if hasattr(content, "to_numpy") else content)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim != 1:
        raise InvalidSetting(
            _LABELS, expected="one label a row", found=f"shape {list(values.shape)}", hint=_HINT
        )
    return values


def reference_table(reference: Reference, read: Callable[[Any], Table]) -> Table | None:
    """Return reference data as the model's route reads samples, or None without any.

    Raises `SamplesRefused`, `InvalidSetting` for another number of labels.
    """
    if reference.data is None:
        return None
    try:
        table = read(reference.data)
    except SamplesRefused as error:
        raise SamplesRefused(
            error.where.replace("samples of", "reference of", 1),
            expected=error.expected,
            found=error.found,
            hint=error.hint,
        ) from error
    labels = reference.labels
    if labels is not None and len(labels) != table.rows:
        raise InvalidSetting(
            _LABELS, expected=f"{table.rows} labels, one a row", found=str(len(labels)), hint=_HINT
        )
    return table


@dataclass
class Refused:
    """Rows that the signature does not take: how many, and what the first of them is."""

    count: int = 0
    first: str = ""


@dataclass(frozen=True)
class ReferenceRows:
    """Rows of a table as arrays of a signature, a part at a time."""

    table: Table
    signature: Signature
    refused: Refused = field(default_factory=Refused)

    def parts(self, every: int = 1) -> Iterator[tuple[Array, dict[str, Array]]]:
        """Return indices of rows and their values, of each `every`-th row, without rows that are refused."""
        rows = np.arange(0, self.table.rows, every)
        self.refused.count = 0
        size = max(1, CHUNK_VALUES // self.row_size)
        for start in range(0, len(rows), size):
            index = rows[start : start + size]
            # A view where that is possible: the data may be large.
            cut = slice(int(index[0]), int(index[-1]) + 1, every)
            arrays = {name: array[cut] for name, array in self.table.arrays.items()}
            yield from self._cast(index, self.table.with_arrays(arrays).feed(self.signature.inputs))

    @property
    def row_size(self) -> int:
        """How many values a row has."""
        return max(1, sum(array[:1].size for array in self.table.arrays.values()))

    def _cast(self, index: Array, arrays: dict[str, Array]) -> Iterator[tuple[Array, dict[str, Array]]]:
        fits = np.ones(len(index), bool)
        for tensor in self.signature.inputs:
            fits &= ~_refused_numbers(tensor, arrays[tensor.name])
        if not fits.all():
            self._refuse(index[~fits][:1], _rows(arrays, np.flatnonzero(~fits)[:1]), int((~fits).sum()))
            index, arrays = index[fits], _rows(arrays, np.flatnonzero(fits))
        if len(index):
            yield from self._halves(index, arrays)

    def _halves(self, index: Array, arrays: dict[str, Array]) -> Iterator[tuple[Array, dict[str, Array]]]:
        """Cast rows; if they are refused, halves of them, down to the row that is."""
        try:
            cast = self.signature.cast(arrays)
        except InputError as error:
            if len(index) == 1:
                self._count(int(index[0]), error, 1)
                return
            middle = len(index) // 2
            for half in (np.arange(middle), np.arange(middle, len(index))):
                yield from self._halves(index[half], _rows(arrays, half))
        else:
            yield index, cast

    def _refuse(self, index: Array, arrays: dict[str, Array], count: int) -> None:
        try:
            self.signature.cast(arrays)
        except InputError as error:
            self._count(int(index[0]), error, count)

    def _count(self, row: int, error: InputError, count: int) -> None:
        # The place of a value in the part is not its place in the data.
        actual = (error.found or error.message).partition(" at [")[0]
        self.refused.first = self.refused.first or f"row {row}, {error.where}: {actual}"
        self.refused.count += count


def _refused_numbers(tensor: Tensor, array: Array) -> Array:
    """Return for each row whether it has a float that the tensor does not take: most of what is refused."""
    wrong: Array = np.zeros(len(array), bool)
    if array.dtype.kind != "f" or tensor.dtype == "string":
        return wrong
    if tensor.dtype.startswith("float"):
        with np.errstate(over="ignore", invalid="ignore"):
            refused = tensor.refused_floats(array.astype(tensor.numpy_dtype))
    else:
        refused = ~np.isfinite(array)
    if refused is not None:
        wrong |= refused.reshape(len(array), -1).any(1)
    return wrong


def _rows(arrays: Mapping[str, Array], index: Array) -> dict[str, Array]:
    return {name: array[index] for name, array in arrays.items()}


def hits(
    signature: Signature, names: Mapping[str, str], outputs: Mapping[str, Array], labels: Array
) -> Array:
    """Return for each row whether it was predicted right: 1 or 0, and -1 without a label.

    Labels are compared by name: both may be class values or the display `names` of these.
    Raises `InvalidSetting` if the model names no class.
    """
    tensor = label_output(signature.outputs)
    predicted = None if tensor is None else named_labels(tensor, outputs[tensor.name], names)
    if predicted is None or any(isinstance(value, list) for value in predicted[:1]):
        outs = ", ".join(f"`{tensor.name}`" for tensor in signature.outputs)
        raise InvalidSetting(
            _LABELS,
            expected="a model that names one class for each row",
            found=f"outputs {outs}",
            hint="leave them out: the profile of other outputs needs no labels",
        )
    pairs = zip(predicted, labels.tolist(), strict=True)
    return np.array(
        [
            -1 if is_missing(truth) or truth == "" else _name(value, names) == _name(truth, names)
            for value, truth in pairs
        ],
        np.int8,
    )


def _name(value: Any, names: Mapping[str, str]) -> str:
    # Labels of a file with a gap are floats: 1.0 is the class 1.
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return names.get(str(value)) or names.get(text) or text
