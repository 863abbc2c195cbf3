"""What is known against what runs: on which servers, by which models, and sent to people once."""

from __future__ import annotations

import threading

import pytest

from lading.bundle.environment_lock import Pin, lock_of
from lading.errors import FeedStale
from lading.monitor.alert_rules import AlertRules
from lading.monitor.alerting import Alerting
from lading.registry import Registry
from lading.replica import Replica, ReplicaModel
from lading.trust.alerts import VulnerabilityFindings, alert_findings
from lading.trust.components import Component, Subject
from lading.trust.running import containing, digests_of, exposure, server_subject
from lading.trust.running_scans import RunningScanner
from lading.trust.sbom import SBOM_TYPE, sbom_document
from support.feeds import osv, published, write
from support.prometheus_servers import webhook
from support.python_bundles import FILES, python_bundle
from support.waiting import wait_until

PACKAGES = {"jinja2": "2.10", "numpy": "2.0.0"}
HASH = ("sha256:" + "c" * 64,)


class Clock:
    """A clock of the day on which the feeds of these tests are fresh."""

    def __init__(self):
        self.now = 1796126400.0  # 2026-12-01T12:00:00Z

    def __call__(self):
        return self.now


def replica(name="web-1", *models, packages=PACKAGES, **more):
    fields = {"python": "3.11.7", "os": "debian 12", "lading": "0.1.0", "software": "lading 0.1.0"}
    return Replica(id=name, packages=packages, models=models, **fields, **more)


def iris(version=1, **more):
    return ReplicaModel(name="iris", version=version, digest=f"sha256:{version:064}", state="ready", **more)


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as opened:
        yield opened


@pytest.fixture
def feeds(tmp_path):
    return published(tmp_path / "feeds")


@pytest.fixture
def scanner(registry, feeds):
    return RunningScanner(registry, feeds, actor="me", clock=Clock())


def test_servers_with_equal_packages_are_one_subject():
    first, second = replica("web-1", iris()), replica("web-2")
    assert server_subject(first)[0].digest == server_subject(second)[0].digest
    assert server_subject(replica(packages={}))[0].digest != server_subject(first)[0].digest
    assert len(digests_of([first, second])) == 1


def test_what_servers_run_is_scanned_and_kept_by_digest(registry, scanner):
    registry.fleet.beat(replica("web-1", iris()))
    registry.fleet.beat(replica("web-2", packages={"numpy": "2.0.0"}))
    scans = scanner.turn()
    assert len(scans) == 2
    by_server = {each.id: exposure(each, scans) for each in registry.fleet.replicas()}
    assert by_server["web-1"].text == "1, high"
    assert [each.finding.id for each in by_server["web-1"].findings] == ["CVE-2019-10906"]
    assert by_server["web-2"].text == "0"
    assert registry.attachments.listed(scans)


def test_the_environment_of_a_model_in_python_counts_and_what_it_was_trained_with_does_not(
    registry, feeds, scanner, tmp_path
):
    write(feeds, "pypi/numpy.json", osv("PYSEC-9", "numpy", {"introduced": "2.4.6"}, {"fixed": "2.4.7"}))
    lock = lock_of([Pin("numpy", "2.0.0", HASH), Pin("pyyaml", "5.1", HASH)])
    # It was trained with numpy 2.4.6.
    bundle = python_bundle(tmp_path / "b", FILES | {"environment.lock": lock.to_bytes()})
    version = registry.push(bundle)
    model = ReplicaModel(
        name="doubled", version=1, digest=version.digest, environment=bundle.manifest.lock_digest
    )
    server = replica("web-1", model, iris(), packages={"numpy": "2.0.0"})
    registry.fleet.beat(server)
    scans = scanner.turn()
    known = exposure(server, scans)
    assert [(each.model, each.finding.component) for each in known.findings] == [("doubled:1", "pyyaml")] * 2
    assert exposure(server, scans, server.models[1]).text == "0"
    assert exposure(server, {}).unscanned == ("web-1", "doubled:1")
    assert exposure(server, {}).text == "not scanned"


def test_the_system_packages_of_an_image_count_once_it_is_listed(registry, feeds, scanner):
    image = "sha256:" + "d" * 64
    fixed = ({"introduced": "0"}, {"fixed": "3.0.11-1~deb12u2"})
    entry = osv("DEBIAN-CVE-2023-5363", "openssl", *fixed, ecosystem="Debian:12", upstream=["CVE-2023-5363"])
    write(feeds, "debian/a.json", entry)
    server = replica("web-1", iris(), packages={"numpy": "2.0.0"}, image=image)
    registry.fleet.beat(server)
    assert exposure(server, scanner.turn()).text == "0, more not scanned"
    version = "3.0.11-1~deb12u1"
    library = Component(
        ecosystem="Debian:12", name="libssl3", version=version, source="openssl", source_version=version
    )
    listed = (library, Component(ecosystem="PyPI", name="jinja2", version="2.10"))
    text = sbom_document(Subject(kind="image", name="iris"), listed)
    registry.attachments.add(image, "sbom", text, media_type=SBOM_TYPE, actor="me")
    scans = scanner.turn()
    known = exposure(server, scans)
    # Which packages of Python it runs, a server states itself.
    assert [each.finding.id for each in known.findings] == ["CVE-2023-5363"]
    registry.attachments.add(image, "sbom", "no document", media_type=SBOM_TYPE, actor="me")
    assert image not in scanner.turn()


def test_which_servers_run_something_is_asked_by_component_or_by_name_of_a_vulnerability(registry, scanner):
    registry.fleet.beat(replica("web-1", iris()))
    registry.fleet.beat(replica("web-2", packages={"numpy": "2.0.0"}))
    scans = scanner.turn()
    replicas = registry.fleet.replicas()
    for text in ("jinja", "CVE-2019-10906", "ghsa-462w"):
        assert [each.server for each in containing(replicas, scans, text)] == ["web-1"]
    assert containing(replicas, scans, "flask") == []


def test_nothing_is_scanned_again_until_a_feed_or_a_server_or_the_day_changes(registry, feeds, scanner):
    registry.fleet.beat(replica("web-1"))
    assert scanner.turn()
    assert scanner.turn() is None
    write(feeds, "pypi/new.json", osv("PYSEC-2026-9", "numpy", {"introduced": "0"}))
    (scan,) = scanner.turn().values()
    assert "PYSEC-2026-9" in {each.id for each in scan.findings}
    registry.fleet.beat(replica("web-2", packages={}))
    assert scanner.turn() is None  # It states no packages that could be scanned.
    registry.fleet.beat(replica("web-3", packages={"numpy": "1.16.0"}))
    assert len(scanner.turn()) == 2
    scanner._clock.now += 86_400
    assert scanner.turn()


def test_a_stale_feed_is_an_error_each_time(registry, tmp_path):
    scanner = RunningScanner(registry, published(tmp_path / "old", fresh=""), actor="me", clock=Clock())
    registry.fleet.beat(replica("web-1"))
    for _ in range(2):
        with pytest.raises(FeedStale):
            scanner.turn()


def test_a_watch_says_once_what_fails_and_goes_on(registry, tmp_path, caplog):
    stop = threading.Event()
    scanner = RunningScanner(registry, tmp_path / "nothing-yet", actor="me", clock=Clock())
    registry.fleet.beat(replica("web-1"))
    thread = threading.Thread(target=scanner.run, args=(stop, 0.01))
    thread.start()
    try:
        wait_until(lambda: "what runs is not scanned" in caplog.text)
        published(tmp_path / "nothing-yet")
        wait_until(lambda: registry.attachments.listed(digests_of(registry.fleet.replicas())))
    finally:
        stop.set()
        thread.join()
    assert caplog.text.count("found nothing there") == 1


def test_a_vulnerability_is_a_finding_of_each_model_on_however_many_servers(registry, scanner):
    both = [replica("web-1", iris()), replica("web-2", iris(), ReplicaModel(name="churn", version=4))]
    for each in both:
        registry.fleet.beat(each)
    findings = alert_findings(both, scanner.turn())
    assert {(each.model, each.subject, each.version) for each in findings} == {
        ("iris", "jinja2 2.10 CVE-2019-10906", 1),
        ("churn", "jinja2 2.10 CVE-2019-10906", 4),
    }
    text = next(each.text for each in findings if each.model == "iris")
    assert text == "CVE-2019-10906 (high) in jinja2 2.10, fixed in 2.10.1: runs on server `web-1` and 1 more"


@pytest.mark.slow
def test_an_updated_feed_alerts_people_of_what_is_new_and_once(registry, feeds, scanner):
    clock = Clock()
    rule = '[[alert]]\nname = "known faults"\nwhen = "vulnerability"\nroute = "ops"\nrepeat = "1m"\n'
    registry.fleet.beat(replica("web-1", iris()))
    with webhook() as hook:
        rules = AlertRules.parse(f'{rule}[route.ops]\nwebhook = "{hook.url}"\n')
        more = VulnerabilityFindings(registry, clock)
        alerting = Alerting(registry, rules, clock=clock, more=more)
        scanner.turn()
        for _ in range(4):
            alerting.turn()
            clock.now += 3600
            wait_until(lambda: len(hook.bodies) == 1)
        write(feeds, "pypi/new.json", osv("PYSEC-2026-9", "numpy", {"introduced": "0"}))
        scanner.turn()
        for _ in range(3):
            alerting.turn()
            clock.now += 3600
            wait_until(lambda: len(hook.bodies) == 2)
        alerting.close()
    first, second = hook.bodies
    assert (first["kind"], first["model"], first["status"]) == ("vulnerability", "iris", "firing")
    assert "CVE-2019-10906 (high) in jinja2 2.10" in first["text"]
    assert second["finding"] == "PYSEC-2026-9 (severity unknown) in numpy 2.0.0: runs on server `web-1`"
