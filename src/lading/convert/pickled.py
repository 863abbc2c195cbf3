"""Models in pickle and joblib files, which run whatever they say when they are loaded.

The only place of lading that unpickles in its own process, and only for `pack`, on the machine of somebody
who has allowed it by name. Reading a bundle never does.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from lading.errors import ConverterFailed, missing_extra, one_line


def load_pickle(path: Path) -> Any:
    """Return the object in a pickle or joblib file; raises `ConverterFailed`."""
    if not path.is_file():
        raise ConverterFailed(f"`{path}`", expected="a file", found="none of that name")
    try:
        if path.suffix == ".joblib":
            import joblib

            return joblib.load(path)
        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301 - allowed by name
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ConverterFailed(f"`{path}`", expected="a pickle that loads here", found=reason) from error


def load_torch_pickle(path: Path) -> Any:
    """Return the module in a file that `torch.save` wrote; raises `ConverterFailed`, `ExtraMissing`."""
    try:
        import torch
    except ImportError as error:
        raise missing_extra("a model of PyTorch", "torch", error) from None
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ConverterFailed(f"`{path}`", expected="a pickle that loads here", found=reason) from error
