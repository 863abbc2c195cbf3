"""What comes before a release: evidence that the bundle holds, and the gates that need no traffic.

Releases nothing. Evidence that is measured here is recorded in the registry, whether the bundle holds or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading.errors import ExtraMissing, GateNotMet, VerificationError
from lading.evidence import Evidence, Fingerprint
from lading.gates import Gates, judge
from lading.ref import Ref
from lading.runtime.host.fingerprint import fingerprint
from lading.runtime.python.host import this_host
from lading.verify import verify

if TYPE_CHECKING:
    from lading.registry import ModelVersion, Registry


def prove_anywhere(registry: Registry, version: ModelVersion) -> Evidence:
    """Return evidence that a bundle holds on any runtime, this one first; verify it here if there is none.

    Raises `VerificationError` naming the check that failed.
    """
    holding = [evidence for evidence in registry.evidence(version.digest) if evidence.holds]
    here = _this_runtime()
    if holding:
        return max(holding, key=lambda evidence: (evidence.fingerprint == here, evidence.measured_at))
    return _verify_here(registry, version, [])


def proved_already(registry: Registry, version: ModelVersion) -> Evidence:
    """Return the last evidence that a bundle holds, on whatever runtime; verify nothing here.

    Raises `VerificationError` without any.
    """
    holding = [evidence for evidence in registry.evidence(version.digest) if evidence.holds]
    if not holding:
        raise VerificationError(
            f"`{version.ref}`",
            expected="evidence that it holds on some runtime",
            found="none",
            hint=f"`lading verify {version.ref}` makes it",
        )
    return max(holding, key=lambda evidence: evidence.measured_at)


def prove_here(registry: Registry, version: ModelVersion) -> Evidence:
    """Return evidence that a bundle holds on this runtime; verify it if there is none.

    Raises `VerificationError` whose hint names a runtime on which it held.
    """
    holding = [evidence for evidence in registry.evidence(version.digest) if evidence.holds]
    here = _this_runtime()
    # A machine that cannot run models has no runtime of its own on which the bundle could fail.
    if here is None and holding:
        return max(holding, key=lambda evidence: evidence.measured_at)
    known = next((evidence for evidence in holding if evidence.fingerprint == here), None)
    return known if known is not None else _verify_here(registry, version, holding)


def check_gates(
    gates: Gates, version: ModelVersion, evidence: Evidence, live: ModelVersion | None
) -> tuple[str, ...]:
    """Judge the gates that need no traffic; return those that hold. Raises `GateNotMet`.

    A gate that had nothing to compare with is named with a question mark and the reason.
    """
    checks = judge(gates, evidence.numbers, version.metrics, live.metrics if live is not None else None)
    failed = [check for check in checks if check.outcome == "failed"]
    if failed:
        first, *more = failed
        others = f" and {', '.join(f'`{check.name}`' for check in more)}" if more else ""
        raise GateNotMet(
            f"`{version.ref}` is not released, gate `{first.name}`{others}",
            expected=first.expected,
            found=first.found,
            hint=first.hint or None,
        )
    return tuple(
        check.name if check.outcome == "passed" else f"{check.name}? ({check.found})" for check in checks
    )


def runtime_text(fingerprint: Fingerprint) -> str:
    """Describe a runtime in one line."""
    image = f", image {fingerprint.image[:19]}" if fingerprint.image else ""
    software = f"ONNX Runtime {fingerprint.onnxruntime}, Python {fingerprint.python}"
    return f"{software}, {fingerprint.os} {fingerprint.arch}{image}"


def _verify_here(registry: Registry, version: ModelVersion, holding: list[Evidence]) -> Evidence:
    evidence = verify(registry.fetch(Ref(version.name, digest=version.digest)), python=this_host())
    # Recorded also if it fails: servers refuse a version whose last evidence does not hold.
    registry.record(evidence)
    if evidence.holds:
        return evidence
    first = evidence.failures[0]
    hint = first.hint or f"`lading verify {version.ref}` shows every check"
    if holding:
        runtime = max(holding, key=lambda other: other.measured_at).fingerprint
        where = f"{runtime_text(runtime)} ({runtime.id})"
        hint = f"it holds on {where}: serve it there; `lading matrix {version.name}`"
    raise VerificationError(
        f"`{version.ref}` does not hold here, check `{first.name}`",
        expected=first.expected or None,
        found=first.found or None,
        hint=hint,
    )


def _this_runtime() -> Fingerprint | None:
    try:
        return fingerprint()
    except ExtraMissing:
        # A machine that only releases needs no ONNX Runtime.
        return None
