"""Evidence: the measured result of a check, with where it was measured. Measures nothing itself."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from lading import notebook

Outcome = Literal["passed", "failed", "noted", "skipped"]


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """What a model ran on: the software and the machine's kind."""

    # Never the machine's name or address: evidence is compared across machines, and is shown to others.

    lading: str
    python: str
    onnxruntime: str
    numpy: str
    os: str
    arch: str
    image: str | None = None

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that stand for exactly these values."""
        # In the order of names, so that a field that is added changes ids and a field that moves does not.
        text = msgspec.json.encode(self, order="sorted")
        return hashlib.sha256(text).hexdigest()[:12]


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    outcome: Outcome  # `noted` is a difference that is no failure by itself
    expected: str = ""
    found: str = ""
    hint: str = ""


class GoldenRow(msgspec.Struct, frozen=True, kw_only=True):
    """How a golden row was answered in one output, expected and found as text, long ones cut.

    ``excess`` is the error as a share of the tolerance, above 1 outside of it; None if no number says how far
    it is, as with another class.
    """

    output: str
    row: int
    expected: str
    found: str
    excess: float | None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The checks of one bundle on one runtime."""

    bundle: str
    name: str
    fingerprint: Fingerprint
    checks: tuple[Check, ...]
    numbers: dict[str, float]  # with units in their names: `latency_p99_ms`
    measured_at: str
    # The golden rows that agree least, the worst first; none if all answers are the same bits. None if this
    # was not looked at, as by an older lading.
    worst: tuple[GoldenRow, ...] | None = None

    @property
    def holds(self) -> bool:
        """Return whether no check failed and one passed: without any check nothing is known."""
        return not self.failures and any(check.outcome == "passed" for check in self.checks)

    def __bool__(self) -> bool:
        """Return whether it holds, so that ``assert lading.verify(bundle)`` means what it says."""
        return self.holds

    def __repr__(self) -> str:
        failures = ", ".join(f"`{check.name}`" for check in self.failures)
        outcome = "holds" if self.holds else f"fails {failures}"
        here = self.fingerprint
        return (
            f"Evidence({self.name} {outcome}: {len(self.checks)} checks on ORT {here.onnxruntime}, {here.os})"
        )

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("evidence", self)

    @property
    def failures(self) -> tuple[Check, ...]:
        """Return the checks that failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")
