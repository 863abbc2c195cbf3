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
from lading.pack.facts import Facts, with_reference
from lading.pack.golden_rows import golden_samples
from lading.pack.parity_search import find_conversion, unchecked_inputs
from lading.pack.probe_rows import ProbeRows, gather_probe_rows
from lading.pack.profiles import profile_of, with_profile
from lading.pack.proof import Proof
from lading.pack.reference import reference_table
from lading.parity import Parity, compare
from lading.profile import Profile
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
    # First: a converter knows its inputs by the rows that it has read last.
    reference = reference_table(facts.reference, trained.table)
    table = trained.table(samples)
    # Rows that were drawn because there are no samples say nothing of the data.
    facts = with_reference(facts, reference, None if samples is None else table)
    probe = gather_probe_rows(trained, table, facts.note)
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
        checks=facts.checks(proof.conversion.signature),
        slices=facts.slices(proof.conversion.signature),
    )
    facts.step("writing the bundle, and replaying its golden samples")
    kept = golden_samples(trained, probe, proof, synthetic=facts.synthetic)
    with destination_errors(f"bundle `{place}`"):
        bundle = write_bundle(
            place, draft, model=proof.conversion.model, samples=kept, requirements=installed_requirements()
        )
    return _proved(bundle, trained.title, facts)


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


def _proved(bundle: Bundle, title: str, facts: Facts) -> Bundle:
    """Return the bundle with its profile, once it holds in the runtime that serves; else nothing is left."""
    try:
        return with_profile(bundle, _replay(bundle, title, facts), facts)
    except BaseException:
        shutil.rmtree(bundle.path, ignore_errors=True)
        raise


def _replay(bundle: Bundle, title: str, facts: Facts) -> Profile | None:
    """Run the golden samples through the runtime that serves, then the reference data; return its profile.

    Raises `ParityLost` if the samples do not hold.
    """
    try:
        runtime = load_runtime(bundle)
    except LadingError as error:
        raise _not_loaded(title, error) from error
    try:
        try:
            answers = runtime.run(bundle.samples().inputs)
        except LadingError as error:
            raise _not_loaded(title, error) from error
        check_golden(bundle, title, answers, "the runtime")
        return profile_of(bundle, runtime, facts)
    finally:
        runtime.close()


def _not_loaded(title: str, error: LadingError) -> ParityLost:
    return ParityLost(f"`{title}`", expected="a bundle that the runtime loads", found=error.message)


def check_golden(bundle: Bundle, title: str, answers: Mapping[str, Array], place: str) -> Parity:
    """Return how well `answers` to the golden samples agree; raises `ParityLost` if they do not hold."""
    manifest = bundle.manifest
    parity = compare(manifest.signature.outputs, bundle.samples().outputs, answers, manifest.tolerance)
    if not parity.holds:
        worst = str(parity.worst[0]) if parity.worst else "other answers"
        raise ParityLost(f"`{title}`", expected=f"its golden samples to hold in {place}", found=worst)
    return parity
