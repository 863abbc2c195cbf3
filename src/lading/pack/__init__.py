"""A trained model becomes a bundle: converted, proved against its own framework, and written with the proof.

A model that cannot be converted or does not keep parity is refused; nothing is packed that was not compared.
Pushes nothing and serves nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lading.blobs.os_errors import destination_errors
from lading.bundle import Bundle, Draft, write_bundle
from lading.convert.open import open_model
from lading.errors import ConversionError, LadingError, ParityLost
from lading.pack.arguments import read_batch_axis, read_metrics, read_tolerance, require
from lading.pack.class_names import Labels, display_names
from lading.pack.destination import move_into_place, writing_place
from lading.pack.environment import describe_training, installed_requirements
from lading.pack.golden_rows import golden_samples
from lading.pack.parity_search import find_conversion, unchecked_inputs
from lading.pack.probe_rows import gather_probe_rows
from lading.pack.python_bundle import Environment, Facts, pack_python
from lading.pack.python_models import Files, OwnCode, is_code
from lading.pack.sources import load_model, read_samples
from lading.parity import Tolerance, compare
from lading.ref import check_name
from lading.runtime.open import load_runtime

__all__ = ["pack"]

_RUNTIMES = ("auto", "onnx", "python")
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
    batch_axis: Mapping[str, int | None] | str | Sequence[str] = (),
    runtime: Literal["auto", "onnx", "python"] = "auto",
    files: Files = (),
    code: Files = (),
    requirements: str | Path | Sequence[str] = "auto",
    wheels: str | Path | None = None,
    trust_types: Sequence[str] = (),
    allow_pickle: bool = False,
    to: str | Path | None = None,
    overwrite: bool = False,
    on_note: Callable[[str], None] | None = None,
) -> Bundle:
    """Convert `model`, prove it on `samples`, and write the bundle to `to` (``./<name>.bundle``).

    `model` is a fitted model of a framework, the path of an ``.onnx`` file, a class with `predict`, a
    function, or ``module:object``. `samples` are rows like those of training: an array, a data frame, a
    mapping of arrays, or a file. `labels` are display names, by class value or in class order.
    ``golden="synthetic"`` stores no sample. With `overwrite` a bundle at `to` is replaced once the new one
    holds. `batch_axis` is for an ONNX file whose rows are not where they seem to be: ``"none"``, or the
    axis by input. `on_note` is called with each thing worth knowing, as one sentence: which dtype was not
    good enough and why.

    Code runs in Python, and with ``runtime="python"`` an estimator does so as well instead of being
    converted: in an environment of its `requirements`, by default the packages that it imported at the
    versions here, built from the folder `wheels` or from pip's index. `files` are what its `load` reads,
    `code` further modules; `trust_types` are types of others in an estimator, and `allow_pickle` reads and
    stores pickles.
    Raises `ConversionError`, `UsageError`, `DestinationExists`.
    """
    note = on_note or (lambda _: None)
    _check_choices(name, dtype, golden, owner)
    require(runtime in _RUNTIMES, "`runtime`", "one of `auto`, `onnx`, `python`", f"`{runtime}`")
    dest = Path(to) if to is not None else Path(f"{name}.bundle")
    place = writing_place(dest, overwrite=overwrite)
    loaded = load_model(model, allow_pickle=allow_pickle)
    if runtime == "python" or (runtime == "auto" and is_code(loaded)):
        facts = Facts(
            name=name,
            owner=owner,
            purpose=purpose,
            description=description,
            metrics=read_metrics(metrics or {}),
            tolerance=read_tolerance(tolerance),
            labels=partial(display_names, labels),
        )
        own = OwnCode(files, code, trust_types, allow_pickle=allow_pickle)
        environment = Environment(requirements, None if wheels is None else Path(wheels))
        synthetic = golden == "synthetic"
        bundle = pack_python(
            loaded, read_samples(samples), facts, place, own, environment, synthetic=synthetic, note=note
        )
        return move_into_place(bundle, dest)
    trained = open_model(loaded, read_batch_axis(batch_axis))
    probe = gather_probe_rows(trained, trained.table(read_samples(samples)), note)
    try:
        proof, notes = find_conversion(trained, probe, _DTYPES[dtype], read_tolerance(tolerance))
    except ConversionError as error:
        raise (_or_in_python(error) if hasattr(loaded, "get_params") else error) from error.__cause__
    for sentence in (*notes, *proof.conversion.notes, *unchecked_inputs(trained, proof, probe)):
        note(sentence)
    draft = Draft(
        name=name,
        runtime="onnx",
        signature=proof.conversion.signature,
        labels=display_names(labels, trained.class_values, proof.conversion.signature),
        purpose=purpose or trained.purpose,
        owner=owner,
        description=description,
        metrics=read_metrics(metrics or {}),
        tolerance=proof.tolerance,
        expected_from=trained.expected_from,
        training=describe_training(trained.framework, trained.packages),
    )
    kept = golden_samples(trained, probe, proof, synthetic=golden == "synthetic")
    with destination_errors(f"bundle `{dest}`"):
        bundle = write_bundle(
            place, draft, model=proof.conversion.model, samples=kept, requirements=installed_requirements()
        )
    _replay_or_remove(bundle, trained.title)
    return move_into_place(bundle, dest)


def _check_choices(name: str, dtype: str, golden: str, owner: str) -> None:
    check_name(name)
    require(dtype in _DTYPES, "`dtype`", "one of `auto`, `float32`, `float64`", f"`{dtype}`")
    require(golden in ("rows", "synthetic"), "`golden`", "`rows` or `synthetic`", f"`{golden}`")
    require(bool(owner.strip()), "`owner`", "who answers for the model, e.g. `ml@example.com`", "nothing")


def _or_in_python(error: ConversionError) -> ConversionError:
    """Return the error of an estimator that was not converted with the other way out."""
    way_out = '`--runtime python` (`runtime="python"`) packs it as it is, with an environment of its own'
    return error.with_hint(f"{error.hint}; {way_out}" if error.hint else way_out)


def _replay_or_remove(bundle: Bundle, title: str) -> None:
    try:
        _replay(bundle, title)
    except BaseException:
        shutil.rmtree(bundle.path, ignore_errors=True)
        raise


def _replay(bundle: Bundle, title: str) -> None:
    """Run the golden samples through the runtime that serves; raises `ParityLost` if they do not hold."""
    try:
        runtime = load_runtime(bundle)
        try:
            samples = bundle.samples()
            answers = runtime.run(samples.inputs)
        finally:
            runtime.close()
    except ConversionError:
        raise
    except LadingError as error:
        raise ParityLost(
            f"`{title}`", expected="a bundle that the runtime loads", found=error.message
        ) from error
    manifest = bundle.manifest
    parity = compare(manifest.signature.outputs, samples.outputs, answers, manifest.tolerance)
    if not parity.holds:
        worst = str(parity.worst[0]) if parity.worst else "other answers"
        raise ParityLost(f"`{title}`", expected="its golden samples to hold in the runtime", found=worst)
