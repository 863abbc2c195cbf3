"""The folder of a model that MLflow has saved: its ``MLmodel`` file, and what else it states about itself.

Read without MLflow, and without running anything of the folder: YAML by its safe loader, paths held inside.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lading.bundle.formats.v2 import Lineage
from lading.errors import ConverterFailed, InvalidSetting, missing_extra, one_line
from lading.runtime.python.resolver import requirement_name

PYFUNC = "python_function"
"""The flavor that every model has that `mlflow.pyfunc.load_model` loads."""

MLMODEL = "MLmodel"
_MOST_YAML_BYTES = 16 * 2**20
# Keys of flavors whose values MLflow opens, relative to the folder.
_PATHS = frozenset(
    (
        "code",
        "data",
        "model_data",
        "model_path",
        "path",
        "pickled_model",
        "python_model",
        "saved_model_dir",
    )
)


@dataclass(frozen=True)
class MlflowFolder:
    """A model of MLflow; ``title`` is how it was named, for sentences, and ``flavors`` its ways to be loaded.

    ``python`` is the version of Python that saved it, empty if it does not say.
    """

    path: Path
    title: str
    flavors: Mapping[str, Mapping[str, Any]]
    stated: Mapping[str, Any] = field(default_factory=dict)
    python: str = ""

    @property
    def where(self) -> str:
        """The folder, as the beginning of a sentence."""
        return f"`{self.title}`"

    @property
    def lineage(self) -> Lineage:
        """What logged the model, and when, as far as the folder says."""
        named = {"MLflow run": "run_id", "model": "model_uuid", "MLflow": "mlflow_version"}
        parts = [
            f"{title} {self.stated[key]}" for title, key in named.items() if _is_line(self.stated.get(key))
        ]
        time = str(self.stated.get("utc_time_created", ""))
        if _is_line(time):
            parts.append(f"{time[:19]} UTC")
        return Lineage(training_run=", ".join(parts) or "an MLflow model")

    def inside(self, flavor: str, key: str, *, usual: str | None = None) -> Path:
        """Return what the value `key` of a flavor names; raises `ConverterFailed` if that does not exist."""
        value = self.flavors[flavor].get(key, usual)
        at = f"{self.where}, `{flavor}.{key}` of `{MLMODEL}`"
        if not isinstance(value, str) or not value:
            raise ConverterFailed(at, expected="the name of a file of the model", found=_shown(value))
        _check_path(at, value)
        path = self.path / value
        if not path.exists():
            raise ConverterFailed(
                at, expected="a file of the model", found=f"`{value}`, which does not exist"
            )
        return path

    def requirements(self) -> list[str]:
        """Return the lines of ``requirements.txt`` that say something."""
        path = self.path / "requirements.txt"
        if not path.is_file():
            return []
        lines = _text(path, self.where).replace("\\\n", " ").splitlines()
        # Comments as pip has them: `#` alone may be a part of an address.
        plain = [line.partition(" #")[0].strip() for line in lines]
        return [line for line in plain if line and not line.startswith("#")]

    def pins(self) -> dict[str, str]:
        """Return the versions that the requirements pin, by the normal names of distributions."""
        pairs = [line.partition(";")[0].partition("==") for line in self.requirements()]
        return {requirement_name(name): version.strip() for name, equal, version in pairs if equal}


def read_folder(path: Path, title: str) -> MlflowFolder:
    """Return the model in the folder `path`; raises `InvalidSetting`, `ConverterFailed`, `ExtraMissing`."""
    where = f"`{title}`"
    if not path.is_dir():
        kind = "a file" if path.exists() else "no such folder"
        raise InvalidSetting(where, expected="the folder of a model that MLflow has saved", found=kind)
    for file in _walk(path):
        _check_plain(where, file, path)
    if not (path / MLMODEL).is_file():
        hint = "name the folder that holds it: of a run it is `artifacts/NAME`, of a model `artifacts`"
        raise InvalidSetting(where, expected=f"a folder with the file `{MLMODEL}`", found="none", hint=hint)
    stated = _yaml(path / MLMODEL, where)
    flavors = stated.get("flavors")
    if not isinstance(flavors, dict) or not flavors:
        raise _invalid(where, "`flavors`, the ways to load the model", _shown(flavors))
    # All of them: MLflow itself opens what the flavor `python_function` names, in a process of the model.
    for name, flavor in flavors.items():
        if not isinstance(name, str) or not isinstance(flavor, dict):
            raise _invalid(where, "settings of each flavor", f"`{name}`: {_shown(flavor)}")
        for key, value in _texts(flavor):
            if key in _PATHS:
                _check_path(f"{where}, `{name}.{key}` of `{MLMODEL}`", value)
    return MlflowFolder(path, title, flavors, stated, _python_of(path, flavors, where))


def files_of(folder: MlflowFolder) -> dict[str, Path]:
    """Return the files of the model by their paths in its folder, sorted."""
    return {file.relative_to(folder.path).as_posix(): file for file in sorted(_walk(folder.path))}


def _walk(path: Path) -> Iterator[Path]:
    """Return every file below, and every folder that is a link."""
    # `os.walk` does not follow links to folders, and lists them among the folders.
    for parent, folders, files in os.walk(path):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        yield from (Path(parent) / name for name in (*links, *files))


def _check_plain(where: str, file: Path, root: Path) -> None:
    mode = file.lstat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "no plain file"
        raise ConverterFailed(
            where,
            expected="plain files",
            found=f"`{file.relative_to(root)}`, {kind}",
            hint="copy the folder with what its links name: `cp -rL`",
        )


def _check_path(at: str, value: str) -> None:
    # MLflow joins such paths to the folder; no resolving, because nothing in the folder is a link.
    parts = PurePosixPath(value).parts
    if value.startswith("/") or ".." in parts or "\\" in value or "\0" in value:
        raise ConverterFailed(at, expected="a path inside of the folder", found=_shown(value))


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Return each text in the settings of a flavor with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)


def _python_of(path: Path, flavors: Mapping[str, Mapping[str, Any]], where: str) -> str:
    """Return the version of Python that the folder asks for."""
    file = path / "python_env.yaml"
    stated = _yaml(file, where).get("python") if file.is_file() else None
    if stated is None:
        stated = flavors.get(PYFUNC, {}).get("python_version")
    return str(stated) if _is_line(stated) else ""


def _yaml(path: Path, where: str) -> dict[str, Any]:
    """Return the object in a YAML file, of plain values only: a tag of Python's is refused."""
    try:
        import yaml
    except ImportError as error:
        raise missing_extra("a model of MLflow", "mlflow", error) from None
    try:
        # The safe loader: any other makes objects of whatever class a tag names.
        value = yaml.safe_load(_text(path, where))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = "tags of Python" if "tag:yaml.org,2002:python" in str(error) else one_line(error)
        raise _invalid(where, "YAML of plain values", reason, path.name) from error
    if not isinstance(value, dict):
        raise _invalid(where, "an object of YAML", _shown(value), path.name)
    return value


def _text(path: Path, where: str) -> str:
    try:
        if path.stat().st_size > _MOST_YAML_BYTES:
            raise _invalid(where, f"at most {_MOST_YAML_BYTES} bytes", str(path.stat().st_size), path.name)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(where, "a text that can be read", one_line(error), path.name) from error


def _invalid(where: str, expected: str, found: str, name: str = MLMODEL) -> ConverterFailed:
    return ConverterFailed(f"{where}, `{name}`", expected=expected, found=found)


def _is_line(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _shown(value: object) -> str:
    return (
        "nothing" if value is None else f"`{ascii(value)[1:-1] if isinstance(value, str) else value}`"[:120]
    )
