"""A release is held back by what its last scan says, or by not having one."""

from __future__ import annotations

import datetime

import pytest

from lading.errors import GateNotMet, InvalidSetting
from lading.gates import Gates
from lading.registry import Registry
from lading.rollout.scan_gate import check_scan
from lading.trust.components import Subject
from lading.trust.feeds import FeedState
from lading.trust.records import last_scan, last_scans, record_scan
from lading.trust.scan import Finding, Scan
from support.bundles import linear_bundle

HIGH = Gates.parse('max_vulnerability = "high"')


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as opened:
        yield opened


@pytest.fixture
def version(registry, tmp_path):
    return registry.push(linear_bundle(tmp_path / "iris.bundle"))


def finding(severity, **more):
    fields = {
        "id": "CVE-1",
        "names": ("CVE-1",),
        "ecosystem": "PyPI",
        "component": "jinja2",
        "version": "2.10",
    }
    return Finding(**{**fields, "severity": severity, **more})


def scan_of(registry, version, *findings, days=0, feeds=True, second=0):
    day = datetime.datetime.fromtimestamp(registry.fleet.now() - days * 86_400, datetime.UTC)
    date = day.replace(second=second, microsecond=0).isoformat()
    states = (FeedState(kind="osv", name="pypi", date=date, covers=("PyPI",)),) if feeds else ()
    return Scan(
        subject=Subject(kind="bundle", name="iris", digest=version.digest),
        scanned_at=date,
        feeds=states,
        components=1,
        checked=1,
        findings=findings,
        ends=(),
        not_checked=(),
    )


def record(registry, version, *findings, **more):
    record_scan(
        registry.attachments, [version.digest], scan_of(registry, version, *findings, **more), actor="me"
    )


@pytest.mark.parametrize("severity", ["none", "low", "medium", "high"])
def test_what_is_no_worse_than_the_limit_meets_the_gate(registry, version, severity):
    record(registry, version, finding(severity))
    assert check_scan(registry, HIGH, version) == ("max_vulnerability",)


@pytest.mark.parametrize("severity", ["critical", "unknown"])
def test_what_is_worse_or_not_rated_holds_the_release_back(registry, version, severity):
    record(
        registry,
        version,
        finding("low", id="CVE-0"),
        finding(severity, fixed_in=("2.10.1",)),
        finding(severity),
    )
    with pytest.raises(GateNotMet) as raised:
        check_scan(registry, HIGH, version)
    assert raised.value.message == (
        "`iris:1` is not released, gate `max_vulnerability`: expected nothing above `high`, "
        f"found CVE-1 ({severity}) in jinja2 2.10 and 1 more"
    )
    assert raised.value.hint == "fixed in jinja2 2.10.1"


def test_without_a_scan_or_with_one_that_checked_nothing_it_is_held_back(registry, version):
    with pytest.raises(GateNotMet, match="expected a scan with nothing above `high`, found none") as raised:
        check_scan(registry, HIGH, version)
    assert raised.value.hint == "`lading scan iris:1 --feeds DIR` makes one"
    record(registry, version, feeds=False)
    with pytest.raises(GateNotMet, match="found none"):
        check_scan(registry, HIGH, version)


def test_a_scan_by_feeds_that_are_stale_by_now_does_not_count(registry, version):
    record(registry, version, days=20)
    with pytest.raises(GateNotMet, match=r"by feeds of the last 14 days, found the scan of .* 20 days ago"):
        check_scan(registry, HIGH, version)


def test_without_the_gate_nothing_is_asked_for(registry, version):
    assert check_scan(registry, Gates(), version) == ()


def test_a_later_scan_takes_the_place_of_an_earlier_one(registry, version):
    record(registry, version, finding("critical"), days=1)
    record(registry, version, finding("low"))
    assert len(registry.attachments.of(version.digest, "scan")) == 1
    assert check_scan(registry, HIGH, version)
    assert last_scans(registry.attachments, [version.digest, "sha256:" + "0" * 64]).keys() == {version.digest}


def test_scans_of_other_programs_are_left_alone(registry, version):
    add = registry.attachments.add
    add(version.digest, "scan", "{}", media_type="application/json", actor="other")
    add(version.digest, "scan", "no scan", media_type="application/vnd.lading.scan.v1+json", actor="other")
    assert last_scan(registry.attachments, version.digest) is None
    record(registry, version, finding("low"))
    kept = [each.media_type for each in registry.attachments.of(version.digest, "scan")]
    assert "application/json" in kept
    assert last_scan(registry.attachments, version.digest).severity == "low"


@pytest.mark.parametrize("value", ['"terrible"', "3", "true", '"unknown"'])
def test_the_limit_is_one_of_five_words(value):
    with pytest.raises(InvalidSetting, match="`max_vulnerability` in `gates`: expected one of `none`, `low`"):
        Gates.parse(f"max_vulnerability = {value}")
