"""A trained model becomes a bundle: converted, proved against its own framework, and written with the proof.

What cannot be converted or does not keep parity is refused; nothing is packed that was not compared. Pushes
nothing and serves nothing.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lading.bundle import MAX_ROWS, Bundle, Draft, Samples, write_bundle
from lading.convert import Table, TrainedModel
from lading.convert.open import open_model
from lading.errors import ConversionError, DestinationExists, LadingError, ParityLost
from lading.pack import sampling as draws
from lading.pack.class_names import Labels, check, display_names
from lading.pack.environment import describe_training, requirements
from lading.pack.golden_rows import choose_rows
from lading.pack.parity_search import Proof, choose, unrefused
from lading.pack.probe_rows import DRAWN_ROWS, Note, Trial, gather
from lading.pack.sources import load_model, read_samples
from lading.parity import Tolerance, compare
from lading.ref import check_name
from lading.runtime.open import load_runtime
from lading.signature import Array, Signature

__all__ = ["pack"]

MAX_GOLDEN_BYTES = 32 * 2**20

_DTYPES = {"auto": ("float32", "float64"), "float32": ("float32",), "float64": ("float64",)}


def pack(  # noqa: PLR0913 - one keyword per fact that a bundle records
    model: Any,
    *,
    name: str,
    samples: Any = None,
    owner: str,
    purpose: str = "",
    labels: Labels | None = None,
    metrics: Mapping[str, float] | None = None,
    description: str = "",
    dtype: str = "auto",
    tolerance: Tolerance | float | None = None,
    golden: Literal["rows", "synthetic"] = "rows",
    to: str | Path | None = None,
    on_note: Note | None = None,
) -> Bundle:
    """Convert `model`, prove it on `samples`, and write the bundle to `to` (``./<name>.bundle``).

    `model` is a fitted estimator or pipeline, the path of an ``.onnx`` file, or ``module:object``. `samples`
    are rows like those of training: an array, a data frame, a mapping of arrays, or a file. `labels` are
    display names, by class value or in class order. ``golden="synthetic"`` stores no sample. `on_note` hears
    what is worth knowing, one sentence a call: which dtype was not good enough and why.
    Raises `ConversionError`, `UsageError`, `DestinationExists`.
    """
    tell = on_note or (lambda _: None)
    check_name(name)
    check(dtype in _DTYPES, "`dtype`", "one of `auto`, `float32`, `float64`", f"`{dtype}`")
    check(golden in ("rows", "synthetic"), "`golden`", "`rows` or `synthetic`", f"`{golden}`")
    check(bool(owner.strip()), "`owner`", "who answers for the model, e.g. `ml@example.com`", "nothing")
    dest = Path(to) if to is not None else Path(f"{name}.bundle")
    if os.path.lexists(dest):  # known before the long part begins
        hint = "remove it, or name another with `-o` (`to=` in Python)"
        raise DestinationExists(
            f"`{dest}`", expected="nothing there yet", found="a file or directory", hint=hint
        )
    trained = open_model(load_model(model))
    table = trained.table(read_samples(samples))
    trial = gather(trained, table, tell)
    proof, notes = choose(trained, trial, _DTYPES[dtype], _tolerance(tolerance))
    for note in (*notes, *unrefused(trained, proof, trial)):
        tell(note)
    draft = Draft(
        name=name,
        runtime="onnx",
        signature=proof.conversion.signature,
        labels=display_names(labels, trained.class_values, proof.conversion.signature),
        purpose=purpose or trained.purpose,
        owner=owner,
        description=description,
        metrics=_metrics(metrics or {}),
        tolerance=proof.tolerance,
        expected_from=trained.expected_from,
        training=describe_training(trained.framework, trained.packages),
    )
    kept = _golden(trained, trial, proof, synthetic=golden == "synthetic")
    bundle = write_bundle(
        dest, draft, model=proof.conversion.model, samples=kept, requirements=requirements()
    )
    _replay(bundle, trained.title)
    return bundle


def _golden(trained: TrainedModel, trial: Trial, proof: Proof, *, synthetic: bool) -> Samples:
    """Take the golden rows, in the signature's dtypes, with the framework's answers."""
    table, expected = trial.samples()
    if not proof.conversion.signature.batched:
        return _one_call(trained, table, expected, proof)
    if synthetic:
        table = draws.synthetic(table, DRAWN_ROWS, trained.title)
        expected = trained.outputs(table)
    size = sum(array[:1].nbytes for array in (*table.arrays.values(), *expected.values()))
    most = max(1, min(MAX_ROWS, MAX_GOLDEN_BYTES // max(1, size)))
    rows = choose_rows(table, expected, proof.tolerance, most=most)
    return _samples(proof.conversion.signature, table.take(rows), _at(expected, rows), len(rows))


def _one_call(trained: TrainedModel, table: Table, expected: Mapping[str, Array], proof: Proof) -> Samples:
    """Take all rows as one call, where an output belongs to the whole call and not to a row."""
    signature = proof.conversion.signature
    batched = any(tensor.batched for tensor in signature.inputs)
    rows = table.rows if batched else 1
    if rows > MAX_ROWS:
        table = table.take(np.arange(MAX_ROWS))
        rows, expected = MAX_ROWS, trained.outputs(table)
    return _samples(signature, table, expected, rows)


def _samples(signature: Signature, table: Table, expected: Mapping[str, Array], rows: int) -> Samples:
    inputs = signature.cast(table.feed(signature.inputs))
    outputs = {
        tensor.name: np.asarray(expected[tensor.name]).astype(tensor.numpy_dtype)
        for tensor in signature.outputs
    }
    return Samples(inputs=inputs, outputs=outputs, rows=rows)


def _at(arrays: Mapping[str, Array], rows: Array) -> dict[str, Array]:
    return {name: array[rows] for name, array in arrays.items()}


def _replay(bundle: Bundle, title: str) -> None:
    """Run the golden samples through the very runtime that serves; a bundle that fails is removed again."""
    try:
        runtime = load_runtime(bundle)
        try:
            samples = bundle.samples()
            found = runtime.run(samples.inputs)
        finally:
            runtime.close()
        manifest = bundle.manifest
        parity = compare(manifest.signature.outputs, samples.outputs, found, manifest.tolerance)
        if not parity.holds:
            found_row = str(parity.worst[0]) if parity.worst else "other answers"
            raise ParityLost(
                f"`{title}`", expected="its golden samples to hold in the runtime", found=found_row
            )
    except ConversionError:
        shutil.rmtree(bundle.path, ignore_errors=True)
        raise
    except LadingError as error:
        shutil.rmtree(bundle.path, ignore_errors=True)
        raise ParityLost(
            f"`{title}`", expected="a bundle that the runtime loads", found=error.message
        ) from error


def _tolerance(given: Tolerance | float | None) -> Tolerance | None:
    if given is None or isinstance(given, Tolerance):
        return given
    check(math.isfinite(given) and given >= 0, "`tolerance`", "a number, 0 or more", f"`{given}`")
    return Tolerance(rtol=float(given), atol=float(given))


def _metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    for key, value in metrics.items():
        number = isinstance(value, int | float | np.number) and math.isfinite(value)
        check(number, f"metric `{key}`", "a finite number", f"`{value}`")
    return {str(key): float(value) for key, value in metrics.items()}
