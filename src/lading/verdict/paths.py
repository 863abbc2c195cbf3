"""How the evidence of each gate came to be what it is, block by block. Judges and draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np

from lading.verdict.e_values import Floats
from lading.verdict.gate_tests import Finding

MAX_LOG_E = math.log(1e12)
"""Shown e-values end here: exp of a larger log may be more than JSON holds, and says no more to people."""


class PathPoint(msgspec.Struct, frozen=True):
    """The evidence after one block of traffic; ``at`` is the Unix time of its last second.

    ``harm`` and ``kept`` are parts of what decides: of the logarithm of the threshold, and of the evidence
    that the limit is kept. 1 is enough; ``kept`` is None if there was no live traffic to compare with.
    """

    at: float
    e_value: float
    harm: float
    kept: float | None


class GatePath(msgspec.Struct, frozen=True, kw_only=True):
    """The way of one gate in the running step: an e-value from ``threshold`` on makes harm certain.

    Without a block of traffic that its test could use it has no points.
    """

    gate: str
    threshold: float
    points: list[PathPoint]


def paths_of(findings: Sequence[Finding], ages: Floats, since: float) -> tuple[GatePath, ...]:
    """Return the path of each finding; `ages` are the seconds of a step that began at `since`."""
    return tuple(
        GatePath(
            gate=finding.gate,
            threshold=math.exp(min(finding.log_threshold, MAX_LOG_E)),
            points=_points(finding, ages, since),
        )
        for finding in findings
    )


def _points(finding: Finding, ages: Floats, since: float) -> list[PathPoint]:
    # One run: only a simulation has more.
    ends = finding.blocks.edges[0, 1:] - 1  # [blocks]
    harm = finding.harm[0]  # [blocks]
    e_values = np.exp(np.clip(harm, -MAX_LOG_E, MAX_LOG_E)).tolist()
    shares = (harm / finding.log_threshold).tolist()
    # Without live traffic to compare with there is no proof, and a 0 would be one of nothing.
    kept: list[float | None] = finding.proof[0].tolist() if finding.proof is not None else [None] * len(ends)
    times = (since + ages[ends]).tolist()
    return [PathPoint(*values) for values in zip(times, e_values, shares, kept, strict=True)]


def thinned(path: GatePath, most: int) -> GatePath:
    """Return a path of at most `most` points: of each piece the last, or the highest if harm was certain."""
    if len(path.points) <= most:
        return path
    # The last piece is the last point alone: it is where the evidence stands.
    edges = np.linspace(0, len(path.points) - 1, most).astype(int).tolist()
    pieces = [path.points[low:high] for low, high in pairwise(edges)]
    kept = [_of_piece(piece) for piece in pieces if piece]
    return msgspec.structs.replace(path, points=[*kept, path.points[-1]])


def _of_piece(piece: Sequence[PathPoint]) -> PathPoint:
    highest = max(piece, key=lambda point: point.harm)
    return highest if highest.harm >= 1 else piece[-1]
