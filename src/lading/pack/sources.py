"""Samples from files, and models by name. Decides nothing about their values; `convert.table` does."""

from __future__ import annotations

import difflib
import importlib
import io
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lading.convert import booster_files
from lading.convert.pickled import load_pickle
from lading.convert.table import is_number
from lading.errors import ConverterFailed, InvalidSetting, SamplesRefused, missing_extra, one_line

_OF_TORCH = (".pt", ".pth", ".ckpt")
_FILES = (".onnx", ".keras", ".pt2")
_READABLE = "`.npz`, `.npy`, `.csv`, `.parquet` or `.json`"


def read_samples(samples: Any) -> Any:
    """Return the content of a file: an array, a mapping of arrays, or a data frame; else `samples` itself.

    Raises `SamplesRefused`, `InvalidSetting` for a file of another kind, `ExtraMissing`.
    """
    if not isinstance(samples, str | Path):
        return samples
    path = Path(samples)
    where = f"samples `{path}`"
    if not path.is_file():
        raise SamplesRefused(where, expected=f"a file: {_READABLE}", found="no such file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        suffix = f"`{path.suffix}`" if path.suffix else "no ending"
        raise InvalidSetting(where, expected=f"a file ending in {_READABLE}", found=suffix)
    try:
        return reader(path)
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise SamplesRefused(where, expected="a readable file", found=one_line(error)) from error


def is_path(model: str) -> bool:
    """Return whether a text with a colon is a path all the same."""
    return Path(model).suffix in _FILES or Path(model).is_dir()


def load_model(model: Any, *, allow_pickle: bool = False) -> Any:
    """Return the object that ``module:object`` names (the working directory counts), else `model` itself.

    Of a path, the model in a file that XGBoost, LightGBM or CatBoost saved, and with `allow_pickle` what is
    in a pickle or joblib file: loading it runs whatever it says. Raises `InvalidSetting` without such a
    module or object, `ConverterFailed` if the module fails or the file is another, `ConverterMissing`.
    """
    if not isinstance(model, str) or ":" not in model or is_path(model):
        return _read_model(model, allowed=allow_pickle)
    name, _, attribute = model.partition(":")
    loaded = _import(name, model)
    for part in attribute.split("."):
        if not hasattr(loaded, part):
            near = difflib.get_close_matches(part, vars(loaded) if hasattr(loaded, "__dict__") else (), n=1)
            raise InvalidSetting(
                f"`{model}`",
                expected="`module:object`",
                found=f"no `{part}` in `{name}`",
                hint=f"did you mean `{near[0]}`?" if near else None,
            )
        loaded = getattr(loaded, part)
    return loaded


def _import(name: str, model: str) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except Exception as error:  # the user's own module may raise anything
        # The module itself or a package that holds it is missing, not something that it imports.
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise InvalidSetting(
                f"`{model}`",
                expected="`module:object`",
                found=f"no module `{error.name}`",
                hint=f"run it in the folder that holds `{name.partition('.')[0]}.py`",
            ) from None
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ConverterFailed(f"`{model}`", expected="a module that loads", found=reason) from error
    finally:
        sys.path.remove(here)


def _read_model(model: Any, *, allowed: bool) -> Any:
    if not isinstance(model, str | Path):
        return model
    path = Path(model)
    if path.suffix in _OF_TORCH:
        raise ConverterFailed(
            f"`{model}`",
            expected="a module of PyTorch as `module:object`, or a `.pt2` file",
            found="a pickle of PyTorch, mostly of weights without the code that uses them",
            hint="load it in a module of your own, which may run whatever it says, and name the result",
        )
    if path.suffix in booster_files.SUFFIXES and path.is_file():
        return booster_files.load_booster_file(path)
    if path.suffix not in (".pkl", ".pickle", ".joblib"):
        return model
    if not allowed:
        raise ConverterFailed(
            f"`{model}`",
            expected="an `.onnx` file or `module:object`",
            found="a pickle, which runs whatever it says when it is loaded",
            hint="if you made it yourself, load it with `--allow-pickle` (`allow_pickle=True` in Python)",
        )
    return load_pickle(path)


def _read_npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_npy(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


def _read_json(path: Path) -> Any:
    """Read rows, or ``{"data": rows}``, like those of requests; a missing value of lists is NaN."""
    value = msgspec.json.decode(path.read_bytes())
    rows = value["data"] if isinstance(value, dict) and list(value) == ["data"] else value
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        return _import_pandas(path.suffix).DataFrame(rows)
    try:
        numbers = msgspec.convert(rows, list[list[float | None]])
    except msgspec.ValidationError:
        return rows
    # Without a missing value the rows keep their whole numbers.
    return np.array(numbers, dtype=np.float64) if any(None in row for row in numbers) else rows


def _read_frame(path: Path) -> Any:
    frame = _import_pandas(path.suffix).read_csv(path)
    if all(is_number(name) for name in frame.columns):
        raise SamplesRefused(f"samples `{path}`", expected="column names in the first line", found="numbers")
    return frame


def _read_parquet(path: Path) -> Any:
    return read_parquet(io.BytesIO(path.read_bytes()), str(path))


def read_parquet(content: io.BytesIO, where: str) -> Any:
    """Return the data frame in a .parquet file; raises `SamplesRefused`, `ExtraMissing`."""
    try:
        return _import_pandas(".parquet").read_parquet(content)
    except (OSError, ValueError) as error:
        expected = "a readable .parquet file"
        raise SamplesRefused(f"`{where}`", expected=expected, found=one_line(error)) from error


def _import_pandas(suffix: str) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise missing_extra(f"pandas, for `{suffix}`", "frames", error) from None
    return pd


_READERS = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".csv": _read_frame,
    ".parquet": _read_parquet,
    ".json": _read_json,
}
