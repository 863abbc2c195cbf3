"""What `lading release` and `lading rollback` report: the release, and the proof behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lading.cli.ui import printing
from lading.cli.ui.release_view import release_json, release_table
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle.difference import Difference
    from lading.evidence import Evidence
    from lading.registry import Registry
    from lading.release import Release
    from lading.rollout.estimate import Forecast


def print_release(
    registry: Registry,
    release: Release,
    evidence: Evidence | None,
    differences: Sequence[Difference] | None = None,
    forecast: Forecast | None = None,
    *,
    as_json: bool,
) -> None:
    """Print a release as a table, or as JSON with its version, the proof, and what else people are shown.

    `differences` are those to the version that was live; None if nothing was compared.
    """
    if not as_json:
        release_table([release])
        return
    # What was released: the candidate or, straight to live, the live version.
    version = registry.resolve(Ref(release.name, version=release.candidate or release.live))
    document = {"ref": str(version.ref), "digest": version.digest, **release_json(release)}
    if evidence is not None:
        proof = {"runtime": evidence.fingerprint.id, "fingerprint": evidence.fingerprint}
        document["proof"] = {**proof, "measured_at": evidence.measured_at}
    if differences is not None:
        document["differences"] = differences
    if forecast is not None:
        document["forecast"] = forecast
    printing.as_json(document)


def proof_text(registry: Registry, release: Release, evidence: Evidence | None) -> str:
    """Return on which machine the version was proved, by `evidence` or by what the registry holds."""
    from lading.rollout.preflight import runtime_text

    if evidence is not None:
        return f"proved on {runtime_text(evidence.fingerprint)} ({evidence.fingerprint.id})"
    version = registry.resolve(Ref(release.name, version=release.candidate or release.live))
    fingerprints = [entry.fingerprint for entry in registry.evidence(version.digest)]
    known = next((runtime for runtime in fingerprints if runtime.id == release.runtime), None)
    if known is not None:
        return f"proved on {runtime_text(known)} ({release.runtime})"
    return "already serving" if release.runtime is None else f"proved on runtime {release.runtime}"
