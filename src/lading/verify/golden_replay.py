"""The golden samples run here, and compared with what the training environment answered.

This is the check that every process repeats before it serves; it measures no time and needs no pack extra.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from lading.bundle import Bundle
from lading.errors import BatchMismatch, GoldenMismatch
from lading.parity import Deviation, Parity, Tolerance, compare
from lading.runtime import Runtime
from lading.signature import Array, Signature

_SHOWN = 8
_ROWS_ALONE = 64


def replay(runtime: Runtime, bundle: Bundle) -> Parity:
    """Run the golden inputs of `bundle` and compare; raises `GoldenMismatch` with the row that agrees least.

    Raises `RunFailed` when the model fails on them.
    """
    manifest, samples = bundle.manifest, bundle.samples()
    found = runtime.run(samples.inputs)
    parity = compare(manifest.signature.outputs, samples.outputs, found, manifest.tolerance)
    if not parity.holds:
        worst = parity.worst[0]
        expected, shown = _facing(worst)
        raise GoldenMismatch(
            f"golden samples of `{manifest.name}`, output `{worst.output}`, row {worst.row}",
            expected=f"{expected} within {_limits(manifest.tolerance)}",
            found=shown,
            hint=f"the expected outputs are from {manifest.expected_from}; {_count(parity)}",
        )
    return parity


def replay_alone(runtime: Runtime, bundle: Bundle, *, most: int = _ROWS_ALONE) -> Parity:
    """Run golden rows one by one and all at once, and compare the two; raises `BatchMismatch`, `RunFailed`.

    Requests are merged in the server, so an answer must not depend on its neighbours. At most `most` rows
    are run alone; a single golden row is repeated, so that there is always a batch.
    """
    manifest = bundle.manifest
    samples = bundle.samples()
    rows = max(2, samples.rows)
    inputs = rows_of(manifest.signature, samples.inputs, rows)
    together = runtime.run(inputs)
    alone = [
        runtime.run({name: array[row : row + 1] for name, array in inputs.items()})
        for row in range(min(most, rows))
    ]
    parity = _compare_rows(manifest.signature, manifest.tolerance, together, alone)
    if not parity.holds:
        worst = parity.worst[0]
        expected, shown = _facing(worst)
        raise BatchMismatch(
            f"output `{worst.output}`, row {worst.row}",
            expected=f"{expected} alone as in a batch of {rows}",
            found=shown,
            hint="an operator mixes rows; export the model without it, or with a fixed batch of 1",
        )
    return parity


def rows_of(signature: Signature, inputs: dict[str, Array], rows: int) -> dict[str, Array]:
    """Repeat the golden inputs until there are `rows`; whole as they are where nothing is batched."""
    if not signature.batched:
        return dict(inputs)
    return {name: array[[at % len(array) for at in range(rows)]] for name, array in inputs.items()}


def _compare_rows(
    signature: Signature, tolerance: Tolerance, together: dict[str, Array], alone: list[dict[str, Array]]
) -> Parity:
    """Compare row by row, so that a row of another shape is named and not the whole array."""
    any_flips = msgspec.structs.replace(tolerance, max_label_flips=2**31)
    found = []
    for row, one in enumerate(alone):
        expected = {name: array[row : row + 1] for name, array in together.items()}
        found.append(compare(signature.outputs, expected, one, any_flips))
    flips = sum(parity.label_flips for parity in found)
    worst = [
        msgspec.structs.replace(one, row=row) for row, parity in enumerate(found) for one in parity.worst
    ]
    return Parity(
        holds=all(parity.holds for parity in found) and flips <= tolerance.max_label_flips,
        rows=len(alone),
        max_abs_error=max(parity.max_abs_error for parity in found),
        label_flips=flips,
        worst=tuple(sorted(worst, key=lambda one: -one.excess)[:5]),
    )


def _facing(worst: Deviation) -> tuple[str, str]:
    """Show both sides of a row; of a long one only the values that differ most, with their places."""
    expected, found = list(_leaves(worst.expected)), list(_leaves(worst.found))
    if len(expected) != len(found) or len(expected) <= _SHOWN:
        return _short(worst.expected), _short(worst.found)
    order = sorted(range(len(expected)), key=lambda at: -_distance(expected[at], found[at]))[:3]
    return (
        ", ".join(f"{_short(expected[at])} at [{at}]" for at in order),
        ", ".join(_short(found[at]) for at in order),
    )


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _distance(expected: Any, found: Any) -> float:
    if isinstance(expected, float) and isinstance(found, float):
        if math.isnan(expected) or math.isnan(found):
            return 0.0 if math.isnan(expected) and math.isnan(found) else math.inf
        return abs(expected - found)
    return float(expected != found)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, list):
        return f"[{', '.join(_short(item) for item in value)}]"
    text = f"`{value}`" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _limits(tolerance: Tolerance) -> str:
    return f"rtol {tolerance.rtol:g}, atol {tolerance.atol:g}"


def _count(parity: Parity) -> str:
    flips = f"labels differing: {parity.label_flips} in {parity.rows} rows"
    return f"{flips}, largest error {parity.max_abs_error:.3g}"
