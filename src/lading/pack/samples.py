"""Samples from files, and models by name. Decides nothing about their values; `convert.table` does."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lading.errors import ConverterFailed, SamplesRefused, missing_extra

_READABLE = "`.npz`, `.npy`, `.csv` or `.parquet`"


def read_samples(samples: Any) -> Any:
    """Give what a file holds: an array or a mapping of arrays, or a data frame; all else is given back.

    Raises `SamplesRefused`, `ExtraMissing`.
    """
    if not isinstance(samples, str | Path):
        return samples
    path = Path(samples)
    where = f"samples `{path}`"
    if not path.is_file():
        raise SamplesRefused(where, expected=f"a file: {_READABLE}", found="no such file")
    readers = {".npz": _read_npz, ".npy": _read_npy, ".csv": _read_frame, ".parquet": _read_frame}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SamplesRefused(where, expected=_READABLE, found=f"`{path.suffix or path.name}`")
    try:
        return reader(path)
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise SamplesRefused(where, expected="a readable file", found=_line(error)) from error


def load_model(model: Any) -> Any:
    """Give the object that ``module:object`` names (the working directory counts), else `model` itself.

    Raises `ConverterFailed`.
    """
    if not isinstance(model, str) or ":" not in model or Path(model).suffix == ".onnx":
        return _path(model)
    name, _, attribute = model.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # the user's own module may raise anything
        what = f"{type(error).__name__}: {_line(error)}"
        raise ConverterFailed(f"`{model}`", expected="`module:object`", found=what) from error
    finally:
        sys.path.remove(here)
    return found


def _path(model: Any) -> Any:
    if isinstance(model, str | Path) and Path(model).suffix in (".pkl", ".pickle", ".joblib"):
        hint = "name the fitted object as module:object; lading never unpickles a file"
        raise ConverterFailed(
            f"`{model}`", expected="an `.onnx` file or `module:object`", found="a pickle", hint=hint
        )
    return model


def _read_npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_npy(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


def _read_frame(path: Path) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise missing_extra(f"pandas, for `{path.suffix}`", "frames", error) from None
    if path.suffix.lower() == ".parquet":
        return pd.read_parquet(path)
    frame = pd.read_csv(path)
    if all(_is_number(name) for name in frame.columns):
        raise SamplesRefused(f"samples `{path}`", expected="column names in the first line", found="numbers")
    return frame


def _is_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
