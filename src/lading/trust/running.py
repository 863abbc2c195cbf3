"""What runs, as subjects of scans: the packages of servers, and the environments of models in Python.

A model in ONNX runs nothing of its own: what it was trained with is no part of what runs.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from lading.replica import Replica, ReplicaModel
from lading.trust.components import PYPI, Component, Subject, server_components
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
    scanned: int = 0  # parts that a scan is of

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
        if self.unscanned and not self.scanned:
            return "not scanned"
        unscanned = ", more not scanned" if self.unscanned else ""
        if not self.findings:
            return f"0{unscanned}"
        return f"{self.count}, {self.severity}{unscanned}"


def server_subject(replica: Replica) -> tuple[Subject, tuple[Component, ...]]:
    """Return the packages of a server as a subject; equal packages have equal digests, on any machine."""
    # A server has no digest of its own: that of what it states stands for it in the catalog.
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
        digests |= {replica.image} if replica.image else set()
    return digests


def exposure(replica: Replica, scans: Mapping[str, Scan], model: ReplicaModel | None = None) -> Exposure:
    """Return what scans know against a server and its models, or against one of its models on it.

    One that is gone runs nothing, and has nothing against it.
    """
    if replica.gone:
        return Exposure()
    findings: list[RunningFinding] = []
    parts = _parts(replica, replica.models if model is None else (model,))
    for part in parts:
        scan = scans.get(part.digest)
        if scan is not None:
            findings += [
                RunningFinding(server=replica.id, finding=each, model=part.model)
                for each in scan.findings
                # The packages of Python in an image are those that its servers state themselves.
                if each.part == "runs" and not (part.is_image and each.ecosystem == PYPI)
            ]
    unscanned = tuple(part.title for part in parts if part.digest not in scans)
    return Exposure(findings=tuple(findings), unscanned=unscanned, scanned=len(parts) - len(unscanned))


class _Part(msgspec.Struct, frozen=True):
    """Something that a server runs and that is scanned by itself; an empty digest is that of nothing."""

    digest: str
    title: str
    model: str = ""
    is_image: bool = False


def _parts(replica: Replica, models: Iterable[ReplicaModel]) -> list[_Part]:
    # A server that states no packages is a part without a scan, and not one without faults.
    parts = [_Part(server_subject(replica)[0].digest if replica.packages else "", replica.id)]
    if replica.image:
        parts.append(_Part(replica.image, f"image {replica.image[:19]}", is_image=True))
    parts += [_Part(each.digest, each.title, each.title) for each in models if has_environment(each)]
    return parts


def together(exposures: Iterable[Exposure]) -> Exposure:
    """Return several exposures as one."""
    parts = list(exposures)
    return Exposure(
        findings=tuple(finding for part in parts for finding in part.findings),
        # A `dict` and not a `set`: the order of servers stays, and each is named once.
        unscanned=tuple(dict.fromkeys(name for part in parts for name in part.unscanned)),
        scanned=sum(part.scanned for part in parts),
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
