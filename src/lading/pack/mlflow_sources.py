"""Where a model of MLflow is: a folder of this machine, or what an installed MLflow downloads for a URI."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lading.errors import InvalidSetting, one_line
from lading.pack.mlflow_folder import MLMODEL, MlflowFolder, read_folder

PREFIX = "mlflow:"
_OF_TRACKING = ("models:/", "runs:/")
_TRACKING = "MLFLOW_TRACKING_URI"


def is_mlflow(model: Any) -> bool:
    """Return whether `model` names a model of MLflow: ``mlflow:PATH``, ``models:/…`` or ``runs:/…``."""
    return isinstance(model, str) and model.startswith((PREFIX, *_OF_TRACKING))


def refuse_bare_folder(model: Any) -> None:
    """Raise `InvalidSetting` if `model` is the path of a folder of MLflow without the word for it."""
    if isinstance(model, str | Path) and (Path(model) / MLMODEL).is_file():
        raise InvalidSetting(
            f"`{model}`",
            expected="a file, the folder of a SavedModel, or `module:object`",
            found=f"a folder with `{MLMODEL}`",
            hint=f"a model of MLflow is named `{PREFIX}{model}`",
        )


@contextmanager
def open_mlflow(model: str) -> Iterator[MlflowFolder]:
    """Return the folder that `model` names; what was downloaded is removed after.

    Raises `InvalidSetting`, `ConverterFailed`, `ExtraMissing`.
    """
    if model.startswith(PREFIX):
        yield read_folder(Path(model.removeprefix(PREFIX)), model)
        return
    with tempfile.TemporaryDirectory(prefix="lading-mlflow-") as name:
        yield read_folder(_download(model, Path(name)), model)


def _download(uri: str, to: Path) -> Path:
    """Return the folder to which MLflow has downloaded the model of a URI."""
    where = f"`{uri}`"
    hint = f"or download it yourself and pack `{PREFIX}FOLDER`"
    if not os.environ.get(_TRACKING):
        expected = f"the tracking server that knows it in `{_TRACKING}`"
        raise InvalidSetting(where, expected=expected, found="none", hint=f"set it, {hint}")
    # The only use of MLflow in this process: its client knows servers, stores and credentials.
    try:
        from mlflow.artifacts import download_artifacts
    except ImportError as error:
        raise InvalidSetting(
            where,
            expected="MLflow installed here, which resolves it",
            found=one_line(error),
            hint=f"`pip install mlflow-skinny`, {hint}",
        ) from None
    try:
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(to)))
    except Exception as error:  # of MLflow, of its stores and of their clients
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise InvalidSetting(where, expected="a model that MLflow downloads", found=reason) from error
