"""What is known against what runs: on which servers, by which models, and sent to people once."""

from __future__ import annotations

from lading.bundle.environment_lock import Pin, lock_of
from lading.replica import ReplicaModel
from lading.trust.components import Component, Subject
from lading.trust.running import containing, digests_of, exposure, server_subject
from lading.trust.sbom import SBOM_TYPE, sbom_document
from support.feeds import osv, write
from support.python_bundles import FILES, python_bundle
from support.scanned_servers import iris, replica

HASH = ("sha256:" + "c" * 64,)


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
