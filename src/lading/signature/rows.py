"""One row where rows are expected: an object of single values, or a row of a data frame. Checks no value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lading.signature import Signature


def may_be_row(data: Any) -> bool:
    """Return whether `data` may be one row; `as_rows` decides, by a signature."""
    if isinstance(data, Mapping):
        return any(_is_single(value) for value in data.values())
    return _is_series(data)


def as_rows(signature: Signature, data: Any) -> Any:
    """Return ``[row]`` if `data` is one row of this model, else `data` as it is.

    A series is a row if it is labelled by columns of the model, or if its only input takes lists of values;
    else it is a column, as of texts.
    """
    columns = signature.columns
    if isinstance(data, Mapping):
        return [data] if columns and may_be_row(data) else data
    if not _is_series(data):
        return data
    labels = [str(label) for label in data.index]
    if set(labels) & set(columns):
        return [dict(zip(labels, data.tolist(), strict=True))]
    only = signature.inputs[0]
    takes_lists = len(signature.inputs) == 1 and only.batched and len(only.shape) == 2 and only.shape[1] != 1
    return [data.tolist()] if takes_lists else data


def _is_single(value: Any) -> bool:
    # An array of no dimensions has `__len__`, too.
    return (
        isinstance(value, str | bytes) or getattr(value, "ndim", None) == 0 or not hasattr(value, "__len__")
    )


def _is_series(data: Any) -> bool:
    # By what it can do: pandas is not imported to recognise its values.
    return all(hasattr(data, name) for name in ("index", "to_dict", "tolist")) and not hasattr(
        data, "columns"
    )
