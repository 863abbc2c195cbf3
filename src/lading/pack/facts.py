"""What the packer states about a model, and how it is to be packed; the rest is found by proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lading.bundle.formats.v2 import Check, Lineage
from lading.convert.table import Table
from lading.pack.reference import Reference
from lading.parity import Tolerance
from lading.signature import Signature

Note = Callable[[str], None]
"""Is called with a sentence worth knowing."""


def expect_nothing(_: Signature) -> None:
    """Accept any signature."""


def check_nothing(_: Signature) -> tuple[Check, ...]:
    """Return no checks."""
    return ()


def no_slices(_: Signature) -> tuple[str, ...]:
    """Return no slices."""
    return ()


@dataclass(frozen=True)
class Facts:
    """The facts that `pack` was called with.

    ``tolerance`` is None for the usual one. ``labels`` returns display names for the class values of a model
    and its signature. ``synthetic`` keeps samples out of the bundle. ``floats`` is the dtype of floats, or
    ``auto``. ``note`` is called with each sentence worth knowing, ``step`` with what is done next.
    ``reference`` is what the profile is measured of. ``lineage`` is where the model comes from. ``expect`` is
    called with the signature before anything is written, and raises a `ConversionError` if it is not what was
    stated elsewhere. ``checks`` and ``slices`` return what is stated for it; they raise `InvalidSetting`.
    """

    name: str
    owner: str
    purpose: str
    description: str
    metrics: dict[str, float]
    tolerance: Tolerance | None
    labels: Callable[[tuple[str, ...], Signature], dict[str, str]]
    # What follows is no fact about the model.
    synthetic: bool
    floats: str
    note: Note
    step: Note
    reference: Reference
    lineage: Lineage | None = None
    expect: Callable[[Signature], None] = expect_nothing
    checks: Callable[[Signature], tuple[Check, ...]] = check_nothing
    slices: Callable[[Signature], tuple[str, ...]] = no_slices


def with_reference(facts: Facts, table: Table | None, samples: Table | None, *, most: int = 0) -> Facts:
    """Return the facts with the rows to measure: those of `table`, else the samples if they may be kept.

    The model is asked to answer at most `most` of them, if that is not 0.
    """
    reference = replace(facts.reference, most_answered=most)
    if reference.wanted and table is not None:
        return replace(facts, reference=replace(reference, table=table))
    if reference.wanted and not facts.synthetic:
        return replace(facts, reference=replace(reference, table=samples, of_samples=True))
    return facts
