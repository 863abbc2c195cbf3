"""Samples for a model of MLflow: its input example, or those that are passed, as its signature has them.

MLflow checks a request against the signature, orders and casts its columns, and only then asks the model. The
same is done here once, so that the model is asked what MLflow would ask it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from lading.convert.table import is_missing, make_frame
from lading.errors import ConverterFailed, SamplesRefused, one_line
from lading.pack.facts import Note
from lading.pack.mlflow_folder import MlflowFolder
from lading.pack.mlflow_signature import FIX_HINT, Field, MlflowSignature, kind_of
from lading.signature import Array

_MOST_EXAMPLE_BYTES = 256 * 2**20
_SAMPLES_HINT = (
    "pass rows like those of requests: `lading pack {title} --samples rows.csv …`"
    " (`samples=X` in Python), or log the model again with `input_example=X`"
)


def folder_samples(folder: MlflowFolder, samples: Any, signature: MlflowSignature, note: Note) -> Any:
    """Return `samples`, or the rows of the folder's input example, as the signature has them.

    Raises `SamplesRefused` if there are neither, or if they are not what the signature says.
    """
    source = "samples"
    if samples is None:
        samples = _example(folder)
        source = "the input example"
    if signature.params:
        listed = ", ".join(f"`{name}`" for name in signature.params)
        note(f"{folder.where}: requests cannot set its parameters {listed}; they keep their defaults")
    where = f"{source} of {folder.where}"
    _refuse_other_types(signature.inputs or (), folder.where)
    if not signature.inputs:
        rows = _as_it_is(samples)
    elif signature.has_columns:
        rows = _columns(samples, signature.inputs, where, note)
    else:
        rows = _tensors(samples, signature.inputs, where)
    if source != "samples":
        note(f"{folder.where}: the proof is made of its input example; `--samples` takes more rows")
    return rows


def _refuse_other_types(fields: tuple[Field, ...], where: str) -> None:
    for field in fields:
        if field.kind == "other":
            raise ConverterFailed(
                where,
                expected="inputs of numbers, booleans or texts, which a tensor holds",
                found=f"{field} in MLflow's signature",
            )


def _example(folder: MlflowFolder) -> Any:
    """Return the content of the folder's input example as it was logged; raises `SamplesRefused`."""
    info = folder.stated.get("saved_input_example_info")
    if not isinstance(info, Mapping):
        hint = _SAMPLES_HINT.format(title=folder.title)
        raise SamplesRefused(
            f"samples of {folder.where}", expected="rows", found="none, and no input example", hint=hint
        )
    where = f"{folder.where}, its input example"
    kind, path = str(info.get("type")), folder.path / str(info.get("artifact_path"))
    try:
        # The name is that of a file of the folder, and of none elsewhere.
        if path.parent != folder.path or path.stat().st_size > _MOST_EXAMPLE_BYTES:
            raise SamplesRefused(where, expected="a file of the folder, of at most 256 MB", found=str(path))
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SamplesRefused(where, expected="JSON", found=one_line(error)) from error
    # An example that was logged with parameters has both, under names of MLflow's.
    if info.get("example_params") or info.get("params"):
        content = content.get("input", content) if isinstance(content, dict) else content
    if kind.startswith("sparse_matrix"):
        expected = "an array, a data frame or values"
        raise SamplesRefused(where, expected=expected, found=f"`{kind}`", hint="pass dense `--samples`")
    return _frame_of_example(content, where) if kind == "dataframe" else content


def _frame_of_example(content: Any, where: str) -> Any:
    """Return a data frame from what MLflow writes: columns and data, or data alone."""
    named = isinstance(content, dict)
    rows = content.get("data") if named else content
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise SamplesRefused(where, expected="`columns` and `data`", found="another object")
    width = len(rows[0]) if rows else 0
    names = content.get("columns", range(width)) if named else range(width)
    if any(len(row) != len(names) for row in rows):
        raise SamplesRefused(where, expected=f"rows of {len(names)} values", found="other rows")
    return make_frame(
        {
            str(name): _values([row[at] for row in rows])  # [rows]
            for at, name in enumerate(names)
        }
    )


def _values(values: list[Any]) -> Array:
    """Return a column of JSON: missing numbers are NaN, texts are objects."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, int | float) for value in present):
        kept = values if len(present) == len(values) else [np.nan if v is None else v for v in values]
        return np.array(kept)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _as_it_is(samples: Any) -> Any:
    """Return what has no signature; objects of JSON are rows of a data frame."""
    if isinstance(samples, list) and samples and all(isinstance(row, dict) for row in samples):
        return make_frame({str(name): _values([row.get(name) for row in samples]) for name in samples[0]})
    if isinstance(samples, dict):
        if all(np.ndim(value) == 0 for value in samples.values()):
            return make_frame({str(name): _values([value]) for name, value in samples.items()})
        return {str(name): np.asarray(value) for name, value in samples.items()}
    return np.asarray(samples) if isinstance(samples, list) else samples


def _columns(samples: Any, fields: tuple[Field, ...], where: str, note: Note) -> Any:
    """Return a data frame of the signature's columns, in its order and of its dtypes."""
    rows = _as_it_is(samples)
    if not hasattr(rows, "columns"):
        rows = _frame_of_array(rows, fields, where)
    # By text, as MLflow compares them: a frame of JSON may have numbers as names.
    have = {str(name): rows[name] for name in rows.columns}
    names = [field.name if field.name is not None else str(at) for at, field in enumerate(fields)]
    wanted = dict(zip(names, fields, strict=True))
    missing = [name for name, field in wanted.items() if field.required and name not in have]
    if missing:
        raise SamplesRefused(
            where,
            expected=f"the columns of MLflow's signature: {_listed(wanted)}",
            found=f"{_listed(have)}, without {_listed(missing)}",
            hint=FIX_HINT,
        )
    for name in wanted.keys() - have.keys():
        note(f"{where}: the optional column `{name}` is not among them, so requests cannot send it")
    if extra := [name for name in have if name not in wanted]:
        note(f"{where}: MLflow's signature does not have the columns {_listed(extra)}, which are left out")
    return make_frame(
        {
            name: _cast(np.asarray(have[name]), field, f"{where}, column `{name}`")
            for name, field in wanted.items()
            if name in have
        }
    )


def _frame_of_array(rows: Any, fields: tuple[Field, ...], where: str) -> Any:
    """Return an array as a data frame with the columns of a signature."""
    array = np.asarray(rows)
    width = array.shape[1] if array.ndim == 2 else 1
    if array.ndim not in (1, 2) or width != len(fields):
        shape = f"an array of shape `{list(array.shape)}`"
        expected = f"the columns of MLflow's signature: {', '.join(map(str, fields))}"
        raise SamplesRefused(where, expected=expected, found=shape, hint=FIX_HINT)
    flat = array.reshape(len(array), width)
    return make_frame({str(field.name or at): flat[:, at] for at, field in enumerate(fields)})


def _tensors(samples: Any, fields: tuple[Field, ...], where: str) -> Any:
    """Return an array for the only tensor without a name, else arrays by name."""
    if len(fields) == 1 and fields[0].name is None:
        array = samples.to_numpy() if hasattr(samples, "to_numpy") else np.asarray(samples)
        return _shaped(_cast(array, fields[0], where), fields[0], where)
    if hasattr(samples, "columns"):
        samples = {str(name): np.asarray(samples[name]) for name in samples.columns}
    names = {field.name for field in fields}
    if not isinstance(samples, Mapping) or set(samples) != names:
        names_here = _listed(samples) if isinstance(samples, Mapping) else "one array"
        expected = f"the tensors of MLflow's signature: {', '.join(map(str, fields))}"
        raise SamplesRefused(where, expected=expected, found=names_here, hint=FIX_HINT)
    arrays = {}
    for field in fields:
        at = f"{where}, `{field.name}`"
        arrays[str(field.name)] = _shaped(_cast(np.asarray(samples[field.name]), field, at), field, at)
    return arrays


def _shaped(array: Array, field: Field, where: str) -> Array:
    stated = field.shape or ()
    fits = array.ndim == len(stated) and all(
        theirs in (-1, ours) for theirs, ours in zip(stated, array.shape, strict=True)
    )
    if not fits:
        shape = f"shape `{list(array.shape)}`"
        expected = f"{field}, as MLflow's signature says"
        raise SamplesRefused(where, expected=expected, found=shape, hint=FIX_HINT)
    return array


def _cast(array: Array, field: Field, where: str) -> Array:
    """Return values in the dtype of a signature; raises `SamplesRefused` for another kind or other values."""
    if array.dtype.kind == "O":
        array = _values_of_objects(array)
    kind = kind_of({"b": "bool", "O": "object", "U": "str", "S": "str"}.get(array.dtype.kind, "float64"))
    if kind != field.kind or array.dtype.kind in "mMc":
        expected = f"{field}, as MLflow's signature says"
        raise SamplesRefused(where, expected=expected, found=f"`{array.dtype}`", hint=FIX_HINT)
    if kind == "text":
        return array.astype(object)
    # Compared afterwards where it matters: a cast of NaN to an integer is a number.
    with np.errstate(all="ignore"):
        cast = array.astype(field.dtype)
    if field.dtype.startswith(("int", "uint")) and not np.array_equal(cast, array):
        missing = array.dtype.kind == "f" and bool(np.isnan(array).any())
        values = "a missing value" if missing else "values that it does not hold"
        raise SamplesRefused(where, expected=f"{field}, as MLflow's signature says", found=values)
    return cast


def _values_of_objects(array: Array) -> Array:
    """Return an array of Python objects with the dtype that its values have; texts stay objects."""
    flat = array.ravel().tolist()
    if any(isinstance(value, str) for value in flat):
        return array
    return np.array([np.nan if is_missing(value) else value for value in flat]).reshape(array.shape)


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)
