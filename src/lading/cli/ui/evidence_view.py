"""How evidence is shown: its checks, its outcome, the machine, and the error of evidence that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lading import units
from lading.cli.ui import printing
from lading.errors import VerificationError

if TYPE_CHECKING:
    from lading.evidence import Evidence, Fingerprint


def report_evidence(evidence: Evidence, *, as_json: bool) -> None:
    """Print the checks of evidence. Raises `VerificationError` unless all of them passed."""
    if as_json:
        printing.as_json({"holds": evidence.holds, "evidence": evidence})
    else:
        check_table(evidence)
    if not evidence.holds:
        raise failure(evidence)


def check_table(evidence: Evidence) -> None:
    """Print the checks of evidence, one row each; the column of hints appears only if there are any."""
    header = ["check", "outcome", "expected", "found"]
    rows = [[check.name, check.outcome, check.expected, check.found] for check in evidence.checks]
    if any(check.hint for check in evidence.checks):
        header.append("hint")
        for row, check in zip(rows, evidence.checks, strict=True):
            row.append(check.hint)
    printing.table(header, rows)


def failure(evidence: Evidence) -> VerificationError:
    """Return the error that describes the first check that failed and names the others."""
    first, *more = evidence.failures
    others = f" and {', '.join(f'`{check.name}`' for check in more)}" if more else ""
    return VerificationError(
        f"`{evidence.name}` does not hold here, check `{first.name}`{others}",
        expected=first.expected or None,
        found=first.found or None,
        hint=first.hint or None,
    )


def outcome(evidence: Evidence) -> str:
    """Return ``holds``, or the names of the checks that failed."""
    return "holds" if evidence.holds else "fails: " + ", ".join(check.name for check in evidence.failures)


def machine(fingerprint: Fingerprint) -> str:
    """Return a runtime in a few words, short enough for the head of a column."""
    image = f", image {units.short_digest(fingerprint.image)}" if fingerprint.image else ""
    host = f"{fingerprint.os} {fingerprint.arch}"
    return f"ORT {fingerprint.onnxruntime}, Python {fingerprint.python}, {host}{image}"


def evidence_json(evidence: Evidence, ref: str) -> dict[str, Any]:
    """Return evidence of the version `ref` as JSON output has it, without the single checks."""
    return {
        "ref": ref,
        "bundle": evidence.bundle,
        "runtime": evidence.fingerprint.id,
        "fingerprint": evidence.fingerprint,
        "holds": evidence.holds,
        "failed": [check.name for check in evidence.failures],
        "numbers": evidence.numbers,
        "measured_at": evidence.measured_at,
    }
