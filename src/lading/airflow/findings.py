"""What is wrong with what was scored, or with live traffic, in sentences; and what cannot be said of them.

Judges what others have measured: the limits of drift are those of `lading batch` and of the monitor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lading.errors import GateNotMet


@dataclass(frozen=True)
class Findings:
    """Sentences about what is wrong, the worst first, and about what is not known."""

    wrong: list[str]
    unknown: list[str]


def findings_in_batch(
    report: Mapping[str, Any], *, max_rejected: float | None, may_drift: Sequence[str]
) -> Findings:
    """Return what is wrong with a run by its report: columns that have drifted, too many rows set aside."""
    wrong = []
    drifted = {column: psi for column, psi in report["drifted"].items() if column not in may_drift}
    for column, psi in sorted(drifted.items(), key=lambda each: (-each[1], each[0])):
        expected = "the distribution of the training data"
        wrong.append(
            GateNotMet(f"column `{column}`", expected=expected, found=f"another, PSI {psi:.2f}").message
        )
    rows, rejected = report["rows"], report["rejected"]
    if max_rejected is not None and rejected > max_rejected * rows:
        expected, actual = f"at most {100 * max_rejected:g} %", f"{rejected:,} of {rows:,}"
        wrong.append(GateNotMet("rows set aside", expected=expected, found=actual).message)
    unknown = []
    if not report["drift_known"]:
        unknown.append("drift of what was scored: its bundle has no profile, or no row was scored")
    return Findings(wrong, unknown)


def findings_in_traffic(report: Mapping[str, Any]) -> Findings:
    """Return what the monitor has found of a model that is served: its alarms that have not ended."""
    wrong = [f"`{alarm['name']}:{alarm['version']}` alarms: {alarm['text']}" for alarm in report["alarms"]]
    # A column alarms before its alarm is in the catalog, and in a period that the alarm has outlived.
    named = {alarm["subject"] for alarm in report["alarms"]}
    wrong += [f"column `{column}` alarms" for column in report["alarming"] if column not in named]
    return Findings(wrong, list(report["unknown"]))
