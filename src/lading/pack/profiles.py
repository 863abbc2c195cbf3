"""The profile of a bundle: its reference data, and what the packed model itself answers to them.

Reads no file; `reference` does. The profile of samples is noted as the weak reference that it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from lading.bundle import Bundle, add_profile
from lading.bundle.manifest import PROFILE_FILE, size_limit
from lading.bundle.requests import request_signature
from lading.errors import InputError, LadingError, SamplesRefused, UsageError
from lading.pack.facts import Facts
from lading.pack.reference import Reference, ReferenceRows, hits
from lading.pack.slices import require_cells
from lading.profile import Profile, Source
from lading.profile.encoding import encode
from lading.profile.measure import Batch, measure_batches
from lading.runtime import Runtime
from lading.signature import Array, Signature

MOST_ANSWERED = {"reference": 200_000, "samples": 20_000}
"""Of more rows, an evenly spaced part is asked for the profile of outputs."""

_MOST_VALUES = 2**26
_ROWS_AT_ONCE = 1024
_ROWS_OF_ONE_CALL = 32
FEWEST_ROWS = 10
_FEW_ROWS = 1000


def profile_of(bundle: Bundle, runtime: Runtime, facts: Facts) -> Profile | None:
    """Return the profile of the reference data of `facts`, as the bundle in `runtime` answers them.

    Return None if there are no rows to measure: no data,
    fewer than ten samples, inputs without rows. Raises `SamplesRefused` if no row fits the signature.
    """
    reference = facts.reference
    table, manifest = reference.table, bundle.manifest
    if table is None:
        return None
    if not all(tensor.batched for tensor in manifest.signature.inputs):
        if not reference.of_samples:
            facts.note("no profile: its inputs are not rows, which could be compared with those of requests")
        return None
    if reference.of_samples and table.rows < FEWEST_ROWS:
        return None
    facts.step("measuring the profile")
    samples = bundle.samples()
    signature = request_signature(manifest, samples)
    # Where rows come from is kept: a few samples are a weak reference, which reports say.
    source: Source = "samples" if reference.of_samples else "reference"
    rows = ReferenceRows(table, signature)
    profile = measure_batches(
        signature, lambda: (Batch(arrays) for _, arrays in rows.parts()), table.rows, source=source
    )
    if not profile.rows:
        raise SamplesRefused("`reference`", expected="rows that the model takes", found=rows.refused.first)
    refused = rows.refused.count
    # Rows of many values, such as images, take long; how long is not asked, or two packs would differ.
    row_size = rows.row_size + sum(array[:1].size for array in samples.outputs.values())
    most = max(1, min(reference.most_answered or MOST_ANSWERED[source], _MOST_VALUES // row_size))
    every = -(-table.rows // most)
    answered = _Answers(bundle, runtime, facts, reference).measured(signature, rows, every)
    if answered is not None:
        profile = msgspec.structs.replace(answered, rows=profile.rows, inputs=profile.inputs, source=source)
    profile = msgspec.structs.replace(profile, refused=refused)
    _note(profile, rows, table.rows, facts)
    return profile


def with_profile(bundle: Bundle, profile: Profile | None, facts: Facts) -> Bundle:
    """Return the bundle with its profile in it, or as it is without one.

    Raises `InvalidSetting` if its slices need one, or have no cells in it.
    """
    slices, signature = bundle.manifest.slices, bundle.manifest.signature
    require_cells(slices, signature, profile)
    if profile is None:
        return bundle
    content = encode(profile)
    # A model without a profile can be packed; one that cannot be read could not be served.
    if len(content) > size_limit(PROFILE_FILE):
        require_cells(slices, signature, None)
        facts.note(f"no profile: it would have {len(content)} bytes")
        return bundle
    return add_profile(bundle, content)


def _note(profile: Profile, rows: ReferenceRows, all_rows: int, facts: Facts) -> None:
    if profile.refused:
        facts.note(
            f"profile: {profile.refused} of {all_rows} rows are left out, which the model refuses"
            f" ({rows.refused.first})"
        )
    outputs = max((column.rows for column in profile.outputs), default=0)
    if outputs and outputs < profile.rows:
        facts.note(f"profile: outputs of {outputs} of {profile.rows} rows, evenly spaced")
    if profile.source == "samples" and profile.rows < _FEW_ROWS:
        facts.note(
            f"profile of {profile.rows} samples: pass `reference=X_train` (`--reference FILE`), so that"
            " requests are compared with what the model was trained on"
        )


@dataclass(frozen=True)
class _Answers:
    """What the packed model answers to reference data."""

    bundle: Bundle
    runtime: Runtime
    facts: Facts
    reference: Reference

    def measured(self, signature: Signature, rows: ReferenceRows, every: int) -> Profile | None:
        """Return the profile of the outputs for each `every`-th row; None if the model fails."""
        try:
            # Kept: the two passes over them must not ask twice.
            answers = list(self._batches(signature, rows, every))
        except UsageError:
            # Labels of a model without classes: its rows are answered all the same.
            raise
        except LadingError as error:
            self.facts.note(
                f"profile: no outputs, because the model fails on the reference ({error.message})"
            )
            return None
        if not answers:
            return None
        count = sum(len(next(iter(batch.outputs.values()))) for batch in answers)
        return measure_batches(signature, lambda: answers, count)

    def _batches(self, signature: Signature, rows: ReferenceRows, every: int) -> Iterator[Batch]:
        outputs = {tensor.name for tensor in signature.outputs if tensor.batched}
        at_once = _ROWS_AT_ONCE if signature.independent_rows else _ROWS_OF_ONE_CALL
        labels, names = self.reference.labels, self.bundle.manifest.labels
        for index, arrays in rows.parts(every):
            for start in range(0, len(index), at_once):
                cut = slice(start, start + at_once)
                part = {name: array[cut] for name, array in arrays.items()}
                for kept, answers in self._run(index[cut], part):
                    right = None if labels is None else hits(signature, names, answers, labels[kept])
                    answered = {name: array for name, array in answers.items() if name in outputs}
                    if answered:
                        yield Batch({}, answered, right)

    def _run(self, index: Array, arrays: dict[str, Array]) -> Iterator[tuple[Array, dict[str, Array]]]:
        """Run rows; if the model refuses a value of theirs, halves of them."""
        try:
            answers = self.runtime.run(arrays)
        except InputError:
            if len(index) > 1:
                middle = len(index) // 2
                for cut in (slice(None, middle), slice(middle, None)):
                    yield from self._run(index[cut], {name: array[cut] for name, array in arrays.items()})
        else:
            yield index, answers
