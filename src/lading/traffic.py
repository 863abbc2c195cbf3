"""Live traffic as servers count it for a release: windows of some seconds, and the truth that came later."""

from __future__ import annotations

import os

import msgspec

# Upper bounds of the latency bins, 50 µs to 60 s, each 1.43 times the last; one more bin is above all.
# A latency is counted in the first bin whose bound is not below it.
LATENCY_BOUNDS_S: tuple[float, ...] = tuple(
    float(f"{50e-6 * (60 / 50e-6) ** (number / 39):.3g}") for number in range(40)
)


class ShadowCounts(msgspec.Struct, frozen=True):
    """Requests that live and candidate both answered: the same, otherwise, not sent (busy), failed.

    ``same_values`` are those of ``agreed`` and ``differed`` in which every number was within the tolerance
    that the bundle states.
    """

    agreed: int = 0
    differed: int = 0
    dropped: int = 0
    failed: int = 0
    same_values: int = 0


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
    """Live traffic of one version on one replica for ``seconds`` from the Unix time ``at``, whole seconds."""

    name: str
    release: int
    version: int
    digest: str
    replica: str
    at: float
    seconds: float
    requests: int = 0
    errors: dict[str, int] = {}  # by class name
    latency: tuple[int, ...] = ()  # by bin of `LATENCY_BOUNDS_S`
    outputs: dict[str, int] = {}  # by label, or by bin of values
    shadow: ShadowCounts = ShadowCounts()
    feedback: FeedbackCounts = FeedbackCounts()
    # A window may be sent twice and counts once.
    id: str = msgspec.field(default_factory=lambda: os.urandom(8).hex())
