"""A model of MLflow that runs in Python becomes a bundle: its files, its own environment, the proof.

The environment is built first, because the expected answers are those of `mlflow.pyfunc` in it: neither
MLflow nor the model's packages have to be installed here.
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lading.bundle import Bundle
from lading.bundle.formats.v2 import CODE, FILES, file_formats
from lading.convert.table import Table, make_table
from lading.errors import ConverterFailed, InvalidSetting, RequirementsRefused
from lading.pack.facts import Facts, Note, with_reference
from lading.pack.mlflow_flavors import check_pickle
from lading.pack.mlflow_folder import MLMODEL, PYFUNC, MlflowFolder, files_of
from lading.pack.mlflow_signature import MlflowSignature
from lading.pack.python_bundle import Environment, behaviour_of, prove
from lading.pack.python_models import OwnCode, PythonModel
from lading.pack.python_proof import OF_CODE, TRY_DEADLINE_S, laid_out
from lading.pack.python_tensors import input_tensors
from lading.pack.reference import reference_table
from lading.pack.requirements import LockedRequirements, lock_requirements
from lading.runtime.python.environments import environments_of_host
from lading.runtime.python.process import ModelProcess, ProcessSettings
from lading.runtime.python.resolver import Resolver, requirement_name
from lading.signature import UNNAMED, Array, Tensor

_SOURCES = Path(__file__).with_name("mlflow_code")
_MODULE, _PROBE = "mlflow_model", "mlflow_probe"
_TABLE = "mlflow.json"
# Rows of somebody, and what is in a bundle in another form.
_LEFT_OUT = re.compile(
    r"(serving_)?input_example(\.json)?|conda\.yaml|python_env\.yaml|registered_model_meta"
)
_TOO_OLD = tuple(f"3.{minor}" for minor in range(11))
_OF_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_ANSWER = Tensor(name="answer", dtype="uint8", shape=(UNNAMED,))
_ENDINGS_OF_PICKLES = (".pkl", ".pickle", ".joblib", ".pth", ".pt", ".ckpt", ".dill", ".cloudpickle")


def pack_pyfunc(
    folder: MlflowFolder,
    signature: MlflowSignature,
    samples: Any,
    facts: Facts,
    place: Path,
    own: OwnCode,
    environment: Environment,
) -> Bundle:
    """Prove the model on `samples` in its own environment, and write the bundle to `place`.

    Raises `ConversionError`, `EnvironmentFailed`, `EnvironmentPythonMissing`.
    """
    _refuse_others(folder, own, facts.floats)
    table = make_table(samples, folder.title)
    reference = reference_table(facts.reference, partial(make_table, title=folder.title))
    facts = with_reference(facts, reference, table)
    named = named_files(folder, own)
    files: dict[str, bytes | Path] = {f"{FILES}/{name}": folder.path / path for path, name in named.items()}
    files[f"{FILES}/{_TABLE}"] = _settings(folder, signature, table, named)
    files[f"{CODE}/{_MODULE}.py"] = (_SOURCES / f"{_MODULE}.py").read_bytes()
    # The environment comes first here: only in it is it known what the model answers.
    locked = _lock(folder, environment, facts.note)
    store = environments_of_host(None)
    facts.note(
        f"{folder.where}: its environment has {len(locked.lock.versions)} packages, Python {locked.python}"
    )
    built = store.get(locked.lock, locked.python, wheels=environment.wheels)
    versions = locked.lock.versions
    asked_by = f"mlflow.pyfunc {versions.get('mlflow-skinny') or versions.get('mlflow', '')}".strip()
    with _probed(folder, table, files, built.interpreter, asked_by) as model:
        behaviour = behaviour_of(model, table, facts)
    facts.expect(behaviour.signature)
    return prove(model, facts, behaviour, place, locked, wheels=environment.wheels)


def _refuse_others(folder: MlflowFolder, own: OwnCode, floats: str) -> None:
    if floats != "auto":
        expected = "`auto`: a model that MLflow asks keeps the dtypes that it was saved with"
        raise InvalidSetting("`dtype`", expected=expected, found=f"`{floats}`")
    for setting, value in (("files", own.files), ("code", own.code)):
        if value:
            expected = "nothing: the folder has the files and the code of the model"
            raise InvalidSetting(f"`{setting}`", expected=expected, found=f"{len(value)} more")
    if PYFUNC not in folder.flavors:
        raise ConverterFailed(
            folder.where,
            expected=f"the flavor `{PYFUNC}`, by which MLflow asks a model",
            found=", ".join(f"`{name}`" for name in folder.flavors),
        )


def named_files(folder: MlflowFolder, own: OwnCode) -> dict[str, str]:
    """Return the names that the files of the folder get in the bundle, by their paths in the folder.

    A bundle has no folders in ``files/``, and says by a file's ending whether it is a pickle.
    """
    names: dict[str, str] = {}
    taken = {_TABLE}
    for path, file in files_of(folder).items():
        if _LEFT_OUT.fullmatch(path):
            continue
        name = _OF_NAMES.sub("_", path.replace("/", "-")).lstrip(".-")[-80:].lstrip(".-") or "file"
        if _is_pickle(file):
            check_pickle(folder, file, own)
            name = name if "pickle" in file_formats([f"{FILES}/{name}"]) else f"{name}.pickle"
        while name.lower() in taken:
            name = f"{len(taken)}-{name}"[-100:]
        taken.add(name.lower())
        names[path] = name
    return names


def _is_pickle(path: Path) -> bool:
    """Return whether a file is a pickle, or an archive of PyTorch's with one, whatever its ending says."""
    with path.open("rb") as file:
        head = file.read(4)
    # Protocols 2 to 5 begin so; the older ones are texts, which only their endings tell.
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    # What `torch.save` writes.
    if head == b"PK\x03\x04" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith((".pkl", ".pickle")) for name in archive.namelist())
    return path.suffix.lower() in _ENDINGS_OF_PICKLES


def _settings(
    folder: MlflowFolder, signature: MlflowSignature, table: Table, named: Mapping[str, str]
) -> bytes:
    """Return ``mlflow.json``: which file is which, and how the model is called."""
    tensors, _ = input_tensors(table, folder.title)
    unnamed = signature.has_columns and all(field.name is None for field in signature.inputs or ())
    settings = {
        "files": dict(named),
        "form": "array" if table.kind == "array" else table.kind,
        "order": list(table.arrays),
        "columns": {tensor.name: list(tensor.columns) for tensor in tensors if tensor.columns},
        "texts": [tensor.name for tensor in tensors if tensor.dtype == "string"],
        "unnamed": unnamed,
    }
    return json.dumps(settings, sort_keys=True, ensure_ascii=False, indent=1).encode()


def _lock(folder: MlflowFolder, environment: Environment, note: Note) -> LockedRequirements:
    """Return the lock of the model's own requirements, or of those that are stated instead."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = ".".join(folder.python.split(".")[:2]) or here
    if python in _TOO_OLD:
        raise ConverterFailed(
            folder.where,
            expected="Python 3.11 or newer, which a model process needs",
            found=f"Python {folder.python}",
            hint="save the model again under a newer Python",
        )
    resolver = Resolver(python=python, wheels=environment.wheels)
    stated = environment.requirements
    if stated != "auto":
        return lock_requirements(stated, resolver=resolver)
    lines = needed_packages(folder)
    if python == here:
        try:
            return lock_requirements(lines, resolver=resolver)
        except RequirementsRefused as error:
            note(f"{folder.where}: its requirements do not go with the versions here ({error.found})")
    return lock_requirements(lines, resolver=resolver, as_here=False)


def needed_packages(folder: MlflowFolder) -> list[str]:
    """Return the requirements of the folder, with those without which MLflow does not load a model."""
    lines = folder.requirements()
    names = set(map(requirement_name, lines))
    # MLflow writes itself into them, unless somebody has stated others.
    if not {"mlflow", "mlflow-skinny"} & names:
        version = folder.stated.get("mlflow_version")
        lines.append(f"mlflow-skinny=={version}" if isinstance(version, str) else "mlflow-skinny")
    # `mlflow.pyfunc` imports it, and only the large distribution brings it along.
    return lines if {"mlflow", "pandas"} & names else [*lines, "pandas"]


@contextmanager
def _probed(
    folder: MlflowFolder, table: Table, files: Mapping[str, bytes | Path], interpreter: Path, asked_by: str
) -> Iterator[PythonModel]:
    """Start the model in its environment; return it while the process runs."""
    # Beside the module of the bundle, and left out of it.
    probe = (_SOURCES / f"{_PROBE}.py").read_bytes()
    inputs, _ = input_tensors(table, folder.title)
    with laid_out({**files, f"{CODE}/{_PROBE}.py": probe}) as place:
        settings = ProcessSettings(
            name=folder.title,
            interpreter=interpreter,
            code=place / CODE,
            files=place / FILES,
            entry=f"{_PROBE}:Probe",
            inputs=inputs,
            outputs=(_ANSWER,),
        )
        with _failures(folder):
            process = ModelProcess(settings)
        try:
            with _failures(folder):
                process.load(TRY_DEADLINE_S)
            yield _model(folder, files, process, asked_by)
        finally:
            process.close()


def _model(
    folder: MlflowFolder, files: Mapping[str, bytes | Path], process: ModelProcess, asked_by: str
) -> PythonModel:
    def answer(_: Table, arrays: Mapping[str, Array]) -> dict[str, Array]:
        with _failures(folder):
            packed = process.run(arrays, TRY_DEADLINE_S)["answer"]
        with np.load(io.BytesIO(packed.tobytes()), allow_pickle=False) as archive:
            names, *answers = (archive[f"arr_{at}"] for at in range(len(archive.files)))
        return dict(zip(map(str, names), answers, strict=True))

    return PythonModel(
        title=folder.title,
        framework=asked_by,
        entry=f"{_MODULE}:MlflowModel",
        steps=("predict",),
        files=dict(files),
        imports=frozenset(),
        answer=answer,
        purpose="prediction",
    )


@contextmanager
def _failures(folder: MlflowFolder) -> Iterator[None]:
    """Say what the model's process says as a refusal of the model."""
    try:
        yield
    except OF_CODE as error:
        raise ConverterFailed(
            folder.where,
            expected=f"a model that `mlflow.pyfunc` loads and asks in the environment of its `{MLMODEL}`",
            found=error.found or error.message,
            hint="state other packages with `--requirement`, or pass other `--samples`",
        ) from error
