"""Golden samples run here, and compared with the answers of the training environment.

Every process repeats this check before it serves. Measures no time, and needs nothing of the extra `pack`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from lading.bundle import Bundle, Samples
from lading.errors import BatchMismatch, GoldenMismatch, RunError
from lading.evidence import GoldenRow
from lading.parity import Deviation, Parity, Tolerance, compare
from lading.runtime import Runtime
from lading.signature import Array, Signature

_SHOWN_VALUES = 8
_LONGEST_SIDE = 500
_MAX_ROWS_ALONE = 64
_ROWS_TOGETHER = 8
_ANY_FLIPS = 2**31


def replay(
    runtime: Runtime, bundle: Bundle, on_compared: Callable[[Parity], None] = lambda _: None
) -> Parity:
    """Run the golden inputs of `bundle` and compare; raises `GoldenMismatch` with the row that agrees least.

    `on_compared` is called with the comparison before anything is raised for it.
    Raises `BatchMismatch` if they agree only where all rows run as one, and `RunFailed` if the model fails on
    them.
    """
    manifest, samples = bundle.manifest, bundle.samples()
    parity = _compare_golden(bundle, samples, runtime.run(samples.inputs))
    on_compared(parity)
    if not parity.holds:
        worst = parity.worst[0]
        if replay_whole(runtime, bundle) is not None:
            raise _mixed(f"golden samples, output `{worst.output}`, row {worst.row}", worst, samples.rows)
        expected, actual = _both_sides(worst)
        raise GoldenMismatch(
            f"golden samples of `{manifest.name}`, output `{worst.output}`, row {worst.row}",
            expected=f"{expected} within {_limits(manifest.tolerance)}",
            found=actual,
            hint=f"the expected outputs are from {manifest.expected_from}; {_totals(parity)}",
        )
    return parity


def golden_rows(parity: Parity) -> tuple[GoldenRow, ...]:
    """Return the rows of a comparison that agree least, as evidence has them."""
    rows = []
    for deviation in parity.worst:
        expected, actual = _both_sides(deviation)
        # JSON has no infinity, and how far another class is from the right one no number says.
        is_number = math.isfinite(deviation.excess) and isinstance(_first(deviation.expected), float)
        rows.append(
            GoldenRow(
                output=deviation.output,
                row=deviation.row,
                expected=expected[:_LONGEST_SIDE],
                found=actual[:_LONGEST_SIDE],
                excess=deviation.excess if is_number else None,
            )
        )
    return tuple(rows)


def replay_whole(runtime: Runtime, bundle: Bundle) -> Parity | None:
    """Run all golden rows as one and compare; None if they disagree then too, or the model fails on them."""
    samples = bundle.samples()
    if not bundle.manifest.signature.batched:
        return None
    try:
        answers = runtime.run_whole(samples.inputs)
    except RunError:
        return None
    parity = _compare_golden(bundle, samples, answers)
    return parity if parity.holds else None


def replay_alone(runtime: Runtime, bundle: Bundle, *, most: int = _MAX_ROWS_ALONE) -> Parity:
    """Run golden rows one by one and as one batch, and compare; raises `BatchMismatch`, `RunFailed`.

    The server merges requests, so an answer must not depend on its neighbours. At most `most` rows are run
    alone; a single golden row is repeated, so that there is always a batch.
    """
    manifest = bundle.manifest
    samples = bundle.samples()
    rows = max(2, samples.rows)  # one row would be no batch
    inputs = repeat_rows(manifest.signature, samples.inputs, rows)
    alone = [runtime.run(_slice(inputs, row, 1)) for row in range(min(most, rows))]
    # Once as they are served, and once surely together: the chunks of a slow model may be single rows.
    served = runtime.run(inputs)
    among = [_slice(served, row, 1) for row in range(len(alone))]
    parity = _compare_rows(manifest.signature, manifest.tolerance, among, alone)
    if parity.holds:
        rows = min(rows, _ROWS_TOGETHER)
        among = list(_in_company(runtime, inputs, len(alone)))
        parity = _compare_rows(manifest.signature, manifest.tolerance, among, alone)
    if not parity.holds:
        worst = parity.worst[0]
        raise _mixed(f"output `{worst.output}`, row {worst.row}", worst, rows)
    return parity


def _compare_golden(bundle: Bundle, samples: Samples, answers: dict[str, Array]) -> Parity:
    manifest = bundle.manifest
    return compare(manifest.signature.outputs, samples.outputs, answers, manifest.tolerance)


def _mixed(where: str, worst: Deviation, rows: int) -> BatchMismatch:
    expected, actual = _both_sides(worst)
    return BatchMismatch(
        where,
        expected=f"{expected} alone as in a batch of {rows}",
        found=actual,
        hint="an operator mixes rows; export the model without it, or with a fixed batch of 1",
    )


def repeat_rows(signature: Signature, inputs: dict[str, Array], rows: int) -> dict[str, Array]:
    """Repeat the rows of golden inputs until there are `rows`; without a batch dimension nothing changes."""
    if not signature.batched:
        return dict(inputs)
    return {
        name: array[[row % len(array) for row in range(rows)]]  # [rows, ...]
        for name, array in inputs.items()
    }


def _in_company(runtime: Runtime, inputs: dict[str, Array], rows: int) -> Iterator[dict[str, Array]]:
    """Return the answers to the first `rows` rows, run a few at a time and never alone."""
    for row in range(rows):
        place = row % _ROWS_TOGETHER
        if place == 0:
            # The last rows are run with those before them, if there are too few for a run of their own.
            total = len(next(iter(inputs.values())))
            first = min(row, max(0, total - _ROWS_TOGETHER))
            answers = runtime.run_whole(_slice(inputs, first, _ROWS_TOGETHER))
        yield _slice(answers, row - first, 1)


def _slice(arrays: dict[str, Array], start: int, rows: int) -> dict[str, Array]:
    return {name: array[start : start + rows] for name, array in arrays.items()}


def _compare_rows(
    signature: Signature, tolerance: Tolerance, among: list[dict[str, Array]], alone: list[dict[str, Array]]
) -> Parity:
    """Compare row by row, so that a row of another shape is named and not the whole array."""
    # The bundle's limit of flips is one for all rows together: it is applied to their sum.
    any_flips = msgspec.structs.replace(tolerance, max_label_flips=_ANY_FLIPS)
    parities = [
        compare(signature.outputs, expected, answers, any_flips)
        for expected, answers in zip(among, alone, strict=True)
    ]
    flips = sum(parity.label_flips for parity in parities)
    worst = [
        msgspec.structs.replace(deviation, row=row)
        for row, parity in enumerate(parities)
        for deviation in parity.worst
    ]
    return Parity(
        holds=all(parity.holds for parity in parities) and flips <= tolerance.max_label_flips,
        rows=len(alone),
        max_abs_error=max(parity.max_abs_error for parity in parities),
        label_flips=flips,
        worst=tuple(sorted(worst, key=lambda deviation: -deviation.excess)[:5]),
    )


def _both_sides(worst: Deviation) -> tuple[str, str]:
    """Return both sides of a row as text; of a long one only the three values that differ most."""
    expected, actual = list(_leaves(worst.expected)), list(_leaves(worst.found))
    if len(expected) != len(actual) or len(expected) <= _SHOWN_VALUES:
        return _short(worst.expected), _short(worst.found)
    # The greatest differences first, each with its place among the single values.
    order = sorted(range(len(expected)), key=lambda index: -_distance(expected[index], actual[index]))[:3]
    return (
        ", ".join(f"{_short(expected[index])} at [{index}]" for index in order),
        ", ".join(_short(actual[index]) for index in order),
    )


def _leaves(value: Any) -> Iterator[Any]:
    """Return the single values of nested lists, in their order."""
    if isinstance(value, np.ndarray):
        yield from value.ravel().tolist()
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _first(value: Any) -> Any:
    return next(_leaves(value), None)


def _distance(expected: Any, actual: Any) -> float:
    if isinstance(expected, float) and isinstance(actual, float):
        if math.isnan(expected) or math.isnan(actual):
            return 0.0 if math.isnan(expected) and math.isnan(actual) else math.inf
        return abs(expected - actual)
    return float(expected != actual)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"  # nine digits distinguish every float32
    if isinstance(value, list):
        return f"[{', '.join(_short(item) for item in value)}]"
    text = f"`{value}`" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _limits(tolerance: Tolerance) -> str:
    return f"rtol {tolerance.rtol:g}, atol {tolerance.atol:g}"


def _totals(parity: Parity) -> str:
    flips = f"labels differing: {parity.label_flips} in {parity.rows} rows"
    return f"{flips}, largest error {parity.max_abs_error:.3g}"
