"""A model that becomes ONNX becomes a bundle: the first conversion that answers as its framework does.

Nothing remains of a bundle that does not hold in the runtime that serves.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lading.blobs.os_errors import destination_errors
from lading.bundle import Bundle, Draft, write_bundle
from lading.convert import TrainedModel
from lading.errors import ConversionError, LadingError, ParityLost
from lading.pack.environment import describe_training, installed_requirements
from lading.pack.facts import Facts
from lading.pack.golden_rows import golden_samples
from lading.pack.parity_search import find_conversion, unchecked_inputs
from lading.pack.probe_rows import ProbeRows, gather_probe_rows
from lading.pack.proof import Proof
from lading.parity import Parity, compare
from lading.runtime.open import load_runtime
from lading.signature import Array


def pack_converted(
    trained: TrainedModel, samples: Any, facts: Facts, place: Path, dtypes: tuple[str, ...]
) -> Bundle:
    """Convert, prove on `samples` in the first of `dtypes` that holds, and write the bundle to `place`.

    Raises `ConversionError`.
    """
    # Outside of what follows: what it does not answer, it does not answer in Python either.
    facts.step(f"asking {trained.title} itself")
    probe = gather_probe_rows(trained, trained.table(samples), facts.note)
    try:
        proof = convert(trained, probe, facts, dtypes)
    except ConversionError as error:
        estimator = hasattr(getattr(trained, "model", None), "get_params")
        raise (_or_in_python(error) if estimator else error) from error.__cause__
    facts.expect(proof.conversion.signature)
    draft = Draft(
        name=facts.name,
        runtime="onnx",
        signature=proof.conversion.signature,
        labels=facts.labels(trained.class_values, proof.conversion.signature),
        purpose=facts.purpose or trained.purpose,
        owner=facts.owner,
        description=facts.description,
        metrics=facts.metrics,
        tolerance=proof.tolerance,
        expected_from=trained.expected_from,
        training=describe_training(trained.framework, trained.packages),
        lineage=facts.lineage,
    )
    facts.step("writing the bundle, and replaying its golden samples")
    kept = golden_samples(trained, probe, proof, synthetic=facts.synthetic)
    with destination_errors(f"bundle `{place}`"):
        bundle = write_bundle(
            place, draft, model=proof.conversion.model, samples=kept, requirements=installed_requirements()
        )
    _replay_or_remove(bundle, trained.title)
    return bundle


def convert(trained: TrainedModel, probe: ProbeRows, facts: Facts, dtypes: tuple[str, ...]) -> Proof:
    """Convert in the first of `dtypes` that holds on the rows of `probe`; raises `ConversionError`."""
    facts.step("converting, and comparing answers")
    proof, notes = find_conversion(trained, probe, dtypes, facts.tolerance)
    for sentence in (*notes, *proof.conversion.notes, *unchecked_inputs(trained, proof, probe)):
        facts.note(sentence)
    return proof


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
            answers = runtime.run(bundle.samples().inputs)
        finally:
            runtime.close()
    except ConversionError:
        raise
    except LadingError as error:
        raise ParityLost(
            f"`{title}`", expected="a bundle that the runtime loads", found=error.message
        ) from error
    check_golden(bundle, title, answers, "the runtime")


def check_golden(bundle: Bundle, title: str, answers: Mapping[str, Array], place: str) -> Parity:
    """Return how well `answers` to the golden samples agree; raises `ParityLost` if they do not hold."""
    manifest = bundle.manifest
    parity = compare(manifest.signature.outputs, bundle.samples().outputs, answers, manifest.tolerance)
    if not parity.holds:
        worst = str(parity.worst[0]) if parity.worst else "other answers"
        raise ParityLost(f"`{title}`", expected=f"its golden samples to hold in {place}", found=worst)
    return parity
