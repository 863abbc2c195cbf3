"""Images that are signed as cosign's specification says, which OpenSSL verifies."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from contextlib import closing

import pytest

from lading.bundle import Bundle
from lading.cli import main
from lading.errors import KeyInvalid
from lading.image.build import build
from lading.image.bundle_layers import from_bundle
from lading.image.inspect import inspect
from lading.image.references import open_source, open_target, remote_image
from lading.image.signing import IMAGE_PREDICATE, sign_image
from lading.oci.referrers import SIGNATURE_KEY, attached
from lading.registry.beside import add_beside, read_beside
from lading.registry.gate import admit_folder
from lading.trust.attestation import verify
from support.built_images import build_image
from support.bundles import linear_bundle
from support.images import tiny_base
from support.signing import author, key_of, policy_file, private_file, public_file, signature

pytestmark = pytest.mark.slow


@pytest.fixture
def image(oci_server, tmp_path):
    name = f"{oci_server.address}/signed/{tmp_path.name}:1"
    build_image(tmp_path, to=name)
    with closing(remote_image(name)) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_the_signature_is_over_the_digest_and_openssl_verifies_it(image, tmp_path, kind):
    digest = sign_image(image, author(kind=kind))
    ((payload, annotations),) = attached(image.repository, digest, "sig")
    stated = json.loads(payload)["critical"]
    assert stated["image"]["docker-manifest-digest"] == digest == image.root().digest
    assert stated["identity"]["docker-reference"] == f"{image.repository.host}/{image.repository.name}"
    signed = base64.b64decode(annotations[SIGNATURE_KEY])
    assert key_of("ci", kind).public.verifies(payload, signed)
    (tmp_path / "payload").write_bytes(payload)
    (tmp_path / "signature").write_bytes(signed)
    if kind == "p256":
        words = ["dgst", "-sha256", "-verify", public_file("ci", kind), "-signature", tmp_path / "signature"]
    else:
        words = ["pkeyutl", "-verify", "-pubin", "-inkey", public_file("ci", kind), "-rawin", "-in"]
        words += [tmp_path / "payload", "-sigfile", tmp_path / "signature"]
    command = ["openssl", *map(str, words), *([str(tmp_path / "payload")] if kind == "p256" else [])]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_its_attestation_names_the_image_and_the_bundles_in_it(image):
    digest = sign_image(image, author())
    ((envelope, annotations),) = attached(image.repository, digest, "att")
    assert annotations["predicateType"] == IMAGE_PREDICATE
    stated = verify(envelope.decode(), [key_of("ci").public], digest).statement
    assert [bundle["name"] for bundle in stated.predicate["bundles"]] == ["iris"]
    # Signed again by somebody else: both count.
    sign_image(image, author("ann"))
    assert len(attached(image.repository, digest, "sig")) == 2


def test_a_key_that_not_every_cosign_verifies_signs_no_image(image):
    with pytest.raises(KeyInvalid, match="expected a P-256 or Ed25519 key"):
        sign_image(image, author(kind="p384"))


def test_a_built_image_carries_what_was_attested_about_its_bundles(oci_server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LADING_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.delenv("LADING_TRUST_POLICY", raising=False)
    bundle = linear_bundle(tmp_path / "iris.bundle")
    text = signature(bundle)
    add_beside(bundle.path, [text])
    base, name = tiny_base(tmp_path / "base"), f"{oci_server.address}/signed/carried:1"
    assert main(["image", "build", str(bundle.path), "--base", str(base), "--to", name]) == 0
    assert main(["image", "sign", name, "--key", str(private_file("ci")), "--json"]) == 0
    digest = json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))["digest"]
    with closing(remote_image(name)) as image:
        assert image.root().digest == digest
        carried, own = attached(image.repository, digest, "att")
        assert verify(carried.data.decode(), [key_of("ci").public], bundle.digest, bundle.manifest)
        assert own.annotations["predicateType"] == IMAGE_PREDICATE
    assert hashlib.sha256(carried.data).hexdigest() != hashlib.sha256(own.data).hexdigest()


def test_a_server_in_the_image_finds_what_was_attested_beside_its_bundle(oci_server, tmp_path):
    bundle = linear_bundle(tmp_path / "iris-0.bundle")
    base = open_source(tiny_base(tmp_path / "base"))
    unsigned = build(base, [from_bundle(bundle)], open_target(f"oci:{tmp_path / 'out'}:plain"))
    add_beside(bundle.path, [signature(bundle)])
    signed = build(base, [from_bundle(bundle)], open_target(f"oci:{tmp_path / 'out'}:signed"))
    assert signed.digest != unsigned.digest
    again = build(base, [from_bundle(bundle)], open_target(f"oci:{tmp_path / 'out'}:again"))
    assert again.digest == signed.digest
    image = open_source(f"oci:{tmp_path / 'out'}:signed")
    (platform,) = inspect(image).platforms
    assert [layer.what for layer in platform.layers][-1] == "attestations of the bundles"
    *_, bundle_layer, last = json.loads(image.root().data)["layers"]
    assert bundle_layer["digest"] == from_bundle(bundle).entry.blob
    for layer in (bundle_layer, last):
        with image.open(layer["digest"]) as file, tarfile.open(fileobj=io.BytesIO(file.read())) as archive:
            archive.extractall(tmp_path / "root", filter="data")
    folder = tmp_path / "root" / "lading" / "bundles" / "iris"
    assert read_beside(folder) == read_beside(bundle.path)
    policy = str(policy_file(tmp_path))
    assert admit_folder("load", Bundle.open(folder), policy) == ("ci",)
