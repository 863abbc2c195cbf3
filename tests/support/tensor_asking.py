"""A bundle and its framework asked the same rows: arrays by input name, in requests of several sizes.

Every value goes through JSON text in both directions as it does over the wire.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lading.bundle import Bundle
from lading.bundle.requests import request_signature
from lading.errors import LadingError
from lading.runtime.open import load_runtime

Rows = Mapping[str, Any]
SIZES = (1, 2, 7, 64)


@dataclass
class AskedTensors:
    """How many rows were asked, answered otherwise, and refused by the bundle alone; the largest error."""

    rows: int = 0
    silent: int = 0
    refused: int = 0
    largest: float = 0.0
    examples: list[str] = field(default_factory=list)


def ask(
    bundle: Bundle, answer: Callable[[Any], Mapping[str, Any]], kinds: Iterable[tuple[str, Rows]]
) -> AskedTensors:
    """Ask both each kind of rows; rows with large numbers may differ by as much more."""
    asked, samples = AskedTensors(), bundle.samples()
    signature = request_signature(bundle.manifest, samples)
    runtime = load_runtime(bundle)
    try:
        for kind, rows in kinds:
            scale = max([1.0, *(_scale(rows[name], samples.inputs[name]) for name in rows)])
            at, count = 0, len(next(iter(rows.values())))
            for size in _sizes(count):
                part = {name: array[at : at + size] for name, array in rows.items()}
                at, asked.rows = at + size, asked.rows + size
                _ask_part(bundle, signature, runtime, answer, (kind, part, scale), asked)
    finally:
        runtime.close()
    return asked


def _ask_part(
    bundle: Bundle,
    signature: Any,
    runtime: Any,
    answer: Any,
    asking: tuple[str, Any, float],
    asked: AskedTensors,
) -> None:
    kind, part, scale = asking
    rows = len(next(iter(part.values())))
    try:
        expected = answer(part)
    except Exception:  # noqa: BLE001 - whatever it raises, it does not answer
        expected = None
    body = json.loads(json.dumps({name: array.tolist() for name, array in part.items()}))
    try:
        inputs = signature.cast_rows(body if len(body) > 1 else next(iter(body.values())))
        replies = runtime.run(inputs)
    except LadingError:
        asked.refused += rows if expected is not None else 0
        return
    if expected is None or set(expected) != set(replies):
        asked.silent += rows
        asked.examples.append(f"{kind}: {'answered alone' if expected is None else sorted(replies)}")
        return
    tolerance = bundle.manifest.tolerance
    wrong = np.zeros(rows, dtype=bool)
    for name, array in replies.items():
        other, own = np.array(json.loads(json.dumps(array.tolist()))), np.asarray(expected[name])
        if other.shape != own.shape:
            wrong[:] = True
            continue
        near = np.isclose(other, own, rtol=tolerance.rtol, atol=tolerance.atol * scale, equal_nan=True)
        wrong |= ~near.reshape(rows, -1).all(axis=1)
        if scale == 1.0 and own.dtype.kind == "f":
            asked.largest = max(asked.largest, float(np.abs(other - own).max(initial=0.0)))
    asked.silent += int(wrong.sum())
    if wrong.any():
        asked.examples.append(f"{kind}: row {int(wrong.argmax())} of {rows}")


def _sizes(count: int) -> list[int]:
    sizes: list[int] = []
    while sum(sizes) < count:
        sizes.append(min(SIZES[len(sizes) % len(SIZES)], count - sum(sizes)))
    return sizes


def _scale(rows: Any, samples: Any) -> float:
    if rows.dtype.kind != "f":
        return 1.0
    return float(np.abs(rows).max(initial=0.0) / max(1e-30, np.abs(samples).max(initial=0.0)))
