"""What scans know against what runs, as a table: one row for each vulnerability."""

from __future__ import annotations

from lading.hub.knowledge import Knowledge
from lading.hub.views.inventory import replica_row
from lading.hub.views.tables import TableState
from lading.hub.views.vulnerabilities import vulnerabilities
from lading.replica import Replica, ReplicaModel
from lading.trust.components import Subject
from lading.trust.ends import EndOfLife
from lading.trust.feeds import FeedState
from lading.trust.running import server_subject
from lading.trust.scan import Finding, Scan

IRIS = ReplicaModel(name="iris", version=3, digest="sha256:" + "1" * 64)
PACKAGED = ReplicaModel(
    name="churn", version=1, digest="sha256:" + "2" * 64, environment="sha256:" + "3" * 64
)


def replica(name, *models, **packages):
    return Replica(id=name, packages=packages, models=models, python="3.11.7", os="debian 12")


def finding(id, severity, component="jinja2", **more):
    fields = {"names": (id, f"PYSEC-{id}"), "ecosystem": "PyPI", "version": "2.10", **more}
    return Finding(id=id, severity=severity, component=component, **fields)


def scan_of(digest, *findings, date="2026-11-30T00:00:00Z"):
    end = EndOfLife(product="python", cycle="3.8", component="python 3.8.2", ends="2024-10-07", ended=True)
    return Scan(
        subject=Subject(kind="server", name="lading", digest=digest),
        scanned_at="2026-12-01T08:00:00Z",
        feeds=(FeedState(kind="osv", name="pypi", date=date, covers=("PyPI",)),),
        components=1,
        checked=1,
        findings=findings,
        ends=(end,),
        not_checked=(),
    )


FIRST = replica("web-1", IRIS, PACKAGED, jinja2="2.10")
SECOND = replica("web-2", IRIS, jinja2="2.10")
BARE = replica("web-3", IRIS, numpy="2.0.0")
DIGEST = server_subject(FIRST)[0].digest


def known(*replicas, scans):
    return Knowledge(newest={}, releases={}, replicas=replicas, alarms=(), scans=scans, read_at=0.0)


def test_a_vulnerability_has_one_row_with_all_servers_and_models_that_run_it():
    scans = {DIGEST: scan_of(DIGEST, finding("CVE-1", "high")), PACKAGED.digest: scan_of(PACKAGED.digest)}
    page = vulnerabilities(known(FIRST, SECOND, BARE, scans=scans), TableState())
    (row,) = page.table.rows
    assert (row.servers, row.models) == (["web-1", "web-2"], ["churn:1", "iris:3"])
    assert page.severities["high"] == 1
    assert page.unscanned == {"web-3": ["web-3"]}
    assert [feed.name for feed in page.feeds] == ["pypi"]
    assert [end.component for end in page.ends] == ["python 3.8.2"]


def test_what_is_not_rated_stands_between_high_and_medium():
    ratings = ("low", "unknown", "critical", "medium", "high")
    findings = [finding(f"CVE-{rating}", rating) for rating in ratings]
    page = vulnerabilities(known(SECOND, scans={DIGEST: scan_of(DIGEST, *findings)}), TableState())
    in_order = [row.finding.severity for row in page.table.rows]
    assert in_order == ["critical", "high", "unknown", "medium", "low"]


def test_a_finding_is_searched_by_component_version_names_server_and_model():
    scans = {DIGEST: scan_of(DIGEST, finding("CVE-1", "high"), finding("CVE-2", "low", "pyyaml"))}
    knowledge = known(SECOND, scans=scans)
    for text, count in (("jinja2==2.10", 1), ("pysec-cve-2", 1), ("web-2", 2), ("iris", 2), ("flask", 0)):
        assert vulnerabilities(knowledge, TableState(q=text)).table.total == count, text
    assert vulnerabilities(knowledge, TableState(filters={"severity": "low"})).table.total == 1


def test_a_scan_of_a_server_that_is_gone_says_nothing_of_what_runs():
    gone = Replica(id="web-9", packages=SECOND.packages, python="3.11.7", os="debian 12", stopped_at="now")
    page = vulnerabilities(
        known(gone, scans={DIGEST: scan_of(DIGEST, finding("CVE-1", "high"))}), TableState()
    )
    assert (page.table.of, page.feeds) == (0, [])


def test_the_inventory_says_what_is_known_against_each_server():
    knowledge = known(SECOND, BARE, scans={DIGEST: scan_of(DIGEST, finding("CVE-1", "high"))})
    assert [replica_row(knowledge, each).exposure.text for each in (SECOND, BARE)] == [
        "1, high",
        "not scanned",
    ]
