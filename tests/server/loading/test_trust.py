"""A server with a trust policy: what it refuses, tries again, and says of what it has loaded already."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import pytest

from lading.errors import InvalidSetting, RegistryUnavailable
from lading.registry.beside import add_beside, beside, read_beside
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import State
from lading.server.loading.admission import with_admission_each
from lading.server.loading.manager import Manager
from lading.server.loading.policy import Wanted
from lading.server.loading.trust import load_gate
from lading.server.loading.trust_watch import watching
from lading.server.metrics import Metrics
from lading.server.metrics.page import lading_families, page
from support.bundles import linear_bundle
from support.signing import policy_file, signature
from support.waiting import wait_until


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris.bundle")


@pytest.fixture
def policy(tmp_path):
    return policy_file(tmp_path)


@contextlib.contextmanager
def serving(bundle, policy) -> Iterator[DataPlane]:
    plane, gate = DataPlane(), load_gate(str(policy))
    plane.trust = gate.facts
    attested = lambda: read_beside(bundle.path)  # noqa: E731
    wanted = Wanted("iris", 1, bundle.digest, lambda: bundle, attested=attested)
    manager = Manager(plane, threads=1, gate=gate)
    manager.want([wanted])
    manager.start()
    try:
        with watching(gate, manager, every_s=0.02):
            yield plane
    finally:
        manager.close()


def state(plane: DataPlane) -> State | None:
    return plane.find("iris").state if "iris" in plane.models else None


def until(plane: DataPlane, wanted: State) -> None:
    wait_until(lambda: state(plane) is wanted, 10.0, lambda: plane.find("iris").reason)


def metrics(plane: DataPlane) -> str:
    return page(Metrics(plane).summary(), [lading_families]).decode()


def test_a_bundle_that_is_signed_later_is_loaded_without_a_restart(bundle, policy):
    with serving(bundle, policy) as plane:
        until(plane, State.FAILED)
        assert "expected a signature, found none" in plane.find("iris").reason
        assert 'lading_trust_refused{loaded="no",model="iris",version="1"} 1.0' in metrics(plane)
        add_beside(bundle.path, [signature(bundle)])
        until(plane, State.READY)
        assert "lading_trust_refused{" not in metrics(plane)


def test_a_policy_that_changes_is_read_again_and_what_was_refused_tried_again(bundle, policy, caplog):
    caplog.set_level(logging.INFO, "lading")
    add_beside(bundle.path, [signature(bundle, "mallory")])
    with serving(bundle, policy) as plane:
        until(plane, State.FAILED)
        before = plane.trust.digest
        policy_file(policy.parent, keys="ci:packer mallory:packer")
        until(plane, State.READY)
        assert plane.trust.digest != before
        assert f'lading_trust_policy_info{{digest="{plane.trust.digest}"}} 1.0' in metrics(plane)
    assert (
        f"the trust policy has changed: `{policy}` is {plane.trust.digest} now, it was {before}"
        in caplog.text
    )
    assert "iris:1 is let in, signed by mallory" in caplog.text


def test_what_is_loaded_goes_on_when_its_key_is_withdrawn_and_the_server_says_so(bundle, policy, caplog):
    add_beside(bundle.path, [signature(bundle)])
    with serving(bundle, policy) as plane:
        until(plane, State.READY)
        policy_file(policy.parent, keys="ann:packer")
        wait_until(lambda: plane.trust.objections)
        assert state(plane) is State.READY
        assert 'lading_trust_refused{loaded="yes",model="iris",version="1"} 1.0' in metrics(plane)
        assert "expected a signature by one key that counts here" in plane.trust.objections["iris", 1]
        policy_file(policy.parent)
        wait_until(lambda: not plane.trust.objections)
    assert "iris:1 goes on, loaded before" in caplog.text


def test_a_policy_that_becomes_wrong_changes_nothing(bundle, policy, caplog):
    add_beside(bundle.path, [signature(bundle)])
    with serving(bundle, policy) as plane:
        until(plane, State.READY)
        before = plane.trust.digest
        policy.write_text("[[modle]]\n")
        wait_until(lambda: "the trust policy is not read again" in caplog.text)
        assert "found `modle`" in caplog.text
        assert (state(plane), plane.trust.digest) == (State.READY, before)


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
