"""Keys in files: the kinds that sign, and every file that is refused with a sentence of its own."""

from __future__ import annotations

import hashlib
import stat
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lading.errors import ExtraMissing, KeyInvalid
from lading.trust.keys import KINDS, new_key, read_private_key, read_public_key

PEM = serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_key_signs_its_public_half_verifies_and_no_other_does(tmp_path, kind):
    public = new_key(kind, tmp_path / "a.pem")
    other = new_key(kind, tmp_path / "b.pem")
    signature = read_private_key(tmp_path / "a.pem").sign(b"message")
    assert read_public_key(tmp_path / "a.pub").id == public.id
    assert public.verifies(b"message", signature)
    assert not public.verifies(b"massage", signature)
    assert not other.verifies(b"message", signature)
    assert not public.verifies(b"message", b"")


def test_the_id_of_a_key_is_the_sha256_of_its_file(tmp_path):
    public = new_key("p256", tmp_path / "ci.pem")
    assert public.id == hashlib.sha256((tmp_path / "ci.pub").read_bytes()).hexdigest()


def test_a_private_key_is_for_its_owner_alone_and_nothing_is_overwritten(tmp_path):
    new_key("ed25519", tmp_path / "ci.pem")
    assert stat.S_IMODE((tmp_path / "ci.pem").stat().st_mode) == 0o600
    with pytest.raises(KeyInvalid, match="expected a name that is free, found a file"):
        new_key("ed25519", tmp_path / "ci.pem")
    (tmp_path / "ci.pem").unlink()
    with pytest.raises(KeyInvalid, match=r"ci.pub"):
        new_key("ed25519", tmp_path / "ci.pem")


def test_a_passphrase_comes_from_a_file_and_must_be_the_right_one(tmp_path):
    new_key("p384", tmp_path / "ci.pem", b"open sesame")
    (tmp_path / "secret").write_bytes(b"open sesame\r\nanother line\n")
    assert read_private_key(tmp_path / "ci.pem", tmp_path / "secret").public.kind == "p384"
    with pytest.raises(KeyInvalid, match="expected a passphrase, found none, and the key is encrypted"):
        read_private_key(tmp_path / "ci.pem")
    (tmp_path / "wrong").write_text("close sesame\n")
    with pytest.raises(KeyInvalid, match="expected a private key in PEM") as caught:
        read_private_key(tmp_path / "ci.pem", tmp_path / "wrong")
    assert caught.value.hint == "is it the passphrase of this key?"
    new_key("p384", tmp_path / "plain.pem")
    with pytest.raises(KeyInvalid, match="expected an encrypted key, found one without a passphrase"):
        read_private_key(tmp_path / "plain.pem", tmp_path / "secret")


@pytest.fixture
def public(tmp_path):
    new_key("p256", tmp_path / "ci.pem")
    return tmp_path / "ci.pub"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "found a key of another kind, RSAPublicKey"),
        (lambda: ec.generate_private_key(ec.SECP521R1()), "found one over secp521r1"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "found one over secp256k1"),
    ],
)
def test_a_key_of_another_kind_is_refused(tmp_path, key, words):
    path = tmp_path / "other.pub"
    path.write_bytes(key().public_key().public_bytes(PEM, SPKI))
    with pytest.raises(KeyInvalid, match="expected an Ed25519 key, or an ECDSA key") as caught:
        read_public_key(path)
    assert words in caught.value.message


def test_a_private_key_is_no_public_one_and_what_is_no_key_is_none(tmp_path, public):
    with pytest.raises(KeyInvalid, match="found a private key, which belongs on no machine that verifies"):
        read_public_key(tmp_path / "ci.pem")
    with pytest.raises(KeyInvalid, match="expected a private key in PEM"):
        read_private_key(public)
    for content in (b"", b"\xff\xfe", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        public.write_bytes(content)
        with pytest.raises(KeyInvalid, match="expected a public key in PEM"):
            read_public_key(public)
    public.write_bytes(b"x" * 70_000)
    with pytest.raises(KeyInvalid, match="expected a key of at most 65,536 bytes, found a larger file"):
        read_public_key(public)
    with pytest.raises(KeyInvalid, match="found no such file or directory"):
        read_public_key(tmp_path / "none.pub")
    with pytest.raises(KeyInvalid, match="expected a file, found a folder or a device"):
        read_public_key(tmp_path)


def test_a_link_out_of_the_folder_is_refused_and_one_within_it_followed(tmp_path, public):
    (tmp_path / "keys").mkdir()
    outside = tmp_path / "keys" / "ci.pub"
    outside.symlink_to(public)
    with pytest.raises(KeyInvalid, match="found a symbolic link out of it"):
        read_public_key(outside)
    # As Kubernetes mounts what is in a Secret.
    data = tmp_path / "mounted" / "..2026"
    data.mkdir(parents=True)
    (data / "ci.pub").write_bytes(public.read_bytes())
    (tmp_path / "mounted" / "..data").symlink_to("..2026")
    (tmp_path / "mounted" / "ci.pub").symlink_to("..data/ci.pub")
    assert read_public_key(tmp_path / "mounted" / "ci.pub").id == read_public_key(public).id
    (tmp_path / "mounted" / "loop.pub").symlink_to("loop.pub")
    with pytest.raises(KeyInvalid):
        read_public_key(tmp_path / "mounted" / "loop.pub")


def test_without_the_extra_a_key_says_what_to_install(public, monkeypatch):
    # As on a serving host that has installed nothing for it.
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for read in (read_public_key, read_private_key):
        with pytest.raises(ExtraMissing, match="keys and signatures: expected the extra `trust`") as caught:
            read(public)
        assert caught.value.hint == "`pip install 'lading-ml[trust]'`"
