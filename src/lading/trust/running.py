"""What runs, as subjects of scans: the packages of servers, and the environments of models in Python.

A model in ONNX runs nothing of its own: what it was trained with is no part of what runs.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from lading.replica import Replica, ReplicaModel
from lading.trust.components import Component, Subject, server_components
from lading.trust.scan import Finding, Scan
from lading.trust.severity import Severity, worst


class RunningFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding in what a server runs; `model` is empty for one in its own packages."""

    server: str
    finding: Finding
    model: str = ""


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """What is known against a server with its models; `unscanned` are those parts that no scan is of."""

    findings: tuple[RunningFinding, ...] = ()
    unscanned: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        """The worst rating, ``none`` without findings, ``unknown`` if none is rated or one is missing."""
        if self.findings:
            return worst(each.finding.severity for each in self.findings)
        return "unknown" if self.unscanned else "none"

    @property
    def count(self) -> int:
        """How many vulnerabilities these are, each counted once."""
        return len({each.finding.key for each in self.findings})

    @property
    def text(self) -> str:
        """What a cell of a table says: ``3, critical``."""
        if not self.findings:
            return "not scanned" if self.unscanned else "0"
        unscanned = ", more not scanned" if self.unscanned else ""
        return f"{self.count}, {self.severity}{unscanned}"


def server_subject(replica: Replica) -> tuple[Subject, tuple[Component, ...]]:
    """Return the packages of a server as a subject; equal packages have equal digests, on any machine."""
    digest, components = _environment(tuple(sorted(replica.packages.items())), replica.python, replica.os)
    name = replica.software or f"lading {replica.lading}".strip()
    return Subject(kind="server", name=name, digest=digest), components


# Pages and inventories ask for each of a thousand servers, most of which are equal.
@functools.lru_cache(1024)
def _environment(
    packages: tuple[tuple[str, str], ...], python: str, os: str
) -> tuple[str, tuple[Component, ...]]:
    components = server_components(dict(packages), python, os)
    return f"sha256:{hashlib.sha256(msgspec.json.encode(components)).hexdigest()}", components


def has_environment(model: ReplicaModel) -> bool:
    """Return whether a model of a server runs packages of its own."""
    return bool(model.environment)


def digests_of(replicas: Iterable[Replica]) -> set[str]:
    """Return the digests whose scans say what is known against running servers."""
    digests = set()
    for replica in replicas:
        if replica.packages:
            digests.add(server_subject(replica)[0].digest)
        digests |= {model.digest for model in replica.models if has_environment(model) and model.digest}
    return digests


def exposure(replica: Replica, scans: Mapping[str, Scan], model: ReplicaModel | None = None) -> Exposure:
    """Return what scans know against a server and its models, or against one of its models on it.

    One that is gone runs nothing, and has nothing against it.
    """
    if replica.gone:
        return Exposure()
    findings: list[RunningFinding] = []
    unscanned: list[str] = []
    own = scans.get(server_subject(replica)[0].digest) if replica.packages else None
    if own is None:
        unscanned.append(replica.id)
    else:
        findings += [RunningFinding(server=replica.id, finding=each) for each in own.findings]
    models: Sequence[ReplicaModel] = replica.models if model is None else (model,)
    for each in models:
        if not has_environment(each):
            continue
        scan = scans.get(each.digest)
        if scan is None:
            unscanned.append(each.title)
            continue
        findings += [
            RunningFinding(server=replica.id, finding=finding, model=each.title)
            for finding in scan.findings
            if finding.part == "runs"
        ]
    return Exposure(findings=tuple(findings), unscanned=tuple(unscanned))


def together(exposures: Iterable[Exposure]) -> Exposure:
    """Return several exposures as one."""
    parts = list(exposures)
    return Exposure(
        findings=tuple(finding for part in parts for finding in part.findings),
        unscanned=tuple(dict.fromkeys(name for part in parts for name in part.unscanned)),
    )


def containing(replicas: Iterable[Replica], scans: Mapping[str, Scan], text: str) -> list[RunningFinding]:
    """Return findings in running servers whose component or names have `text` in them: which run X."""
    wanted = text.strip().lower()
    return [
        each
        for replica in replicas
        for each in exposure(replica, scans).findings
        if wanted in each.finding.component.lower()
        or any(wanted in name.lower() for name in each.finding.names)
    ]
