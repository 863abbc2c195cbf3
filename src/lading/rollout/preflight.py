"""What comes before a release: evidence that the bundle holds, and the gates that need no traffic.

Releases nothing. What was measured here is recorded in the registry, whether it holds or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading.errors import ExtraMissing, GateNotMet, VerificationError
from lading.evidence import Evidence, Fingerprint
from lading.gates import Gates, judge
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.registry import ModelVersion, Registry


def proof_anywhere(registry: Registry, version: ModelVersion) -> Evidence:
    """Return evidence that a bundle holds on some runtime, this one first; verify it here where there is none.

    Raises `VerificationError` naming the check that failed.
    """
    held = [one for one in registry.evidence(version.digest) if one.holds]
    here = _this_runtime()
    if held:
        return max(held, key=lambda one: (one.fingerprint == here, one.measured_at))
    return _verified_here(registry, version, [])


def proof_here(registry: Registry, version: ModelVersion) -> Evidence:
    """Return evidence that a bundle holds on this runtime; verify it where there is none.

    Raises `VerificationError` whose hint names a runtime on which it held. A machine that cannot run models
    at all has no runtime of its own to fear for: there, evidence from anywhere will do.
    """
    held = [one for one in registry.evidence(version.digest) if one.holds]
    here = _this_runtime()
    if here is None and held:
        return max(held, key=lambda one: one.measured_at)
    known = next((one for one in held if one.fingerprint == here), None)
    return known if known is not None else _verified_here(registry, version, held)


def check_gates(
    gates: Gates, version: ModelVersion, evidence: Evidence, live: ModelVersion | None
) -> tuple[str, ...]:
    """Judge the gates that need no traffic; return the names of those that hold. Raises `GateNotMet`."""
    checks = judge(gates, evidence.numbers, version.metrics, live.metrics if live is not None else None)
    failed = [one for one in checks if one.outcome == "failed"]
    if failed:
        first, *more = failed
        others = f" and {', '.join(f'`{one.name}`' for one in more)}" if more else ""
        raise GateNotMet(
            f"`{version.ref}` is not released, gate `{first.name}`{others}",
            expected=first.expected,
            found=first.found,
            hint=first.hint or None,
        )
    return tuple(one.name for one in checks)


def machine(one: Fingerprint) -> str:
    """Say what a runtime is, in words."""
    image = f", image {one.image[:19]}" if one.image else ""
    return f"ONNX Runtime {one.onnxruntime}, Python {one.python}, {one.os} {one.arch}{image}"


def _verified_here(registry: Registry, version: ModelVersion, held: list[Evidence]) -> Evidence:
    from lading.verify import verify

    evidence = verify(registry.fetch(Ref(version.name, digest=version.digest)))
    registry.record(evidence)
    if evidence.holds:
        return evidence
    first = evidence.failures[0]
    hint = first.hint or f"`lading verify {version.ref}` shows every check"
    if held:
        proved = max(held, key=lambda one: one.measured_at).fingerprint
        hint = f"it holds on {machine(proved)} ({proved.id}): serve it there; `lading matrix {version.name}`"
    raise VerificationError(
        f"`{version.ref}` does not hold here, check `{first.name}`",
        expected=first.expected or None,
        found=first.found or None,
        hint=hint,
    )


def _this_runtime() -> Fingerprint | None:
    from lading.runtime.host.fingerprint import fingerprint

    try:
        return fingerprint()
    except ExtraMissing:
        return None
