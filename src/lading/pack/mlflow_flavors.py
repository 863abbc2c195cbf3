"""The flavors of MLflow whose models become ONNX: which file holds the model, and how it is read.

MLflow itself is not needed: its flavors save what their frameworks save. A pickle is read only where that is
allowed, and types that skops does not know only where they are named.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from lading.convert.booster_files import load_booster_file
from lading.convert.pickled import load_pickle, load_torch_pickle
from lading.errors import ConverterFailed, ConverterMissing
from lading.pack.facts import Note
from lading.pack.mlflow_folder import MlflowFolder
from lading.pack.python_models import OwnCode
from lading.pack.stored_estimator import load_skops
from lading.runtime.python.resolver import requirement_name

IN_PYTHON = '`--runtime python` (`runtime="python"`) packs it with the environment that it asks for'
_PICKLES = ("pickle", "cloudpickle")


@dataclass(frozen=True)
class Flavor:
    """How models of a flavor are read; ``version`` is the key of its framework's version in ``MLmodel``.

    ``known`` are types of the framework that a skops file may hold.
    """

    load: Callable[[MlflowFolder, OwnCode], Any]
    distributions: tuple[str, ...]
    version: str = ""
    known: tuple[str, ...] = ()


def native_flavor(folder: MlflowFolder) -> str | None:
    """Return the flavor by which the model becomes ONNX, or None if none of the folder's does."""
    return next((name for name in FLAVORS if name in folder.flavors), None)


def no_native_flavor(folder: MlflowFolder) -> ConverterMissing:
    """Return the error of a folder that has to become ONNX, and whose model does not."""
    return ConverterMissing(
        folder.where,
        expected=f"a flavor that becomes ONNX: {', '.join(f'`{name}`' for name in FLAVORS)}",
        found=", ".join(f"`{name}`" for name in folder.flavors),
        hint=IN_PYTHON,
    )


def load_flavor(folder: MlflowFolder, name: str, own: OwnCode, note: Note) -> Any:
    """Return the model of a folder, or the path of its file, for a converter.

    Raises `ConverterFailed` for a pickle that is not allowed and for a file that another version of the
    framework has to read, `ConverterMissing` and `ExtraMissing` without the framework.
    """
    _compare_versions(folder, name, note)
    # A module that the model's own types are in comes along in the folder; only what is named imports it.
    with _importing_from(folder, name, own):
        return FLAVORS[name].load(folder, own)


@contextmanager
def _importing_from(folder: MlflowFolder, name: str, own: OwnCode) -> Iterator[None]:
    code = folder.flavors[name].get("code")
    if not isinstance(code, str) or not (own.allow_pickle or own.trust_types):
        yield
        return
    # As MLflow does by `code_paths`.
    place = str(folder.inside(name, "code"))
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)


def _compare_versions(folder: MlflowFolder, name: str, note: Note) -> None:
    """Say that another version saved the model; refuse where only that version reads it truthfully."""
    flavor = FLAVORS[name]
    # XGBoost and TensorFlow come as several distributions; the first that is installed is what is imported.
    here = next(filter(None, map(_installed, flavor.distributions)), None)
    pins = folder.pins()
    stated = folder.flavors[name].get(flavor.version) if flavor.version else None
    stated = stated or next(
        (pins[each] for each in map(requirement_name, flavor.distributions) if each in pins), None
    )
    if here is None or not isinstance(stated, str) or not stated or stated == here:
        return
    title = flavor.distributions[0]
    if _is_fragile(folder, name) and stated.split(".")[:2] != here.split(".")[:2]:
        raise ConverterFailed(
            folder.where,
            expected=f"{title} {stated}, which saved it in a form of that version alone",
            found=f"{title} {here} here",
            hint=f"install `{title}=={stated}` where you pack it; or {IN_PYTHON}",
        )
    note(f"{folder.where} was saved by {title} {stated}; the expected answers are those of {here}, as here")


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _is_fragile(folder: MlflowFolder, name: str) -> bool:
    """Return whether the model is saved as objects of Python's, whose attributes change with versions."""
    if name == "pytorch":
        return _torch_file(folder).suffix != ".pt2"
    if name == "lightgbm":
        return _format(folder, name) != "" and folder.inside(name, "data").suffix != ".lgb"
    return name == "sklearn"


def _format(folder: MlflowFolder, name: str) -> str:
    return str(folder.flavors[name].get("serialization_format") or "")


def _sklearn(folder: MlflowFolder, own: OwnCode) -> Any:
    path = folder.inside("sklearn", "pickled_model", usual="model.pkl")
    # Before it had the key, MLflow pickled.
    return _object(folder, path, _format(folder, "sklearn") or "pickle", "sklearn", own)


def _object(folder: MlflowFolder, path: Path, form: str, name: str, own: OwnCode) -> Any:
    """Return the object in a file of skops or, where that is allowed, of pickle."""
    if form == "skops":
        return load_skops(path, folder.title, (*FLAVORS[name].known, *own.trust_types))
    if form not in _PICKLES:
        expected = "skops, pickle or cloudpickle"
        raise ConverterFailed(folder.where, expected=expected, found=f"`{form[:40]}`")
    check_pickle(folder, path, own)
    if form == "cloudpickle":
        _check_python(folder)
    return load_pickle(path)


def check_pickle(folder: MlflowFolder, path: Path, own: OwnCode) -> None:
    """Raise `ConverterFailed` unless pickles are allowed."""
    if own.allow_pickle:
        return
    raise ConverterFailed(
        folder.where,
        expected="a model without pickles",
        found=f"`{path.relative_to(folder.path)}`, a pickle, which runs whatever it says when it is loaded",
        hint="if you made it yourself, load it with `--allow-pickle` (`allow_pickle=True` in Python)",
    )


def _check_python(folder: MlflowFolder) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if folder.python and ".".join(folder.python.split(".")[:2]) != here:
        raise ConverterFailed(
            folder.where,
            expected=f"Python {folder.python}, whose bytecode cloudpickle has saved",
            found=f"Python {here} here",
            hint=f"pack it with that Python, or {IN_PYTHON}",
        )


def _xgboost(folder: MlflowFolder, _: OwnCode) -> Any:
    return load_booster_file(folder.inside("xgboost", "data", usual="model.xgb"))


def _lightgbm(folder: MlflowFolder, own: OwnCode) -> Any:
    path = folder.inside("lightgbm", "data", usual="model.lgb")
    # A native booster is text; an estimator is an object.
    if path.suffix == ".lgb":
        return load_booster_file(path)
    return _object(folder, path, _format(folder, "lightgbm") or "pickle", "lightgbm", own)


def _catboost(folder: MlflowFolder, _: OwnCode) -> Any:
    return load_booster_file(folder.inside("catboost", "data", usual="model.cb"))


def _torch_file(folder: MlflowFolder) -> Path:
    # MLflow 3 exports a program where the module can be exported; before, it pickled the module.
    data = folder.inside("pytorch", "model_data", usual="data")
    program = data / "model.pt2"
    return program if program.is_file() else data / "model.pth"


def _pytorch(folder: MlflowFolder, own: OwnCode) -> Any:
    path = _torch_file(folder)
    if path.suffix == ".pt2":
        return path
    check_pickle(folder, path, own)
    _check_python(folder)
    return load_torch_pickle(path)


def _keras(folder: MlflowFolder, _: OwnCode) -> Any:
    data = folder.inside("keras", "data", usual="data")
    if folder.flavors["keras"].get("save_exported_model"):
        return data / "model"
    return _keras_file(folder, data)


def _keras_file(folder: MlflowFolder, data: Path) -> Path:
    """Return the ``.keras`` file in the folder `data`; raises `ConverterFailed` for another form."""
    custom = next(data.glob("*custom_objects*"), None)
    path = data / "model.keras"
    if custom is not None or not path.is_file():
        raise ConverterFailed(
            folder.where,
            expected="a `.keras` file, without objects of its own",
            found=f"`{custom.name}`" if custom is not None else "none",
            hint=IN_PYTHON,
        )
    return path


def _tensorflow(folder: MlflowFolder, _: OwnCode) -> Any:
    if folder.flavors["tensorflow"].get("model_type") == "keras":
        return _keras_file(folder, folder.inside("tensorflow", "data", usual="data"))
    return folder.inside("tensorflow", "saved_model_dir")


def _onnx(folder: MlflowFolder, _: OwnCode) -> Any:
    return folder.inside("onnx", "data", usual="model.onnx")


# The first that a folder has is taken.
FLAVORS = {
    "sklearn": Flavor(_sklearn, ("scikit-learn",), "sklearn_version"),
    "xgboost": Flavor(_xgboost, ("xgboost", "xgboost-cpu"), "xgb_version"),
    "lightgbm": Flavor(
        _lightgbm,
        ("lightgbm",),
        "lgb_version",
        (
            "collections.OrderedDict",
            "lightgbm.basic.Booster",
            "lightgbm.sklearn.LGBMClassifier",
            "lightgbm.sklearn.LGBMRanker",
            "lightgbm.sklearn.LGBMRegressor",
        ),
    ),
    "catboost": Flavor(_catboost, ("catboost",), "catboost_version"),
    "pytorch": Flavor(_pytorch, ("torch",), "pytorch_version"),
    "keras": Flavor(_keras, ("keras",), "keras_version"),
    "tensorflow": Flavor(_tensorflow, ("tensorflow", "tensorflow-cpu")),
    "onnx": Flavor(_onnx, ("onnx",), "onnx_version"),
}
