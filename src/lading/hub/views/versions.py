"""One version: what it takes and gives, how it was proved, where it runs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lading.bundle import Manifest, Samples
from lading.bundle.formats.v2 import Lineage
from lading.evidence import Evidence, GoldenRow
from lading.hub.knowledge import Knowledge, Serving
from lading.hub.views.profile import ProfilePanel, profile_panel
from lading.hub.views.trying import Trial, TryState, outputs_text, trial
from lading.input_checks.stated_rules import rules_of
from lading.parity import Tolerance
from lading.profile import Profile
from lading.registry.records import ModelVersion
from lading.release import Release
from lading.signature import Tensor

_MOST_COLUMNS = 200
_MOST_RELEASES = 20


class VersionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalog has of a version: evidence on each runtime, and the releases of its model."""

    version: ModelVersion
    evidence: list[Evidence]
    releases: list[Release]
    parent: ModelVersion | None = None


class Field(msgspec.Struct, frozen=True):
    """An input or output: its name, dtype, sizes as text, and its columns, if they are named."""

    name: str
    dtype: str
    shape: str
    columns: tuple[str, ...]


class WorstRow(msgspec.Struct, frozen=True, kw_only=True):
    """A golden row that agreed least in an output; ``inputs`` are empty if the samples cannot be read.

    ``excess`` is its error as a share of the tolerance, None if no number says how far it is.
    """

    output: str
    row: int
    inputs: str
    expected: str
    found: str
    excess: float | None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The last evidence on one runtime. ``failed`` has the sentences of checks that failed.

    ``worst`` are the golden rows that agreed least, None if that was not recorded; ``skipped`` are checks
    that were not made.
    """

    fingerprint: str
    runtime: str
    measured_at: str
    holds: bool
    passed: int
    failed: list[str]
    numbers: dict[str, float]
    skipped: list[str] = []
    worst: list[WorstRow] | None = None


class Unproved(msgspec.Struct, frozen=True):
    """A runtime on which replicas answer with the version, and about which there is no evidence."""

    fingerprint: str
    replicas: list[str]


class BundleFile(msgspec.Struct, frozen=True):
    """One file of the bundle."""

    name: str
    size_bytes: int
    digest: str


class Rule(msgspec.Struct, frozen=True):
    """An input check: what the values of a column have to be, and whether a person has stated it."""

    column: str
    kind: str
    expected: str
    is_stated: bool


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the version comes from, as its bundle says; what that leaves out is empty.

    ``parent_version`` is the version of the same model with the digest ``parent``, 0 if none is here.
    """

    data: str
    parent: str
    parent_version: int
    training_run: str
    code_commit: str
    framework: str
    python: str
    platform: str
    expected_from: str
    packages: dict[str, str]


class ReleaseOf(msgspec.Struct, frozen=True, kw_only=True):
    """A release of the version: ``replaced`` is the version that was live before, 0 for none."""

    number: int
    state: str
    created_at: str
    actor: str
    reason: str
    replaced: int


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
    """One version. ``unread`` is why nothing of the bundle is here, if its store does not answer.

    ``unread_files`` is the same of its profile and golden samples alone. ``tolerance`` is what golden answers
    may differ by.
    """

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
    unproved: list[Unproved]
    places: list[Place]
    releases: list[ReleaseOf]
    more_releases: int
    unread_files: str
    tolerance: Tolerance | None
    origin: Origin | None
    files: list[BundleFile]
    profile: ProfilePanel | None
    rules: list[Rule]
    trial: Trial | None


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a bundle; ``unread`` is why there is no manifest, ``unread_files`` why no samples."""

    manifest: Manifest | None
    unread: str = ""
    profile: Profile | None = None
    samples: Samples | None = None
    unread_files: str = ""


def version_page(
    knowledge: Knowledge,
    record: VersionRecord,
    contents: Contents,
    state: TryState,
) -> VersionPage:
    """Return the page of a version. Raises `UsageError` for a golden row that it does not have."""
    version, manifest = record.version, contents.manifest
    release = knowledge.releases.get(version.name)
    signature = manifest.signature if manifest is not None else None
    serving = [
        place for place in knowledge.serving.get(version.name, ()) if place.model.version == version.version
    ]
    releases = _releases(record.releases, version.version)
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
        unread=contents.unread,
        # Recorded in order of time: the last comes first.
        proofs=[proof_of(each, manifest, contents.samples) for each in reversed(record.evidence)],
        unproved=_unproved(serving, record.evidence),
        places=[_place(place) for place in serving],
        releases=releases[:_MOST_RELEASES],
        more_releases=max(0, len(releases) - _MOST_RELEASES),
        unread_files=contents.unread_files,
        tolerance=manifest.tolerance if manifest is not None else None,
        origin=_origin(manifest, record.parent) if manifest is not None else None,
        files=_files(manifest) if manifest is not None else [],
        profile=profile_panel(contents.profile, _MOST_COLUMNS) if contents.profile is not None else None,
        rules=_rules(manifest, contents.profile) if manifest is not None else [],
        trial=trial(manifest, contents.samples, state, str(version.ref), serving, contents.unread_files)
        if manifest is not None
        else None,
    )


def _place(place: Serving) -> Place:
    return Place(
        replica=place.replica.id,
        host=place.replica.host,
        state=place.model.state,
        reason=place.model.reason,
        requests=place.model.requests,
        last_request_at=place.model.last_request_at or "",
        last_seen_at=place.replica.last_seen_at,
    )


def _unproved(serving: Sequence[Serving], evidence: Sequence[Evidence]) -> list[Unproved]:
    # Evidence that fails is known as well: this is about what nobody has looked at.
    known = {each.fingerprint.id for each in evidence}
    replicas: dict[str, list[str]] = {}
    for place in serving:
        # A replica that does not say what it runs on is unproved as well.
        if place.replica.fingerprint not in known:
            replicas.setdefault(place.replica.fingerprint, []).append(place.replica.id)
    return [Unproved(fingerprint, ids) for fingerprint, ids in sorted(replicas.items())]


def _releases(releases: Sequence[Release], number: int) -> list[ReleaseOf]:
    """Return the releases of a version, newest first: those that are of it now, or that made it live."""
    return [
        ReleaseOf(
            number=each.number,
            state=each.state,
            created_at=each.created_at,
            actor=each.actor,
            reason=each.reason,
            replaced=each.replaces or 0,
        )
        for each in releases
        if each.released == number
    ]


def _origin(manifest: Manifest, parent: ModelVersion | None) -> Origin:
    # What a packer did not state is not guessed; only the commit has two places.
    lineage, training = manifest.lineage or Lineage(), manifest.training
    return Origin(
        data=lineage.data,
        parent=lineage.parent,
        parent_version=parent.version if parent is not None else 0,
        training_run=lineage.training_run,
        code_commit=lineage.code_commit or training.git_commit or "",
        framework=training.framework,
        python=training.python,
        platform=training.platform,
        expected_from=manifest.expected_from,
        packages=dict(sorted(training.packages.items())),
    )


def _files(manifest: Manifest) -> list[BundleFile]:
    return [
        BundleFile(name, entry.size, f"sha256:{entry.sha256}")
        for name, entry in sorted(manifest.files.items())
    ]


def _rules(manifest: Manifest, profile: Profile | None) -> list[Rule]:
    rules = rules_of(manifest.signature, profile, manifest.checks)
    return [Rule(rule.column, rule.kind, rule.expected, rule.is_stated) for rule in rules[:_MOST_COLUMNS]]


def fields_of(tensors: Sequence[Tensor]) -> list[Field]:
    """Return inputs or outputs as people read them."""
    return [
        Field(tensor.name, tensor.dtype, " × ".join(map(str, tensor.shape)), tuple(tensor.columns or ()))
        for tensor in tensors
    ]


def proof_of(evidence: Evidence, manifest: Manifest | None = None, samples: Samples | None = None) -> Proof:
    """Return evidence as people read it; the rows that agreed least have their inputs with `samples`."""
    here = evidence.fingerprint
    parts = [f"lading {here.lading}", f"ONNX Runtime {here.onnxruntime}", f"Python {here.python}", here.os]
    return Proof(
        fingerprint=here.id,
        runtime=", ".join([*parts, here.image] if here.image else parts),
        measured_at=evidence.measured_at,
        holds=evidence.holds,
        passed=sum(check.outcome == "passed" for check in evidence.checks),
        failed=[
            f"`{check.name}`: expected {check.expected}, found {check.found}" for check in evidence.failures
        ],
        numbers=evidence.numbers,
        skipped=[check.name for check in evidence.checks if check.outcome == "skipped"],
        worst=None
        if evidence.worst is None
        else [_worst_row(row, manifest, samples) for row in evidence.worst],
    )


def _worst_row(row: GoldenRow, manifest: Manifest | None, samples: Samples | None) -> WorstRow:
    texts: dict[str, str] = {}
    # Evidence may come from anywhere that can write to the catalog, and name any row.
    if manifest is not None and samples is not None and 0 <= row.row < samples.rows:
        texts = outputs_text(manifest.signature.inputs, samples.inputs, row.row)
    return WorstRow(
        output=row.output,
        row=row.row,
        inputs="; ".join(texts.values()),
        expected=row.expected,
        found=row.found,
        excess=row.excess,
    )
