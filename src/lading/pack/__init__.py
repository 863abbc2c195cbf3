"""A trained model becomes a bundle: converted, proved against its own framework, and written with the proof.

What cannot be converted or does not keep parity is refused; nothing is packed that was not compared. Pushes
nothing and serves nothing.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lading.bundle import Bundle, Draft, Samples, write_bundle
from lading.convert import Table, Trained, open_model
from lading.errors import ConversionError, InvalidSetting, LadingError, ParityLost, SamplesRefused
from lading.pack import draws
from lading.pack.golden import choose_rows
from lading.pack.proof import Proof, Trial, choose
from lading.pack.samples import load_model, read_samples
from lading.pack.training import describe_training, requirements
from lading.parity import Tolerance, compare
from lading.ref import check_name
from lading.runtime import load_runtime
from lading.signature import Array, Signature

__all__ = ["pack"]

MAX_GIVEN_ROWS = 20_000
"""Samples beyond this many are left out of the proof, by a seeded choice."""
DRAWN_ROWS = 2_000

_DTYPES = {"auto": ("float32", "float64"), "float32": ("float32",), "float64": ("float64",)}

Note = Callable[[str], None]


def pack(  # noqa: PLR0913 - one keyword per fact that a bundle records
    model: Any,
    *,
    name: str,
    samples: Any = None,
    owner: str,
    purpose: str = "",
    labels: Sequence[str] | Mapping[Any, str] | str | Path | None = None,
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
    display names, by class value or in class order. ``golden="synthetic"`` stores no sample. `on_note` hears what is
    worth knowing, one sentence a call: which dtype was not good enough and why.
    Raises `ConversionError`, `UsageError`, `DestinationExists`.
    """
    tell = on_note or (lambda _: None)
    check_name(name)
    _check(dtype in _DTYPES, "`dtype`", "one of `auto`, `float32`, `float64`", f"`{dtype}`")
    _check(golden in ("rows", "synthetic"), "`golden`", "`rows` or `synthetic`", f"`{golden}`")
    _check(bool(owner.strip()), "`owner`", "who answers for the model, e.g. `ml@example.com`", "nothing")
    trained = open_model(load_model(model))
    table = trained.table(read_samples(samples))
    trial = _trial(trained, table, tell)
    proof, notes = choose(trained, trial, _DTYPES[dtype], _tolerance(tolerance))
    for note in notes:
        tell(note)
    draft = Draft(
        name=name,
        runtime="onnx",
        signature=proof.conversion.signature,
        labels=_labels(labels, trained, proof.conversion.signature),
        purpose=purpose or trained.purpose,
        owner=owner,
        description=description,
        metrics=_metrics(metrics or {}),
        tolerance=proof.tolerance,
        expected_from=trained.expected_from,
        training=describe_training(trained.framework, trained.packages),
    )
    kept = _golden(trained, trial, proof, synthetic=golden == "synthetic")
    dest = Path(to) if to is not None else Path(f"{name}.bundle")
    bundle = write_bundle(
        dest, draft, model=proof.conversion.model, samples=kept, requirements=requirements()
    )
    _replay(bundle, trained.title)
    return bundle


def _trial(trained: Trained, table: Table, tell: Note) -> Trial:
    """Gather the rows to compare: the samples, and rows drawn between them if the framework answers those."""
    expected = trained.outputs(table)
    if table.rows > MAX_GIVEN_ROWS:
        keep = np.sort(np.random.default_rng(draws.SEED).choice(table.rows, MAX_GIVEN_ROWS, replace=False))
        tell(f"{MAX_GIVEN_ROWS} of {table.rows} samples were compared, chosen by a seeded draw")
        table, expected = table.take(keep), {key: value[keep] for key, value in expected.items()}
    given = table.rows
    if _rows_apart(table, expected):
        for draw in (draws.between, draws.recombined):
            try:
                drawn = draw(table, DRAWN_ROWS)
                table, expected = _joined(table, drawn), _stacked(expected, trained.outputs(drawn))
            except SamplesRefused as error:
                tell(f"{trained.title} does not answer rows drawn between the samples ({error.found})")
                continue
            break
        table, expected = _with_unseen(trained, table, expected, given, tell)
    return Trial(table, expected, given)


def _rows_apart(table: Table, expected: Mapping[str, Array]) -> bool:
    """Tell whether rows stand for themselves, so that others can be drawn between them."""
    sizes = {len(array) for array in (*table.arrays.values(), *expected.values()) if array.ndim}
    return len(sizes) == 1 and all(array.ndim for array in expected.values())


def _with_unseen(
    trained: Trained, table: Table, expected: dict[str, Array], given: int, tell: Note
) -> tuple[Table, dict[str, Array]]:
    for column, unseen in draws.unseen_texts(table.take(np.arange(given))).items():
        try:
            answers = trained.outputs(unseen)
        except SamplesRefused:
            tell(
                f"column `{column}`: {trained.title} refuses a text that it has not seen in training; the "
                "served model cannot refuse it and answers as for no category"
            )
            continue
        table, expected = _joined(table, unseen), _stacked(expected, answers)
    return table, expected


def _joined(first: Table, second: Table) -> Table:
    return first.with_arrays(_stacked(first.arrays, second.arrays))


def _stacked(first: Mapping[str, Array], second: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.concatenate([array, second[name]]) for name, array in first.items()}


def _golden(trained: Trained, trial: Trial, proof: Proof, *, synthetic: bool) -> Samples:
    """Take the golden rows, in the signature's dtypes, with the framework's answers."""
    table = trial.table.take(np.arange(trial.given))
    expected = {key: value[: trial.given] for key, value in trial.expected.items()}
    if not proof.conversion.signature.batched:
        return _one_call(table, expected, proof)
    if synthetic:
        table = draws.synthetic(table, DRAWN_ROWS, trained.title)
        expected = trained.outputs(table)
    rows = choose_rows(table, expected, proof.tolerance)
    return _samples(proof.conversion.signature, table.take(rows), _at(expected, rows), len(rows))


def _one_call(table: Table, expected: Mapping[str, Array], proof: Proof) -> Samples:
    return _samples(proof.conversion.signature, table, expected, 1)


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
    _check(math.isfinite(given) and given >= 0, "`tolerance`", "a number, 0 or more", f"`{given}`")
    return Tolerance(rtol=float(given), atol=float(given))


def _metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    for key, value in metrics.items():
        number = isinstance(value, int | float | np.number) and math.isfinite(value)
        _check(number, f"metric `{key}`", "a finite number", f"`{value}`")
    return {str(key): float(value) for key, value in metrics.items()}


def _labels(
    given: Sequence[str] | Mapping[Any, str] | str | Path | None, trained: Trained, signature: Signature
) -> dict[str, str]:
    """Give display names by the text of the class value."""
    if given is None:
        return {}
    names = [tensor.name for tensor in signature.outputs]
    _check("label" in names, "`labels`", "a model that gives a `label`", f"outputs {', '.join(names)}")
    known = trained.class_values
    read: Any = _read_labels(given) if isinstance(given, str | Path) else given
    if isinstance(read, Mapping):
        labels = {str(key): str(value) for key, value in read.items()}
    else:
        values = known or tuple(str(at) for at in range(len(read)))
        _check(len(read) == len(values), "`labels`", f"{len(values)} names", f"{len(read)}")
        labels = {value: str(shown) for value, shown in zip(values, read, strict=True)}
    unnamed = [value for value in known if value not in labels]
    unknown = [value for value in labels if known and value not in known]
    _check(not unnamed, "`labels`", f"a name for class `{unnamed[0] if unnamed else ''}`", ", ".join(labels))
    _check(not unknown, "`labels`", f"the classes {', '.join(known)}", ", ".join(unknown))
    return labels


def _read_labels(path: str | Path) -> Any:
    try:
        read = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidSetting(f"labels `{path}`", expected="a JSON file", found=str(error)) from error
    shape = isinstance(read, dict | list) and all(isinstance(one, str) for one in _values(read))
    _check(shape, f"labels `{path}`", "a list of names, or an object from class value to name", "other JSON")
    return read


def _values(read: Any) -> list[Any]:
    return list(read.values()) if isinstance(read, dict) else list(read)


def _check(holds: bool, where: str, expected: str, found: str) -> None:
    if not holds:
        raise InvalidSetting(where, expected=expected, found=found)
