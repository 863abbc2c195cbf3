"""What is attached to a manifest: read back as it was, under cosign's tag, and in an index of referrers."""

from __future__ import annotations

import base64
import json

import pytest

from lading.errors import RegistryUnavailable
from lading.oci import INDEX, MANIFEST, Repository
from lading.oci.referrers import Attached, attach, attached, attestation, cosign_tag, detach
from lading.registry.urls import oci_repository

pytestmark = pytest.mark.slow


def envelope(number: int) -> bytes:
    payload = json.dumps({"predicateType": f"urn:x:{number}"}).encode()
    return json.dumps({"payload": base64.b64encode(payload).decode(), "signatures": []}).encode()


@pytest.fixture
def repository(oci_url):
    opened = Repository(*oci_repository(oci_url))
    yield opened
    opened.close()


@pytest.fixture
def subject(repository):
    config = repository.put_blob(b"{}")
    descriptor = {"mediaType": "application/json", "digest": config, "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": []}
    repository.put_manifest("it", json.dumps(manifest).encode())
    return repository.manifest("it")


def test_each_item_is_attached_once_and_read_back_with_its_annotations(repository, subject):
    first, second = attestation(envelope(1)), attestation(envelope(2))
    tag = attach(repository, subject, "att", [first])
    assert tag == cosign_tag(subject.digest, "att") == f"{subject.digest.replace(':', '-')}.att"
    attach(repository, subject, "att", [first, second])
    assert attached(repository, subject.digest, "att") == [first, second]
    assert attached(repository, subject.digest, "sig") == []
    manifest = json.loads(repository.manifest(tag).data)
    assert manifest["subject"]["digest"] == subject.digest
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        "application/vnd.dsse.envelope.v1+json"
    ] * 2
    assert [layer["annotations"]["predicateType"] for layer in manifest["layers"]] == ["urn:x:1", "urn:x:2"]


def test_without_an_api_for_referrers_an_index_lists_them(repository, subject):
    assert not repository.has_referrers_api(subject.digest)
    attach(repository, subject, "att", [attestation(envelope(1))])
    attach(repository, subject, "att", [attestation(envelope(2))])
    attach(repository, subject, "sig", [Attached(b"{}", {"dev.cosignproject.cosign/signature": "QUJD"})])
    index = repository.manifest(subject.digest.replace(":", "-"))
    assert index.media_type == INDEX
    listed = {entry["artifactType"]: entry["digest"] for entry in json.loads(index.data)["manifests"]}
    assert sorted(listed.values()) == sorted(
        repository.manifest(cosign_tag(subject.digest, suffix)).digest for suffix in ("att", "sig")
    )
    assert len(listed) == 2
    detach(repository, subject.digest)
    assert attached(repository, subject.digest, "att") == []
    assert repository.tags() == ["it"]


def test_what_is_no_manifest_of_signatures_is_refused(repository, subject):
    wrong = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    repository.put_manifest(cosign_tag(subject.digest, "att"), json.dumps(wrong).encode(), INDEX)
    with pytest.raises(RegistryUnavailable, match="no manifest of signatures"):
        attached(repository, subject.digest, "att")
