"""A server with a trust policy: what it refuses, tries again, and says of what it has loaded already."""

from __future__ import annotations

import logging

import pytest

from lading.errors import InvalidSetting, RegistryUnavailable
from lading.registry.beside import add_beside, beside, read_beside
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import State
from lading.server.loading.admission import with_admission_each
from lading.server.loading.manager import Manager
from lading.server.loading.policy import Wanted
from lading.server.loading.trust import load_gate
from support.signing import signature
from support.trusting_servers import metrics, serving, until


def test_a_policy_that_is_wrong_at_the_start_is_an_error(tmp_path):
    with pytest.raises(InvalidSetting, match="expected a TOML file, found no such file"):
        load_gate(str(tmp_path / "none.toml"))


def test_a_server_without_a_policy_says_so_once(caplog):
    caplog.set_level(logging.INFO, "lading")
    assert load_gate("") is None
    assert load_gate("", speaks=False) is None
    assert caplog.text.count("no trust policy: any bundle is let in") == 1
    assert 'lading_trust_policy_info{digest="none"} 1.0' in metrics(DataPlane())


def test_a_catalog_that_is_unreachable_is_waited_for(bundle, policy):
    answers = [RegistryUnavailable("catalog", expected="an answer", found="none")]

    def attested() -> list[str]:
        if answers:
            raise answers.pop()
        return [signature(bundle)]

    plane = DataPlane()
    manager = Manager(plane, threads=1, gate=load_gate(str(policy)))
    manager.want([Wanted("iris", 1, bundle.digest, lambda: bundle, attested=attested)])
    manager.start()
    try:
        until(plane, State.READY)
    finally:
        manager.close()


def test_a_folder_has_what_is_beside_it_and_what_its_registry_knows(bundle, tmp_path, monkeypatch):
    from lading.registry import Registry

    add_beside(bundle.path, [signature(bundle)])
    url = str(tmp_path / "registry")
    approved = signature(bundle, "ann")
    with Registry.open(url) as registry:
        registry.attest(bundle.digest, approved)
    wanted = Wanted("iris", 0, bundle.digest, lambda: bundle, attested=lambda: read_beside(bundle.path))
    (with_both,) = with_admission_each([bundle.path], [wanted], url)
    assert with_both.attested() == [*read_beside(bundle.path), approved]


def test_a_file_of_attestations_that_is_none_keeps_the_bundle_out(bundle, policy):
    beside(bundle.path).mkdir()
    with serving(bundle, policy) as plane:
        until(plane, State.FAILED)
        assert "iris.bundle.attestations.jsonl`: expected a file" in plane.find("iris").reason
