"""A model that runs in Python becomes a bundle: its code, its files, its environment, and the proof of all.

The answers come from the model as it is here. Then it runs in a process of its own with what the bundle
holds, to see which packages it needs, and in the environment that is built from their lock: only what answers
the same there is a bundle. Converts nothing.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lading.blobs.os_errors import destination_errors
from lading.bundle import LOCK_FILE, Bundle, Draft, Samples, write_bundle
from lading.bundle.formats.v2 import CODE, FILES, file_formats, what_loading_executes
from lading.convert.table import Table, make_table
from lading.errors import (
    ConversionError,
    ConverterFailed,
    DeadlineExceeded,
    ModelCodeFailed,
    ModelInvalid,
    ModelOutputInvalid,
    ModelProcessEnded,
    ParityLost,
    SamplesRefused,
)
from lading.pack import sampling
from lading.pack.environment import describe_training, installed_requirements
from lading.pack.golden_rows import MAX_GOLDEN_BYTES, choose_rows
from lading.pack.parity_search import usual_tolerance
from lading.pack.probe_rows import DRAWN_ROWS, MAX_SAMPLES
from lading.pack.python_models import OwnCode, PythonModel, code_model, estimator_model, is_code
from lading.pack.requirements import lock_requirements
from lading.parity import Tolerance, compare
from lading.runtime.open import load_runtime
from lading.runtime.python.host import Allow, PythonHost
from lading.runtime.python.process import ModelProcess, ProcessSettings
from lading.signature import BATCH, Array, DType, Signature, Tensor

_ROWS_ALONE = 8
_MAX_ROWS = 256
_TRY_DEADLINE_S = 600.0
_OF_CODE = (ModelCodeFailed, ModelInvalid, ModelOutputInvalid, ModelProcessEnded, DeadlineExceeded)
_DTYPES: dict[str, DType] = {
    name: name
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    )
}  # fmt: skip


@dataclass(frozen=True)
class Environment:
    """What the environment of a bundle is to have: `requirements`, and where its wheels are."""

    requirements: str | Path | Sequence[str] = "auto"
    wheels: Path | None = None


@dataclass(frozen=True)
class Facts:
    """What the packer states about the model; `draft` has it all but what the proof brings."""

    name: str
    owner: str
    purpose: str
    description: str
    metrics: dict[str, float]
    tolerance: Tolerance | None
    labels: Callable[[tuple[str, ...], Signature], dict[str, str]]


def pack_python(  # noqa: PLR0913 - all that `pack` was called with
    thing: Any,
    samples: Any,
    facts: Facts,
    place: Path,
    own: OwnCode,
    environment: Environment,
    *,
    synthetic: bool,
    note: Callable[[str], None],
) -> Bundle:
    """Prove `thing`, code or an estimator, on `samples`, and write the bundle to `place`.

    Raises `ConversionError`, `RequirementsRefused`, `EnvironmentFailed`.
    """
    if not is_code(thing):
        model, trained = estimator_model(thing, own)
        return _pack(model, trained.table(samples), facts, place, environment, synthetic, note)
    files = own.named_files()
    with laid_out(files) as folder:
        model = code_model(thing, files, own, folder / FILES)
        if samples is None:
            raise SamplesRefused(
                f"samples of `{model.title}`",
                expected="rows like those of requests",
                found="none",
                hint="pass `--samples FILE` (`samples=X` in Python): the proof is computed from them",
            )
        table = make_table(samples, model.title)
        return _pack(model, table, facts, place, environment, synthetic, note)


def _pack(
    model: PythonModel,
    table: Table,
    facts: Facts,
    place: Path,
    environment: Environment,
    synthetic: bool,
    note: Callable[[str], None],
) -> Bundle:
    table = _chosen(table, synthetic, model.title, note)
    inputs, arrays = _inputs(table, model)
    expected = _answers(model, table, arrays)
    outputs = tuple(_output(model, name, array, table.rows) for name, array in expected.items())
    tolerance = facts.tolerance or usual_tolerance(expected)
    signature = Signature(inputs, outputs)
    if _depend_on_each_other(model, table, expected, signature, tolerance):
        signature = Signature(inputs, outputs, independent_rows=False)
        note(f"{model.title}: a row's answer depends on the other rows, so requests are never merged")
    samples = _golden(table, inputs, arrays, expected, tolerance)
    modules = _imported_modules(model, signature, samples, facts.name, tolerance)
    note("building the environment")
    locked = lock_requirements(environment.requirements, modules=modules)
    files = {**model.files, LOCK_FILE: locked.lock.to_bytes()}
    draft = Draft(
        name=facts.name,
        runtime="python",
        signature=signature,
        labels=facts.labels(model.class_values, signature),
        purpose=facts.purpose or model.purpose,
        owner=facts.owner,
        description=facts.description,
        metrics=facts.metrics,
        tolerance=tolerance,
        expected_from=model.framework,
        training=describe_training(model.framework, tuple(locked.lock.versions)),
        python=locked.python,
        entry=model.entry,
        steps=tuple(f"code:{step}" for step in model.steps),
        formats=file_formats(files),
        executes=what_loading_executes(files),
    )
    with destination_errors(f"bundle `{place}`"):
        bundle = write_bundle(
            place, draft, model=None, samples=samples, requirements=installed_requirements(), more=files
        )
    try:
        _replay(bundle, model.title, environment.wheels, note)
    except BaseException:
        shutil.rmtree(bundle.path, ignore_errors=True)
        raise
    return bundle


def _chosen(table: Table, synthetic: bool, title: str, note: Callable[[str], None]) -> Table:
    if synthetic:
        return sampling.synthetic(table, DRAWN_ROWS, title)
    if table.rows <= MAX_SAMPLES:
        return table
    rows = np.random.default_rng(sampling.SEED).choice(table.rows, MAX_SAMPLES, replace=False)
    note(f"{MAX_SAMPLES} of {table.rows} samples were asked, chosen by a seeded draw")
    return table.take(np.sort(rows))


def _inputs(table: Table, model: PythonModel) -> tuple[tuple[Tensor, ...], dict[str, Array]]:
    """Return the inputs, and their values: one of several columns where all are numbers of one dtype."""
    if table.kind == "frame":
        dtypes = {array.dtype for array in table.arrays.values()}
        if table.numeric and (len(dtypes) == 1 or not model.needs_dtypes):
            stacked = np.column_stack(list(table.arrays.values()))  # [rows, columns]
            return (_input("X", stacked, model.title, tuple(table.arrays)),), {"X": stacked}
    sizes = {len(array) if array.ndim else 0 for array in table.arrays.values()}
    if len(sizes) > 1 or sizes == {0}:
        raise SamplesRefused(
            f"samples of `{model.title}`",
            expected="arrays with the rows first",
            found=f"lengths {sorted(sizes)}",
        )
    tensors = tuple(_input(name, array, model.title) for name, array in table.arrays.items())
    return tensors, dict(table.arrays)


def _input(name: str, array: Array, title: str, columns: tuple[str, ...] = ()) -> Tensor:
    dtype = _dtype(array, f"samples of `{title}`, `{name}`")
    shape = _shape(array)
    missing = array.dtype.kind == "f" and bool(np.isnan(array).any())
    where: tuple[int, ...] = ()
    if missing and array.ndim == 2:
        at = tuple(int(column) for column in np.flatnonzero(np.isnan(array).any(axis=0)))
        where = at if len(at) < array.shape[1] else ()
    return Tensor(name=name, dtype=dtype, shape=shape, columns=columns, allows_nan=missing, nan_columns=where)


def _output(model: PythonModel, name: str, array: Array, rows: int) -> Tensor:
    where = f"output `{name}` of `{model.title}`"
    if array.ndim == 0 or len(array) != rows:
        shape = "a single value" if array.ndim == 0 else f"{len(array)}"
        raise ConverterFailed(where, expected=f"{rows} rows, as many as the inputs have", found=shape)
    columns = model.columns.get(name, ())
    if array.ndim < 2 or len(columns) != array.shape[-1]:
        columns = ()
    dtype = _dtype(array, where)
    return Tensor(name=name, dtype=dtype, shape=_shape(array), columns=tuple(columns))


def _shape(array: Array) -> tuple[int | str, ...]:
    sizes: list[int | str] = [int(size) for size in array.shape[1:]]
    return (BATCH, *sizes)


def _dtype(array: Array, where: str) -> DType:
    if array.dtype.kind in "OUS":
        values = array.ravel().tolist()
        wrong = next((value for value in values if not isinstance(value, str)), None)
        if not all(isinstance(value, str) for value in values):
            raise ConverterFailed(
                where, expected="numbers, booleans or texts", found=f"`{type(wrong).__name__}`"
            )
        return "string"
    dtype = _DTYPES.get(array.dtype.name)
    if dtype is None:
        raise ConverterFailed(where, expected="numbers, booleans or texts", found=f"`{array.dtype}`")
    return dtype


def _answers(model: PythonModel, table: Table, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Ask the model as it is here."""
    expected = model.answer(table, arrays)
    if not expected:
        raise ConverterFailed(f"`{model.title}`", expected="outputs by name", found="none")
    return {
        name: array.astype(str).astype(object) if array.dtype.kind in "US" else array
        for name, array in expected.items()
    }


def _depend_on_each_other(
    model: PythonModel,
    table: Table,
    expected: Mapping[str, Array],
    signature: Signature,
    tolerance: Tolerance,
) -> bool:
    """Return whether a row alone is answered otherwise than among the others."""
    for row in range(min(_ROWS_ALONE, table.rows)):
        alone = table.take(np.array([row]))
        answers = _answers(model, alone, _inputs(alone, model)[1])
        own = {name: array[row : row + 1] for name, array in expected.items()}
        if any(answers[name].shape != array.shape for name, array in own.items()):
            return True
        if not compare(signature.outputs, own, answers, tolerance).holds:
            return True
    return False


def _golden(
    table: Table,
    inputs: tuple[Tensor, ...],
    arrays: Mapping[str, Array],
    expected: Mapping[str, Array],
    tolerance: Tolerance,
) -> Samples:
    row_bytes = sum(array[:1].nbytes for array in (*arrays.values(), *expected.values()))
    most = max(1, min(_MAX_ROWS, MAX_GOLDEN_BYTES // max(1, row_bytes)))
    rows = choose_rows(table, expected, tolerance, most=most)
    return Samples(
        inputs={tensor.name: arrays[tensor.name][rows] for tensor in inputs},
        outputs={name: array[rows] for name, array in expected.items()},
        rows=len(rows),
    )


def _imported_modules(
    model: PythonModel, signature: Signature, samples: Samples, name: str, tolerance: Tolerance
) -> list[str]:
    """Run what the bundle will hold with the Python of this process; return the modules that it imported.

    Raises `ConverterFailed` if that is not all that the model needs, `ParityLost` if it answers otherwise.
    """
    with laid_out(model.files) as folder:
        settings = ProcessSettings(
            name=name,
            interpreter=Path(sys.executable),
            code=folder / CODE if (folder / CODE).is_dir() else None,
            files=folder / FILES,
            entry=model.entry,
            inputs=signature.inputs,
            outputs=signature.outputs,
            steps=model.steps,
        )
        try:
            process = ModelProcess(settings)
            try:
                process.load(_TRY_DEADLINE_S)
                answers = process.run(samples.inputs, _TRY_DEADLINE_S)
                modules = process.modules(_TRY_DEADLINE_S)
            finally:
                process.close()
        except _OF_CODE as error:
            raise ConverterFailed(
                f"`{model.title}`, run on its own",
                expected="code that finds all it needs in the bundle and in installed packages",
                found=error.found or error.message,
                hint="pass more modules in `code`, and what it reads in `files`",
            ) from error
    parity = compare(signature.outputs, samples.outputs, answers, tolerance)
    if not parity.holds:
        worst = str(parity.worst[0]) if parity.worst else "other answers"
        raise ParityLost(f"`{model.title}`", expected="the same answers in a process of its own", found=worst)
    return modules


@contextmanager
def laid_out(files: Mapping[str, bytes | Path]) -> Iterator[Path]:
    """Write `files` to a temporary folder, as they are in a bundle."""
    with tempfile.TemporaryDirectory(prefix="lading-pack-") as name:
        folder = Path(name)
        (folder / FILES).mkdir()
        for path, content in files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            if isinstance(content, bytes):
                (folder / path).write_bytes(content)
            else:
                shutil.copyfile(content, folder / path)
        yield folder


def _replay(bundle: Bundle, title: str, wheels: Path | None, note: Callable[[str], None]) -> None:
    """Run the golden samples in the bundle's own environment; raises `ParityLost` if they do not hold."""
    manifest = bundle.manifest
    allow: Allow = "none" if manifest.executes is False else manifest.executes  # type: ignore[assignment]
    try:
        runtime = load_runtime(bundle, python=PythonHost(allow=allow, wheels=wheels))
        try:
            samples = bundle.samples()
            answers = runtime.run(samples.inputs)
        finally:
            runtime.close()
    except ConversionError:
        raise
    except _OF_CODE as error:
        raise ParityLost(
            f"`{title}`", expected="to run in its own environment", found=error.message
        ) from error
    parity = compare(manifest.signature.outputs, samples.outputs, answers, manifest.tolerance)
    if not parity.holds:
        worst = str(parity.worst[0]) if parity.worst else "other answers"
        raise ParityLost(f"`{title}`", expected="its golden samples to hold in its environment", found=worst)
    if not all(_same_bits(array, answers[name]) for name, array in samples.outputs.items()):
        note(f"{title}: in its environment the largest error is {parity.max_abs_error:.3g}")


def _same_bits(expected: Array, actual: Array) -> bool:
    if expected.dtype.kind == "f":
        return bool(np.array_equal(expected, actual, equal_nan=True))
    return bool(np.array_equal(expected, actual))
