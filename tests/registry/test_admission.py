"""A registry behind a trust policy: what is attested travels along, and nothing goes past the gate."""

from __future__ import annotations

import sys

import pytest

from lading.errors import AttestationInvalid, InvalidSetting, PolicyNotMet, RegistryUnavailable
from lading.registry import Registry
from lading.registry.beside import add_beside, read_beside
from support.bundles import linear_bundle
from support.recorded_evidence import push_proved, record_evidence
from support.signing import policy_file, signature, statement

TWO = '[[model]]\nnames = ["*"]\nroles = ["packer", "approver"]\n'


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris.bundle")


@pytest.fixture
def url(tmp_path) -> str:
    return str(tmp_path / "registry")


def test_attestations_go_from_a_folder_to_a_registry_and_on_to_the_next(bundle, url, tmp_path):
    signed, approved = signature(bundle), statement(bundle)
    add_beside(bundle.path, [signed])
    with Registry.open(url) as first, Registry.open(f"{url}-2") as second:
        first.push(bundle)
        first.attest(bundle.digest, approved, by="ann")
        assert [row.actor for row in first.attachments.of(bundle.digest)] == ["", "ann"]
        pulled = first.pull("iris:1", tmp_path / "pulled.bundle")
        assert read_beside(pulled.path) == [signed, approved]
        second.push(pulled)
        assert [row.body for row in second.attachments.of(bundle.digest, "attestation")] == [signed, approved]
        # Pushed again, with something new beside it, it stays the version that it is.
        add_beside(bundle.path, [signature(bundle, "bob")])
        assert first.push(bundle).version == 1
        assert len(first.attachments.of(bundle.digest)) == 3


def test_what_is_no_json_object_is_kept_nowhere(bundle, url):
    add_beside(bundle.path, ["not JSON"])
    with Registry.open(url) as registry:
        with pytest.raises(AttestationInvalid, match="attestation: expected a JSON object"):
            registry.push(bundle)
        assert registry.models() == []


def test_a_push_and_a_release_from_python_are_judged_as_commands_are(bundle, url, tmp_path, monkeypatch):
    monkeypatch.setenv("LADING_TRUST_POLICY", str(policy_file(tmp_path, TWO)))
    with Registry.open(url) as registry:
        with pytest.raises(PolicyNotMet, match="is not pushed"):
            registry.push(bundle)
        add_beside(bundle.path, [signature(bundle)])
        registry.push(bundle)
        record_evidence(registry, "iris:1")
        with pytest.raises(PolicyNotMet, match="is not released: expected an approval"):
            registry.release("iris:1", actor="ann")
        assert registry.releases.current("iris") is None
        registry.attest(bundle.digest, statement(bundle))
        assert registry.release("iris:1", actor="ann").live == 1


def test_a_rollback_goes_through_and_the_history_keeps_what_the_policy_says(bundle, url, tmp_path):
    second = linear_bundle(tmp_path / "second.bundle", seed=1)
    with Registry.open(url) as registry:
        for each in (bundle, second):
            version = push_proved(registry, each)
            registry.release(str(version.ref), actor="ann")
    policy = str(policy_file(tmp_path))
    with Registry.open(url, policy=policy) as registry:
        assert registry.releases.rollback("iris", actor="ann").live == 1
        event = registry.releases.last_events("iris", 1)[0]
        assert event.kind == "rolled_back"
        assert "is not loaded: expected a signature, found none" in event.evidence["trust"]
        registry.attest(second.digest, signature(second))
        registry.releases.rollback("iris", to=2, actor="ann")
        assert "trust" not in registry.releases.last_events("iris", 1)[0].evidence


def test_what_was_attested_is_known_while_the_catalog_is_unreachable(bundle, url, monkeypatch, caplog):
    add_beside(bundle.path, [signature(bundle)])
    with Registry.open(url) as registry:
        registry.push(bundle)
        assert registry.admission.attested(bundle.digest) == read_beside(bundle.path)

        def unreachable(*_: object) -> None:
            raise RegistryUnavailable("catalog", expected="an answer", found="none")

        monkeypatch.setattr(registry.catalog.attachments, "of", unreachable)
        assert registry.admission.attested(bundle.digest) == read_beside(bundle.path)
        assert "is as it was known before" in caplog.text
        with pytest.raises(RegistryUnavailable):
            registry.admission.attested("sha256:" + "0" * 64)


def test_a_policy_is_read_when_something_is_to_be_let_in_and_not_before(bundle, url, tmp_path):
    with Registry.open(url, policy=str(tmp_path / "none.toml")) as registry:
        assert registry.models() == []
        with pytest.raises(InvalidSetting, match="expected a TOML file, found no such file"):
            registry.push(bundle)


def test_a_registry_without_a_policy_asks_nobody(bundle, url, monkeypatch):
    monkeypatch.delenv("LADING_TRUST_POLICY", raising=False)
    before = "lading.trust.gate" in sys.modules
    with Registry.open(url) as registry:
        registry.push(bundle)
        assert registry.admission.gate is None
    assert ("lading.trust.gate" in sys.modules) is before


@pytest.mark.slow
def test_a_store_in_an_oci_registry_has_the_attestations_where_cosign_looks(bundle, url, oci_url):
    from lading.oci import Repository
    from lading.oci.referrers import attached
    from lading.registry.attachments import dsse_envelope
    from lading.registry.urls import oci_repository

    repository = Repository(*oci_repository(oci_url))

    def beside_the_artifact(tag: str) -> list[bytes]:
        return [item.data for item in attached(repository, repository.manifest(tag).digest, "att")]

    add_beside(bundle.path, [signature(bundle)])
    with Registry.open(url, store=oci_url) as registry:
        version = registry.push(bundle)
        signed = [dsse_envelope(text) for text in read_beside(bundle.path)]
        assert beside_the_artifact("iris-1") == signed
        approved = statement(bundle)
        registry.attest(bundle.digest, approved, version=version)
        assert beside_the_artifact("iris-1") == [*signed, dsse_envelope(approved)]
        # Pushed again, the artifact is another one, and what was attached to the old one is gone.
        registry.push(bundle)
        assert beside_the_artifact("iris-1") == [*signed, dsse_envelope(approved)]
        assert len([tag for tag in repository.tags() if tag.endswith(".att")]) == 1
        registry.remove("iris:1")
        registry.gc(older_than_s=0)
        assert repository.tags() == []
    repository.close()
