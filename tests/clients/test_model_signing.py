"""OpenSSF model-signing over our signatures, and lading over theirs; DSSE as two more libraries read it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lading.bundle import Bundle
from lading.errors import SubjectMismatch
from lading.registry.attachments import dsse_envelope
from lading.trust.attestation import verify
from lading.trust.keys import KINDS
from support.bundles import linear_bundle
from support.python_bundles import python_bundle
from support.signing import key_of, private_file, public_file, signature, statement

PROGRAM = Path(__file__).parents[2] / ".venv-clients" / "model_signing" / "bin" / "model_signing"


def model_signing(*words: object, code: int = 0) -> str:
    command = [str(PROGRAM), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(params=[linear_bundle, python_bundle], ids=["onnx", "python"])
def bundle(request, tmp_path) -> Bundle:
    return request.param(tmp_path / "it.bundle")


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_model_signing_accepts_our_signature_and_refuses_a_changed_byte(bundle, tmp_path, kind):
    sig = tmp_path / "model.sig"
    sig.write_text(signature(bundle, kind=kind))
    words = ("verify", "key", bundle.path, "--signature", sig, "--public_key")
    assert "Verification succeeded" in model_signing(*words, public_file("ci", kind))
    model_signing(*words, public_file("ann", kind), code=1)
    changed = next(path for path in sorted(bundle.path.rglob("*")) if path.is_file())
    changed.chmod(0o644)
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    assert "Verification failed" in model_signing(*words, public_file("ci", kind), code=1)


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_we_accept_their_signature_and_refuse_it_for_another_bundle(bundle, tmp_path, kind):
    sig = tmp_path / "model.sig"
    model_signing("sign", "key", bundle.path, "--private_key", private_file("ci", kind), "--signature", sig)
    attestation = verify(sig.read_text(), [key_of("ci", kind).public], bundle.digest, bundle.manifest)
    assert attestation.statement.title == "signature"
    other = linear_bundle(tmp_path / "other.bundle", seed=5)
    with pytest.raises(SubjectMismatch):
        verify(sig.read_text(), [key_of("ci", kind).public], other.digest, other.manifest)
    # Signed together with a file that is none of the bundle's.
    copied = shutil.copytree(bundle.path, tmp_path / "copied")
    (copied / "extra").write_text("x")
    model_signing("sign", "key", copied, "--private_key", private_file("ci", kind), "--signature", sig)
    with pytest.raises(SubjectMismatch, match="`extra`, found one that the bundle does not have"):
        verify(sig.read_text(), [key_of("ci", kind).public], bundle.digest, bundle.manifest)


@pytest.mark.parametrize("kind", KINDS)
def test_our_envelopes_are_dsse_for_others(tmp_path, in_environment, kind):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    texts = [signature(bundle, kind=kind)]
    if kind == "p256":
        texts.append(statement(bundle, name="ci"))
    lines = tmp_path / "envelopes"
    lines.write_text("".join(f"{dsse_envelope(text).decode()}\n" for text in texts))
    stated = in_environment(
        "model_signing", "model_signing_client.py", str(lines), str(public_file("ci", kind))
    )
    assert len(stated.splitlines()) == len(texts)
    assert ("sigstore" in stated) == (kind == "p256")
