"""One version: what it takes and gives, how it was proved, where it runs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lading.bundle import Manifest
from lading.evidence import Evidence
from lading.hub.knowledge import Knowledge
from lading.registry.records import ModelVersion
from lading.signature import Tensor


class Field(msgspec.Struct, frozen=True):
    """An input or output: its name, dtype, sizes as text, and its columns, if they are named."""

    name: str
    dtype: str
    shape: str
    columns: tuple[str, ...]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The last evidence on one runtime. ``failed`` has the sentences of checks that failed."""

    fingerprint: str
    runtime: str
    measured_at: str
    holds: bool
    passed: int
    failed: list[str]
    numbers: dict[str, float]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A replica that has the version, as it says itself."""

    replica: str
    host: str
    state: str
    reason: str
    requests: int
    last_request_at: str
    last_seen_at: str


class VersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """One version. ``unread`` is why nothing of the bundle is here, if its store does not answer."""

    version: ModelVersion
    is_live: bool
    is_candidate: bool
    inputs: list[Field]
    outputs: list[Field]
    trained_with: str
    format: int
    executes: str
    environment: str
    unread: str
    proofs: list[Proof]
    places: list[Place]


def version_page(
    knowledge: Knowledge,
    version: ModelVersion,
    manifest: Manifest | None,
    evidence: Sequence[Evidence],
    unread: str = "",
) -> VersionPage:
    """Return the page of a version; `unread` says why there is no manifest."""
    release = knowledge.releases.get(version.name)
    signature = manifest.signature if manifest is not None else None
    return VersionPage(
        version=version,
        is_live=release is not None and release.live == version.version,
        is_candidate=release is not None and release.candidate == version.version,
        inputs=fields_of(signature.inputs) if signature is not None else [],
        outputs=fields_of(signature.outputs) if signature is not None else [],
        trained_with=manifest.training.origin if manifest is not None else "",
        format=manifest.format if manifest is not None else 0,
        executes=manifest.executes_text if manifest is not None else "",
        environment=manifest.lock_digest if manifest is not None else "",
        unread=unread,
        # Recorded in order of time: the last comes first.
        proofs=[proof_of(each) for each in reversed(evidence)],
        places=[
            Place(
                replica=place.replica.id,
                host=place.replica.host,
                state=place.model.state,
                reason=place.model.reason,
                requests=place.model.requests,
                last_request_at=place.model.last_request_at or "",
                last_seen_at=place.replica.last_seen_at,
            )
            for place in knowledge.serving.get(version.name, ())
            if place.model.version == version.version
        ],
    )


def fields_of(tensors: Sequence[Tensor]) -> list[Field]:
    """Return inputs or outputs as people read them."""
    return [
        Field(tensor.name, tensor.dtype, " × ".join(map(str, tensor.shape)), tuple(tensor.columns or ()))
        for tensor in tensors
    ]


def proof_of(evidence: Evidence) -> Proof:
    """Return evidence as people read it."""
    here = evidence.fingerprint
    parts = [f"lading {here.lading}", f"ONNX Runtime {here.onnxruntime}", f"Python {here.python}", here.os]
    return Proof(
        fingerprint=here.id,
        runtime=", ".join([*parts, here.image] if here.image else parts),
        measured_at=evidence.measured_at,
        holds=evidence.holds,
        passed=sum(check.outcome == "passed" for check in evidence.checks),
        failed=[
            f"{check.name}: expected {check.expected}, found {check.found}" for check in evidence.failures
        ],
        numbers=evidence.numbers,
    )
