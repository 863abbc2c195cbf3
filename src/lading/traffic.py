"""Live traffic as servers count it for a release: windows of some seconds, and the truth told later."""

from __future__ import annotations

import os

import msgspec

LATENCY_BOUNDS_S: tuple[float, ...] = tuple(
    float(f"{50e-6 * (60 / 50e-6) ** (number / 39):.3g}") for number in range(40)
)
"""Upper bounds of the latency bins, 50 µs to 60 s, each 1.43 times the last; one more bin is above all.

A latency is counted in the first bin whose bound is not below it.
"""


class ShadowCounts(msgspec.Struct, frozen=True):
    """Copies sent to the candidate: same answer, another, not sent for lack of time, failed."""

    agreed: int = 0
    differed: int = 0
    dropped: int = 0
    failed: int = 0


class FeedbackCounts(msgspec.Struct, frozen=True):
    """Answers of which the truth came later."""

    right: int = 0
    wrong: int = 0


class Feedback(msgspec.Struct, frozen=True):
    """The truth about one answer: its labels by name, one a row."""

    name: str
    request_id: str
    truth: tuple[str, ...]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Live traffic of one version on one replica for ``seconds`` from the Unix time ``at``, whole seconds.

    ``latency`` counts per bin of `LATENCY_BOUNDS_S`; ``outputs`` per label or bin of values; ``errors`` per
    class name. ``id`` lets a window be sent twice and count once.
    """

    name: str
    release: int
    version: int
    digest: str
    replica: str
    at: float
    seconds: float
    requests: int = 0
    errors: dict[str, int] = {}
    latency: tuple[int, ...] = ()
    outputs: dict[str, int] = {}
    shadow: ShadowCounts = ShadowCounts()
    feedback: FeedbackCounts = FeedbackCounts()
    id: str = msgspec.field(default_factory=lambda: os.urandom(8).hex())
