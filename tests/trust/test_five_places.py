"""What must not count, at every place where a bundle is let in: each refused with its own sentence."""

from __future__ import annotations

import contextlib
import functools
import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lading.bundle import Bundle
from lading.cli import main
from lading.registry import Registry
from lading.registry.beside import beside
from lading.registry.records import Attachment
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import State
from lading.server.loading.manager import Manager
from lading.server.loading.policy import Wanted
from lading.server.loading.trust import load_gate
from lading.trust.attestation import attestation_id
from support.bundles import linear_bundle
from support.recorded_evidence import push_proved
from support.signing import changed, payload, plain_payload, policy_file, public_file, sealed, signature
from support.waiting import wait_until

RULES = '[[model]]\nnames = ["*"]\nmax_age_days = 30\n'


class Case(NamedTuple):
    """What is attested about a bundle, and the words in which it is refused."""

    texts: Callable[[Bundle], list[str]]
    words: str
    keys: Callable[[Path], str] | None = None  # changes the folder of the policy


@functools.cache
def other() -> Bundle:
    return linear_bundle(Path(tempfile.mkdtemp(prefix="lading-test-")) / "other.bundle", seed=7)


def one_changed_byte(bundle: Bundle) -> list[str]:
    text = signature(bundle)
    encoded = msgspec.json.decode(text)["dsseEnvelope"]["payload"]
    return [changed(text, payload=("f" if encoded[400] != "f" else "g").join((encoded[:400], encoded[401:])))]


def twice_signed(bundle: Bundle) -> list[str]:
    signatures = msgspec.json.decode(signature(bundle))["dsseEnvelope"]["signatures"]
    return [changed(signature(bundle), signatures=signatures * 2)]


def rsa_key(folder: Path) -> str:
    key = rsa.generate_private_key(65537, 2048).public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "rsa.pub").write_bytes(key.public_bytes(serialization.Encoding.PEM, spki))
    return "rsa.pub"


def linked_key(folder: Path) -> str:
    (folder / "link.pub").symlink_to(public_file("ci"))
    return "link.pub"


CASES = {
    "nothing": Case(lambda _: [], "expected a signature, found none"),
    "one changed byte": Case(one_changed_byte, "found one that this key did not make over these bytes"),
    "another key": Case(lambda bundle: [signature(bundle, "mallory")], "found one by the key with the hint"),
    "another digest": Case(
        lambda bundle: [sealed(payload(bundle).replace(bundle.digest.encode(), b"sha256:" + b"0" * 64))],
        "expected `lading` to name what the statement is about",
    ),
    "replayed": Case(lambda _: [signature(other())], "expected a statement about `sha256:"),
    "expired": Case(lambda bundle: [signature(bundle, days_ago=40)], "found one of 40.0 days ago"),
    "unknown predicate": Case(
        lambda bundle: [sealed(plain_payload(bundle, "urn:x:y"))], "expected a predicate of lading's"
    ),
    "truncated": Case(lambda bundle: [signature(bundle)[:-200]], "expected a sigstore bundle with a DSSE"),
    "100 MB": Case(lambda _: ["x" * (100 * 2**20)], "expected at most"),
    "wrong payloadType": Case(
        lambda bundle: [changed(signature(bundle), payloadType="text/plain")], "expected payloadType `"
    ),
    "several signatures": Case(twice_signed, "expected one signature in each envelope, found 2"),
    "key of the wrong kind": Case(lambda bundle: [signature(bundle)], "found a key of another kind", rsa_key),
    "symlinked key": Case(lambda bundle: [signature(bundle)], "found a symbolic link out of it", linked_key),
}


class Prepared(NamedTuple):
    """A bundle and a version of it about which the same is attested, and the policy that refuses both."""

    bundle: Bundle
    registry: Path
    policy: Path
    folder: Path


@functools.cache
def prepared(name: str) -> Prepared:
    folder = Path(tempfile.mkdtemp(prefix="lading-test-"))
    case = CASES[name]
    bundle = linear_bundle(folder / "iris.bundle")
    texts = case.texts(bundle)
    with Registry.open(str(folder / "registry")) as registry:
        push_proved(registry, bundle)
        for text in texts:
            # Past the registry's own limit, as somebody would who can write to its database.
            identity = attestation_id(text)
            registry.catalog.attachments.add(
                Attachment(
                    digest=bundle.digest,
                    kind="attestation",
                    id=identity,
                    media_type="",
                    actor="",
                    body=text,
                )
            )
    beside(bundle.path).write_text("".join(f"{text}\n" for text in texts))
    policy = policy_file(folder, RULES, keys="ci:packer")
    if case.keys is not None:
        file = case.keys(folder)
        policy.write_text(policy.read_text().replace(str(public_file("ci")), file))
    return Prepared(bundle, folder / "registry", policy, folder)


@pytest.fixture(scope="module", autouse=True)
def cleaned():
    yield
    for name in CASES:
        shutil.rmtree(prepared(name).folder, ignore_errors=True)
    shutil.rmtree(other().path.parent)
    prepared.cache_clear()
    other.cache_clear()


def command(*words: object) -> str:
    """Run a command that has to be refused, and return its sentence."""
    with contextlib.redirect_stderr(io.StringIO()) as stderr, contextlib.redirect_stdout(io.StringIO()):
        code = main([str(word) for word in words])
    assert code in (1, 2), stderr.getvalue()
    return stderr.getvalue()


def push(at: Prepared) -> str:
    elsewhere = at.folder / "elsewhere"
    refused = command("push", at.bundle.path, "--registry", elsewhere, "--trust-policy", at.policy)
    with Registry.open(str(elsewhere)) as registry:
        assert registry.models() == []
        assert list(registry.store.blobs()) == []
    return refused


def release(at: Prepared) -> str:
    refused = command("release", "iris:1", "--registry", at.registry, "--trust-policy", at.policy)
    with Registry.open(str(at.registry)) as registry:
        assert registry.releases.current("iris") is None
    return refused


def image(at: Prepared) -> str:
    to = at.folder / "image"
    words = ("--base", "oci:/nonexistent", "--to", f"oci:{to}", "--registry", at.registry)
    refused = command("image", "build", "iris:1", *words, "--trust-policy", at.policy)
    assert command("image", "build", at.bundle.path, *words, "--trust-policy", at.policy)
    assert not to.exists()
    return refused


def batch(at: Prepared) -> str:
    rows = at.folder / "rows.csv"
    rows.write_text("X0,X1,X2,X3\n1,2,3,4\n")
    words = ("--input", rows, "--output", at.folder / "scored", "--trust-policy", at.policy)
    refused = command("batch", "run", at.bundle.path, *words)
    assert command("batch", "run", "iris:1", *words, "--registry", at.registry)
    assert not (at.folder / "scored").exists()
    return refused


def load(at: Prepared) -> str:
    plane = DataPlane()
    try:
        gate = load_gate(str(at.policy))
    except Exception as error:  # noqa: BLE001 - a server does not even start; its command says so
        return str(error)
    with Registry.open(str(at.registry)) as registry:
        version = registry.resolve("iris:1")
        wanted = Wanted(
            "iris",
            1,
            version.digest,
            lambda: registry.fetch(version),
            attested=lambda: registry.admission.attested(version.digest),
        )
        manager = Manager(plane, threads=1, gate=gate)
        manager.want([wanted])
        manager.start()
        try:
            wait_until(lambda: "iris" in plane.models and plane.find("iris").state is State.FAILED)
            assert plane.readiness.obstacle().health == "failed"
            assert plane.readiness.obstacle().reason == plane.find("iris").reason
            return plane.find("iris").reason
        finally:
            manager.close()


PLACES = {"push": push, "load": load, "image": image, "release": release, "batch": batch}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "100 MB")) for name in CASES]
)
def test_what_must_not_count_is_refused_with_its_own_sentence(name, place, monkeypatch):
    monkeypatch.delenv("LADING_TRUST_POLICY", raising=False)
    sentence = PLACES[place](prepared(name))
    assert CASES[name].words in sentence
    if CASES[name].keys is None and name != "100 MB":
        verbs = {"push": "pushed", "load": "loaded", "image": "put into", "release": "released"}
        assert f"is not {verbs.get(place, 'scored with')}" in sentence


def test_each_case_has_words_of_its_own():
    assert len({case.words for case in CASES.values()}) == len(CASES)
