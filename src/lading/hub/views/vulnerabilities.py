"""What the last scans know against what runs: each vulnerability with its servers and models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from lading.hub.knowledge import Knowledge
from lading.hub.views.tables import Page, TableState, page_of
from lading.trust.ends import EndOfLife
from lading.trust.feeds import FeedState
from lading.trust.running import exposure, server_subject
from lading.trust.scan import Finding
from lading.trust.severity import RATINGS

COLUMNS = ("severity", "component", "id", "servers")
FILTERS: Mapping[str, Sequence[str]] = {"severity": ("critical", "high", "medium", "low", "none", "unknown")}
SERVERS_NAMED = 6
"""How many servers a row names; the API has all."""
_LONGEST_TEXT = 200
_NAMES_SHOWN = 12


class VulnerabilityRow(msgspec.Struct, frozen=True, kw_only=True):
    """A vulnerability of a component, and what runs it; ``models`` are those that answer beside or by it."""

    finding: Finding
    servers: list[str]
    models: list[str]


class Vulnerabilities(msgspec.Struct, frozen=True, kw_only=True):
    """The table, the feeds that were read with their dates, and what no scan is of.

    ``severities`` counts the findings of all pages by their rating, ``unscanned`` what runs on each server.
    """

    table: Page[VulnerabilityRow]
    severities: dict[str, int]
    feeds: list[FeedState]
    ends: list[EndOfLife]
    scanned_at: str
    unscanned: dict[str, list[str]]


def vulnerabilities(knowledge: Knowledge, state: TableState) -> Vulnerabilities:
    """Return a page of what is known against running servers."""
    rows, unscanned = _rows(knowledge)
    running = [replica for replica in knowledge.replicas if not replica.gone and replica.packages]
    digests = {server_subject(replica)[0].digest for replica in running}
    digests |= {model.digest for replica in running for model in replica.models if model.environment}
    scans = [knowledge.scans[digest] for digest in sorted(digests) if digest in knowledge.scans]
    feeds = {(feed.kind, feed.name): feed for scan in scans for feed in sorted(scan.feeds, key=_newest_last)}
    ends = {end.component: end for scan in scans for end in scan.ends if end.ended}
    keys: dict[str, Callable[[VulnerabilityRow], Any]] = {
        "severity": _rank,
        "component": lambda row: (row.finding.component, _rank(row)),
        "id": lambda row: row.finding.id,
        "servers": lambda row: (-len(row.servers), _rank(row)),
    }
    return Vulnerabilities(
        table=page_of(
            rows,
            state,
            texts=_texts,
            keys=keys,
            default="severity",
            rules={"severity": lambda row: row.finding.severity},
        ),
        severities={
            severity: sum(row.finding.severity == severity for row in rows)
            for severity in FILTERS["severity"]
        },
        feeds=sorted(feeds.values()),
        ends=sorted(ends.values(), key=lambda end: end.component),
        scanned_at=max((scan.scanned_at for scan in scans), default=""),
        unscanned=unscanned,
    )


def _rows(knowledge: Knowledge) -> tuple[list[VulnerabilityRow], dict[str, list[str]]]:
    by_key: dict[str, tuple[Finding, set[str], set[str]]] = {}
    unscanned: dict[str, list[str]] = {}
    for replica in knowledge.replicas:
        if replica.gone:
            continue
        known = exposure(replica, knowledge.scans)
        if known.unscanned:
            unscanned[replica.id] = list(known.unscanned)
        for each in known.findings:
            _, servers, models = by_key.setdefault(each.finding.key, (each.finding, set(), set()))
            servers.add(replica.id)
            # What is wrong with a server is a matter of every model on it.
            models |= {each.model} if each.model else {model.title for model in replica.models}
    rows = [
        VulnerabilityRow(finding=_shortened(finding), servers=sorted(servers), models=sorted(models))
        for finding, servers, models in by_key.values()
    ]
    return rows, unscanned


def _shortened(finding: Finding) -> Finding:
    """Return a finding that fits into a row: anybody who writes to the catalog may have attached it."""
    return msgspec.structs.replace(
        finding,
        component=finding.component[:_LONGEST_TEXT],
        version=finding.version[:_LONGEST_TEXT],
        summary=finding.summary[:_LONGEST_TEXT],
        names=tuple(name[:_LONGEST_TEXT] for name in finding.names[:_NAMES_SHOWN]),
        fixed_in=tuple(version[:_LONGEST_TEXT] for version in finding.fixed_in),
    )


def _rank(row: VulnerabilityRow) -> tuple[float, str, str]:
    # What nobody has rated comes after what is high, and before what is known to be less.
    severity = row.finding.severity
    place = RATINGS.index("high") - 0.5 if severity == "unknown" else RATINGS.index(severity)
    return -place, row.finding.component, row.finding.id


def _texts(row: VulnerabilityRow) -> Sequence[str]:
    finding = row.finding
    title = f"{finding.component}=={finding.version}"
    return (title, finding.component, *finding.names, finding.summary, *row.servers, *row.models)


def _newest_last(feed: FeedState) -> str:
    return feed.date
