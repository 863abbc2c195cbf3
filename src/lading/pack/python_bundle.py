"""A model that runs in Python becomes a bundle: its code, its files, its environment, and the proof of all.

The answers come from the model as it is here. Then it runs in a process of its own with what the bundle
holds, to see which packages it needs, and in the environment that is built from their lock: only what answers
the same there is a bundle. Converts nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lading.blobs.os_errors import destination_errors
from lading.bundle import LOCK_FILE, Bundle, Draft, Samples, write_bundle
from lading.bundle.formats.v2 import FILES, file_formats, what_loading_executes
from lading.convert.table import Table, make_table
from lading.errors import (
    ConversionError,
    ConverterFailed,
    SamplesRefused,
)
from lading.pack import sampling
from lading.pack.environment import describe_training, installed_requirements
from lading.pack.facts import Facts, with_reference
from lading.pack.golden_rows import MAX_GOLDEN_BYTES, choose_rows
from lading.pack.own_objects import is_object, object_model
from lading.pack.parity_search import usual_tolerance
from lading.pack.probe_rows import DRAWN_ROWS, MAX_SAMPLES
from lading.pack.profiles import with_profile
from lading.pack.python_models import OwnCode, PythonModel, code_model, estimator_model, is_code, title_of
from lading.pack.python_proof import Behaviour, imported_modules, laid_out, replay_in_environment
from lading.pack.python_tensors import in_floats, input_tensors, output_tensor
from lading.pack.reference import reference_table
from lading.pack.requirements import LockedRequirements, lock_requirements
from lading.parity import Tolerance, compare
from lading.runtime.python.resolver import Resolver
from lading.signature import Array, Signature

_ROWS_ALONE = 8
_MAX_ROWS = 256
ROWS_OF_ONE_CALL = 32
"""Golden rows of a model whose rows depend on each other."""


@dataclass(frozen=True)
class Environment:
    """What the environment of a bundle is to have: `requirements`, and where its wheels are."""

    requirements: str | Path | Sequence[str] = "auto"
    wheels: Path | None = None


def pack_python(
    thing: Any, samples: Any, facts: Facts, place: Path, own: OwnCode, environment: Environment
) -> Bundle:
    """Prove `thing`, code or an estimator, on `samples`, and write the bundle to `place`.

    Raises `ConversionError`, `RequirementsRefused`, `EnvironmentFailed`.
    """
    if not is_code(thing) and not is_object(thing):
        model, trained = estimator_model(thing, own, facts.floats)
        reference = reference_table(facts.reference, trained.table)
        table = trained.table(samples)
        return _pack(model, table, with_reference(facts, reference, table), place, environment)
    title = title_of(thing)
    if samples is None:
        raise SamplesRefused(
            f"samples of `{title}`",
            expected="rows like those of requests",
            found="none",
            hint="pass `--samples FILE` (`samples=X` in Python): the proof is computed from them",
        )
    table = make_table(samples, title)
    reference = reference_table(facts.reference, partial(make_table, title=title))
    facts = with_reference(facts, reference, table)
    if is_object(thing):
        return _pack(object_model(thing, table, own), table, facts, place, environment)
    files = own.named_files()
    with laid_out(files) as folder:
        model = code_model(thing, files, own, folder / FILES)
        return _pack(model, table, facts, place, environment)


def _pack(
    model: PythonModel,
    table: Table,
    facts: Facts,
    place: Path,
    environment: Environment,
) -> Bundle:
    behaviour = behaviour_of(model, table, facts)
    return write_with_environment(model, behaviour, facts, place, environment)


def behaviour_of(model: PythonModel, table: Table, facts: Facts) -> Behaviour:
    """Return how a model answers the rows of `table`: its signature and its golden samples.

    Raises `ConversionError`.
    """
    note = facts.note
    table = in_floats(chosen_rows(table, facts.synthetic, model.title, note), facts.floats)
    inputs, arrays = input_tensors(table, model.title, needs_dtypes=model.needs_dtypes)
    facts.step(f"asking {model.title} here")
    expected = _answers(model, table, arrays)
    outputs = tuple(output_tensor(model, name, array, table.rows) for name, array in expected.items())
    tolerance = facts.tolerance or usual_tolerance(expected)
    signature = Signature(inputs, outputs)
    if depend_on_each_other(model, table, expected, signature, tolerance):
        signature = Signature(inputs, outputs, independent_rows=False)
        note(f"{model.title}: a row's answer depends on the other rows, so requests are never merged")
        # The golden rows are one call: each in the company in which it was answered.
        table = table.take(np.arange(min(table.rows, ROWS_OF_ONE_CALL)))
        arrays = {name: array[: table.rows] for name, array in arrays.items()}
        expected = _answers(model, table, arrays)
    return Behaviour(signature, golden(table, signature, arrays, expected, tolerance), tolerance)


def write_with_environment(
    model: PythonModel, behaviour: Behaviour, facts: Facts, place: Path, environment: Environment
) -> Bundle:
    """Write the bundle with the lock of what the model needs, once it behaves as here in that environment.

    Raises `ConversionError`, `RequirementsRefused`, `EnvironmentFailed`.
    """
    note = facts.note
    facts.step("running it with only what the bundle has")
    # Before anything is resolved: code that is not complete fails in a second, and not in a minute.
    modules = imported_modules(model, behaviour, facts.name)
    with_lock = partial(prove, model, facts, behaviour, place, wheels=environment.wheels)
    facts.step("resolving its packages")
    if environment.requirements != "auto":
        resolver = Resolver(wheels=environment.wheels)
        return with_lock(lock_requirements(environment.requirements, resolver=resolver))
    resolver = Resolver(wheels=environment.wheels, dependencies=model.dependencies)
    # What the model itself names is most often all that it needs: other imports are tries, such as of pandas.
    named = [module for module in modules if module.partition(".")[0] in model.imports]
    lean = lock_requirements(modules=named, resolver=resolver)
    try:
        return with_lock(lean)
    except ConversionError as error:
        whole = lock_requirements(modules=modules, resolver=resolver)
        if lean.lock == whole.lock:
            raise
        lacking = f"with only the packages that it names, {model.title} does not run"
        note(f"{lacking} ({error.found}): all that it imported are in its environment")
    return with_lock(whole)


def prove(
    model: PythonModel,
    facts: Facts,
    behaviour: Behaviour,
    place: Path,
    locked: LockedRequirements,
    *,
    wheels: Path | None,
) -> Bundle:
    """Write the bundle with this lock, and run it in the environment; nothing is left if it does not hold.

    Raises `ConversionError`, `EnvironmentFailed`.
    """
    core = model.core
    packages = core.packages if core is not None else ()
    files = {**model.files, LOCK_FILE: locked.lock.to_bytes()}
    draft = Draft(
        name=facts.name,
        runtime="python",
        signature=behaviour.signature,
        labels=facts.labels(model.class_values, behaviour.signature),
        purpose=facts.purpose or model.purpose,
        owner=facts.owner,
        description=facts.description,
        metrics=facts.metrics,
        tolerance=behaviour.tolerance,
        expected_from=core.expected_from if core is not None else model.framework,
        training=describe_training(model.framework, (*packages, *locked.lock.versions)),
        python=locked.python,
        entry=model.entry,
        steps=model.all_steps(),
        formats=file_formats(files),
        executes=what_loading_executes(files),
        lineage=facts.lineage,
        checks=facts.checks(behaviour.signature),
        slices=facts.slices(behaviour.signature),
    )
    installed = installed_requirements()
    with destination_errors(f"bundle `{place}`"):
        bundle = write_bundle(
            place,
            draft,
            model=core.model if core is not None else None,
            samples=behaviour.samples,
            requirements=installed,
            more=files,
        )
    try:
        return with_profile(bundle, replay_in_environment(bundle, model.title, wheels, facts), facts)
    except BaseException:
        shutil.rmtree(bundle.path, ignore_errors=True)
        raise


def chosen_rows(table: Table, synthetic: bool, title: str, note: Callable[[str], None]) -> Table:
    """Return the rows to ask: the samples, a seeded choice of very many, or rows drawn like them."""
    if synthetic:
        return sampling.synthetic(table, DRAWN_ROWS, title)
    if table.rows <= MAX_SAMPLES:
        return table
    rows = np.random.default_rng(sampling.SEED).choice(table.rows, MAX_SAMPLES, replace=False)
    note(f"{MAX_SAMPLES} of {table.rows} samples were asked, chosen by a seeded draw")
    return table.take(np.sort(rows))


def _answers(model: PythonModel, table: Table, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Ask the model as it is here."""
    expected = model.answer(table, arrays)
    if not expected:
        raise ConverterFailed(f"`{model.title}`", expected="outputs by name", found="none")
    return {
        name: array.astype(str).astype(object) if array.dtype.kind in "US" else array
        for name, array in expected.items()
    }


def depend_on_each_other(
    model: PythonModel,
    table: Table,
    expected: Mapping[str, Array],
    signature: Signature,
    tolerance: Tolerance,
) -> bool:
    """Return whether a row alone is answered otherwise than among the others."""
    for row in range(min(_ROWS_ALONE, table.rows)):
        alone = table.take(np.array([row]))
        _, arrays = input_tensors(alone, model.title, needs_dtypes=model.needs_dtypes)
        answers = _answers(model, alone, arrays)
        own = {name: array[row : row + 1] for name, array in expected.items()}
        if any(answers[name].shape != array.shape for name, array in own.items()):
            return True
        if not compare(signature.outputs, own, answers, tolerance).holds:
            return True
    return False


def golden(
    table: Table,
    signature: Signature,
    arrays: Mapping[str, Array],
    expected: Mapping[str, Array],
    tolerance: Tolerance,
) -> Samples:
    """Return the golden samples among the rows that were answered with `expected`: all of one call."""
    row_bytes = sum(array[:1].nbytes for array in (*arrays.values(), *expected.values()))
    most = max(1, min(_MAX_ROWS, MAX_GOLDEN_BYTES // max(1, row_bytes)))
    rows = np.arange(table.rows)
    if signature.independent_rows:
        rows = choose_rows(table, expected, tolerance, most=most)
    return Samples(
        inputs={tensor.name: arrays[tensor.name][rows] for tensor in signature.inputs},
        outputs={name: array[rows] for name, array in expected.items()},
        rows=len(rows),
    )
