"""Live traffic as servers count it for a release: windows of some seconds, and the truth that came later."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

# Upper bounds of the latency bins, 50 µs to 60 s, each 1.43 times the last; one more bin is above all.
# A latency is counted in the first bin whose bound is not below it.
LATENCY_BOUNDS_S: tuple[float, ...] = tuple(
    float(f"{50e-6 * (60 / 50e-6) ** (number / 39):.3g}") for number in range(40)
)

CALLER_GROUPS = 8
"""Groups that callers are put into. A window says how each fared, so that a verdict can leave one out."""


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


Taken = Literal["here", "before", "passed on"]
"""Where feedback was counted: here, here already before, or nowhere yet, if another process answered."""

FEEDBACK_MOST_BYTES = 16 * 2**20
"""How much feedback waits in a catalog at most."""


class Feedback(msgspec.Struct, frozen=True):
    """The truth about one answer: its labels by name, one a row."""

    name: str
    request_id: str
    truth: tuple[str, ...]


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of a window that one group of callers asked for; `Window` has the same fields."""

    group: int
    requests: int = 0
    errors: dict[str, int] = {}
    latency: tuple[tuple[int, int], ...] = ()  # number of the bin and count, without empty bins
    outputs: dict[str, int] = {}
    shadow: ShadowCounts = ShadowCounts()
    feedback: FeedbackCounts = FeedbackCounts()


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
    parts: tuple[Part, ...] = ()  # by group of callers; none from servers that did not tell them apart
    # A window may be sent twice and counts once.
    id: str = msgspec.field(default_factory=lambda: os.urandom(8).hex())


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """What a `Window` says of labels: those that came for one version from the Unix time ``at`` on."""

    digest: str
    at: float
    feedback: FeedbackCounts = FeedbackCounts()
