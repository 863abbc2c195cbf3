"""What scans say against servers that run, as findings that rules of alerts send to people. Scans nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from lading.clock import unix_time
from lading.monitor.alerts import Finding as AlertFinding
from lading.monitor.alerts import Severity as AlertSeverity
from lading.trust.records import LastScans
from lading.trust.running import digests_of, exposure
from lading.trust.scan import Finding, Scan
from lading.trust.severity import Severity

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.replica import Replica

_EVERY_S = 30.0
# What is not rated may be anything, and is for somebody to look at.
_SEVERITIES: dict[Severity, AlertSeverity] = {"critical": "page", "low": "info", "none": "info"}


class VulnerabilityFindings:
    """Returns the findings of what runs when called, from the catalog at most every half minute."""

    def __init__(self, registry: Registry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._scans = LastScans(registry.attachments)
        self._read_at = float("-inf")
        self._findings: Sequence[AlertFinding] = ()

    def __call__(self) -> Iterable[AlertFinding]:
        """Return the findings, those of a moment ago if that was less than half a minute."""
        now = self._clock()
        if now - self._read_at >= _EVERY_S:
            # A server that is gone runs nothing, and its findings end with it.
            replicas = [replica for replica in self._registry.fleet.replicas() if not replica.gone]
            scans = self._scans.read(digests_of(replicas))
            self._findings = alert_findings(replicas, scans)
            self._read_at = now
        return self._findings


def alert_findings(replicas: Iterable[Replica], scans: dict[str, Scan]) -> list[AlertFinding]:
    """Return a finding for each model and vulnerability, on however many servers it runs."""
    by_subject: dict[tuple[str, str], tuple[Finding, int, float, set[str]]] = {}
    for replica in replicas:
        for model in replica.models:
            for each in exposure(replica, scans, model).findings:
                # By model and not by server: a fleet of a hundred servers is one message, not a hundred.
                key = (model.name, each.finding.key)
                scanned_at = _scanned_at(scans, each.finding)
                _, version, began_at, servers = by_subject.get(
                    key, (each.finding, model.version, scanned_at, set[str]())
                )
                by_subject[key] = (each.finding, version, min(began_at, scanned_at), servers | {replica.id})
    return [
        AlertFinding(
            kind="vulnerability",
            model=model,
            began_at=began_at,
            text=_text(finding, sorted(servers)),
            subject=subject,
            version=version,
            value=finding.score or 0.0,
            severity=_SEVERITIES.get(finding.severity, "warn"),
        )
        for (model, subject), (finding, version, began_at, servers) in by_subject.items()
    ]


def _scanned_at(scans: dict[str, Scan], finding: Finding) -> float:
    # The earliest: a later scan of another part with the same fault does not make it new.
    return min(unix_time(scan.scanned_at) for scan in scans.values() if finding in scan.findings)


def _text(finding: Finding, servers: list[str]) -> str:
    where = f"server `{servers[0]}`" + (f" and {len(servers) - 1} more" if len(servers) > 1 else "")
    fixed = f", fixed in {finding.fixed_in[0]}" if finding.fixed_in else ""
    rating = "severity unknown" if finding.severity == "unknown" else finding.severity
    return f"{finding.id} ({rating}) in {finding.component} {finding.version}{fixed}: runs on {where}"
