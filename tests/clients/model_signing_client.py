"""DSSE as securesystemslib and sigstore-python read it, offline: ``… ENVELOPES PUBLIC_KEY``, line by line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from sigstore import dsse as sigstore


def check(line: str, public: object) -> str:
    """Verify one envelope, and then one with a changed byte, which must be refused."""
    envelope = json.loads(line)
    key = SSlibKey.from_crypto(public)
    # It looks signatures up by the id of the key, which DSSE leaves open.
    for signature in envelope["signatures"]:
        signature["keyid"] = key.keyid
    text = json.dumps(envelope)
    Envelope.from_dict(json.loads(text)).verify([key], 1)
    forged = json.loads(text)
    forged["payload"] = "AAAA" + forged["payload"][4:]
    try:
        Envelope.from_dict(forged).verify([key], 1)
    except VerificationError:
        pass
    else:
        raise AssertionError("a changed byte was not noticed")
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        return "securesystemslib"
    # sigstore-python verifies keys of this curve alone, and reads the statement strictly.
    payload = sigstore._verify(public, sigstore.Envelope._from_json(text))
    statement = sigstore.Statement(payload)
    assert statement._inner.type_ == "https://in-toto.io/Statement/v1"
    return "securesystemslib, sigstore"


if __name__ == "__main__":
    public = load_pem_public_key(Path(sys.argv[2]).read_bytes())
    for line in Path(sys.argv[1]).read_text().splitlines():
        print(check(line, public))
