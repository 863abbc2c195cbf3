"""Samples in memory: as the framework takes them and, column by column, as a model's inputs.

Reads no file and draws nothing; `lading.pack` does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from lading.errors import SamplesRefused
from lading.signature import BATCH, Array, Tensor

Kind = Literal["array", "frame", "named"]

MISSING_TEXT_HINT = (
    'texts cannot be missing: fill them with "" (`frame.fillna("")`), in training, in samples and in'
    ' requests; a `SimpleImputer(missing_values="")` replaces that'
)


@dataclass(frozen=True)
class Table:
    """Rows of samples. Every array has the rows first, but for named arrays of a model without a batch.

    ``array``: one array called ``X``. ``frame``: one ``[rows]`` array per column of a data frame. ``named``:
    one array per input, as an ONNX file has them. Numbers keep the dtype they came in; texts are object
    arrays of ``str``. ``words`` are the texts that the model itself knows, by (array, column in it), and
    ``categories`` the values that its encoders were fitted with, NaN for a missing one. ``blank`` are the
    columns of texts in which the empty one stands for a missing value. Of named arrays ``independent`` says
    that a framework is at hand which answers each row alone.
    """

    kind: Kind
    arrays: dict[str, Array]
    pandas_dtypes: dict[str, Any] = field(default_factory=dict)
    words: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    categories: dict[tuple[str, int], tuple[Any, ...]] = field(default_factory=dict)
    blank: frozenset[str] = frozenset()
    independent: bool = False

    @property
    def drawable(self) -> bool:
        """Whether a framework can be asked rows that are drawn like these."""
        return self.kind != "named" or self.independent

    @property
    def rows(self) -> int:
        """How many rows there are; of named arrays, those of the first that has an axis."""
        return next((len(array) for array in self.arrays.values() if array.ndim), 1)

    @property
    def numeric(self) -> bool:
        """Whether every array holds numbers (no texts, no booleans)."""
        return all(array.dtype.kind in "iuf" for array in self.arrays.values())

    def take(self, index: Array) -> Table:
        """Return the rows at `index`."""
        return self.with_arrays({name: array[index] for name, array in self.arrays.items()})

    def with_arrays(self, arrays: dict[str, Array]) -> Table:
        """Return a table of the same kind with other values."""
        return replace(self, arrays=arrays)

    def framework_rows(self) -> Any:
        """Return what the framework's own predict takes: an array, or a data frame of the original dtypes."""
        if self.kind != "frame":
            return self.arrays["X"]
        import pandas as pd

        columns = {
            name: np.where(array == "", np.array(None, dtype=object), array) if name in self.blank else array
            for name, array in self.arrays.items()
        }
        return pd.DataFrame(
            {name: pd.Series(array, dtype=self._pandas_dtype(name, array)) for name, array in columns.items()}
        )

    def _pandas_dtype(self, name: str, array: Array) -> Any:
        dtype = self.pandas_dtypes[name]
        if hasattr(dtype, "categories"):  # one more is what a frame with another value has
            import pandas as pd

            unknown = pd.Index(pd.unique(pd.Series(array).dropna())).difference(dtype.categories)
            return (
                pd.CategoricalDtype(dtype.categories.append(unknown), dtype.ordered)
                if len(unknown)
                else dtype
            )
        # Probe rows may put fractions into a column of whole numbers; the column's own dtype would cut them.
        return array.dtype if array.dtype.kind == "f" and getattr(dtype, "kind", "f") in "iu" else dtype

    def with_categories(self, values: Mapping[str, Sequence[Any]]) -> Table:
        """Return the table with these categories as dtypes of columns that came without any."""
        import pandas as pd

        dtypes = dict(self.pandas_dtypes)
        for name, own in values.items():
            if not hasattr(dtypes[name], "categories"):
                dtypes[name] = pd.CategoricalDtype(list(own))
        return replace(self, pandas_dtypes=dtypes)

    def has_nan(self, name: str | None = None) -> bool:
        """Return whether a value (of the array `name`) is missing."""
        arrays = self.arrays.values() if name is None else [self.arrays[name]]
        return any(array.dtype.kind == "f" and bool(np.isnan(array).any()) for array in arrays)

    def knows_missing(self) -> bool:
        """Return whether the model was fitted with a missing value as a category of a column of numbers."""
        return any(
            self.arrays[name].dtype.kind in "iuf" and any(is_missing(value) for value in own)
            for (name, _), own in self.categories.items()
        )

    def whole_categories(self, name: str) -> bool:
        """Return whether the array `name` has integers, and each column an encoder that knows only such."""
        array = self.arrays[name]
        width = array.shape[1] if array.ndim == 2 else 1
        known = [self.categories.get((name, at), ()) for at in range(width)]
        return array.dtype.kind in "iu" and all(
            own and all(type(value) is int for value in own) for own in known
        )

    def feed(self, inputs: tuple[Tensor, ...]) -> dict[str, Array]:
        """Return one array per input of a signature, in the dtypes of the samples."""
        if self.kind == "frame" and len(inputs) == 1 and inputs[0].columns:
            stacked = np.column_stack([self.arrays[column] for column in inputs[0].columns])
            return {inputs[0].name: stacked}  # [rows, columns]
        if len(inputs) == 1 and len(self.arrays) == 1:
            only = next(iter(self.arrays.values()))
            return {inputs[0].name: _shaped(only, inputs[0])}
        return {tensor.name: _shaped(self.arrays[tensor.name], tensor) for tensor in inputs}


def make_table(
    samples: Any, title: str, used: Collection[str] | None = None, *, blank: bool = False
) -> Table:
    """Read an array, a data frame, a series, lists of rows, or a mapping of arrays.

    Of a data frame no column but the `used` ones is read: others may have values that no tensor has. With
    `blank`, texts of a data frame may be missing, and are empty then.
    Raises `SamplesRefused` naming the model `title`.
    """
    if isinstance(samples, Table):
        return samples
    if isinstance(samples, Mapping):
        arrays = {
            str(name): _tensor_values(name, np.asarray(array), title) for name, array in samples.items()
        }
        table = Table("named", arrays)
    # Data frames and sparse matrices by what they can do: neither pandas nor scipy is imported for it.
    elif hasattr(samples, "to_numpy") and hasattr(samples, "columns"):
        table = _frame_table(samples, title, used, blank=blank)
    elif hasattr(samples, "toarray"):
        table = Table("array", {"X": _tensor_values("X", samples.toarray(), title)})
    else:
        table = _array_table(np.asarray(samples), title)
    _check_rows(table, title)
    return table


def make_frame(columns: Mapping[str, Array]) -> Any:
    """Return a data frame of these columns, each of ``[rows]`` or ``[rows, 1]``."""
    import pandas as pd

    return pd.DataFrame({name: array.reshape(len(array)) for name, array in columns.items()})


def is_number(text: object) -> bool:
    """Return whether a text can be read as a number."""
    try:
        float(str(text))
    except ValueError:
        return False
    return True


def is_missing(value: object) -> bool:
    """Return whether a value of Python's stands for a missing one: None, NaN, or pandas' NA."""
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _array_table(array: Array, title: str) -> Table:
    if array.dtype.kind == "O" and array.ndim == 0:
        raise SamplesRefused(
            f"samples of `{title}`",
            expected="rows: an array, a data frame, or lists of values",
            found=f"`{type(array.item()).__qualname__}`",
        )
    if array.dtype.kind == "O" and array.ndim == 2:
        # Rows of Python objects: each column gets the dtype that its values have.
        columns = [
            _tensor_values(at, _without_objects(array[:, at]), title)  # [rows]
            for at in range(array.shape[1])
        ]
        if len({column.dtype.kind for column in columns}) > 1:
            raise SamplesRefused(
                f"samples of `{title}`",
                expected="one kind of value",
                found="an array that mixes numbers and texts",
                hint="pass a pandas DataFrame whose columns have one kind each, and train on one",
            )
        return Table("array", {"X": np.column_stack(columns)})  # [rows, columns]
    return Table("array", {"X": _tensor_values("X", array, title)})


def _without_objects(values: Array) -> Array:
    return values if any(isinstance(value, str) for value in values) else np.asarray(values.tolist())


def _frame_table(frame: Any, title: str, used: Collection[str] | None, *, blank: bool) -> Table:
    import pandas as pd

    if hasattr(frame, "to_dicts"):
        # A frame of polars is an array of objects to pandas, but its columns have kinds.
        frame = pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})
    names = [str(name) for name in frame.columns]
    if len(set(names)) != len(names):
        raise SamplesRefused(f"samples of `{title}`", expected="each column once", found="a column twice")
    frame = pd.DataFrame(frame).reset_index(drop=True)
    frame.columns = pd.Index(names)
    names = [name for name in names if used is None or name in used]
    columns = {name: _column_values(frame[name]) for name in names}
    blanks = {name for name in names if blank and _misses_texts(columns[name])}
    for name in blanks:
        columns[name] = np.where(frame[name].isna(), "", columns[name])
    arrays = {name: _tensor_values(name, column, title) for name, column in columns.items()}
    dtypes = {name: frame[name].dtype for name in names}
    return Table("frame", arrays, dtypes, blank=frozenset(blanks))


def _misses_texts(column: Array) -> bool:
    """Return whether a column has texts and missing values."""
    return (
        column.dtype.kind == "O"
        and any(isinstance(value, str) for value in column)
        and any(is_missing(value) for value in column)
    )


def _column_values(series: Any) -> Array:
    """Return a column as numpy has it: categories as their values, missing numbers as NaN."""
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return np.asarray(series.to_numpy())
    if pd.api.types.is_numeric_dtype(dtype):
        # Only floats have a NaN: whole numbers with gaps become float64, as in numpy.
        kind = np.float64 if series.isna().any() else getattr(dtype, "numpy_dtype", dtype)
        # pandas fills gaps of categories although there are none, and cannot with None.
        gaps = {"na_value": np.nan} if series.isna().any() else {}
        return np.asarray(series.to_numpy(dtype=kind, **gaps))
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return np.asarray(series.to_numpy())
    return np.asarray(series.to_numpy(dtype=object))


def _tensor_values(name: object, array: Array, title: str) -> Array:
    """Return the array if a tensor can have its values; texts become object arrays of ``str``."""
    where = f"samples of `{title}`, column `{name}`"
    if array.dtype.kind in "biuf":
        if array.dtype == np.float16 or array.dtype.itemsize <= 8:  # not long double
            return array
    elif array.dtype.kind in "US":
        return array.astype(str).astype(object)
    elif array.dtype.kind == "O":
        return _checked_texts(array, where)
    hint = "pass numbers, booleans or texts; a date becomes a number, e.g. days since a day"
    raise SamplesRefused(where, expected="numbers, booleans or texts", found=f"`{array.dtype}`", hint=hint)


def _checked_texts(array: Array, where: str) -> Array:
    for index, value in np.ndenumerate(array):
        if not isinstance(value, str):
            missing = is_missing(value)
            kind = "a missing value" if missing else type(value).__name__
            hint = MISSING_TEXT_HINT if missing else None
            raise SamplesRefused(where, expected="texts only", found=f"{kind} in row {index[0]}", hint=hint)
    return array


def _shaped(array: Array, tensor: Tensor) -> Array:
    """Make ``[rows, 1]`` of ``[rows]`` if the input is a matrix of one column."""
    column = array.ndim == 1 and len(tensor.shape) == 2 and tensor.shape[0] == BATCH
    return array.reshape(-1, 1) if column else array


def _check_rows(table: Table, title: str) -> None:
    where = f"samples of `{title}`"
    has_scalars = any(array.ndim == 0 for array in table.arrays.values())
    if not table.arrays or (has_scalars and table.kind != "named"):
        raise SamplesRefused(where, expected="rows of values", found="a single value or none")
    sizes = {len(array) for array in table.arrays.values() if array.ndim}
    if len(sizes) > 1 and table.kind != "named":
        raise SamplesRefused(where, expected="columns of one length", found=f"lengths {sorted(sizes)}")
    if 0 in sizes:
        raise SamplesRefused(where, expected="at least one row", found="none")
