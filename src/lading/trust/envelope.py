"""The envelope of a signed statement: DSSE within a sigstore bundle v0.3, or bare as cosign stores it.

Reads and writes bytes, and trusts none of them: what an envelope holds counts once ``attestation`` has
verified the signature. https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from lading.errors import AttachmentTooLarge, AttestationInvalid, mid_sentence
from lading.trust.keys import PrivateKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BYTES = 16 * 2**20

# How the first readers of version 0.3 wrote its name.
_MEDIA_TYPES = (MEDIA_TYPE, "application/vnd.dev.sigstore.bundle+json;version=0.3")


class Signature(msgspec.Struct):
    """One signature, in base64."""

    sig: str
    keyid: str | None = None


class Dsse(msgspec.Struct, rename="camel"):
    """An envelope as JSON has it."""

    payload: str
    payload_type: str
    signatures: list[Signature]


class _Hint(msgspec.Struct):
    hint: str | None = None


class _Material(msgspec.Struct, rename="camel"):
    public_key: _Hint | None = None
    certificate: Any = None
    x509_certificate_chain: Any = None


class _SigstoreBundle(msgspec.Struct, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: Dsse


class Envelope(msgspec.Struct, frozen=True):
    """What was signed, its signature, and the hint at the key, which nobody has verified yet."""

    payload: bytes
    signature: bytes
    hint: str

    @property
    def message(self) -> bytes:
        """Return the bytes that are signed: the payload with its type and its length."""
        return signed_message(self.payload)


def signed_message(payload: bytes) -> bytes:
    """Return the pre-authentication encoding of a statement."""
    # PAE of DSSE v1: lengths before the parts, so that no bytes of one can count as the other's.
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, key: PrivateKey) -> str:
    """Return a statement, signed, as the JSON of a sigstore bundle in one line."""
    signature = base64.b64encode(key.sign(signed_message(payload))).decode()
    return msgspec.json.encode(
        {
            "mediaType": MEDIA_TYPE,
            # No entries: a key signs without a transparency log, and none is asked.
            "verificationMaterial": {"publicKey": {"hint": key.public.id}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": signature}],
            },
        }
    ).decode()


def read_envelope(text: str, where: str) -> Envelope:
    """Read the JSON of a sigstore bundle, or of a bare DSSE envelope; `where` names it in errors.

    Raises `AttachmentTooLarge` above 16 MB, and `AttestationInvalid`.
    """
    # A character is a byte at least: nothing larger is encoded, parsed or copied.
    size = len(text) if len(text) > MAX_BYTES else len(text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise AttachmentTooLarge(where, expected=f"at most {MAX_BYTES:,} bytes", found=f"{size:,} bytes")
    dsse, hint = _dsse(text, where)
    if dsse.payload_type != PAYLOAD_TYPE:
        raise AttestationInvalid(
            where, expected=f"payloadType `{PAYLOAD_TYPE}`", found=f"`{dsse.payload_type}`"
        )
    if len(dsse.signatures) != 1:
        # With several, who is it that states it? Each signer writes an envelope of their own.
        count = len(dsse.signatures)
        raise AttestationInvalid(where, expected="one signature in each envelope", found=f"{count}")
    signature = dsse.signatures[0]
    payload = _decoded(dsse.payload, f"`payload` of {where}")
    return Envelope(payload, _decoded(signature.sig, f"`sig` of {where}"), hint or signature.keyid or "")


def _dsse(text: str, where: str) -> tuple[Dsse, str]:
    """Return the DSSE envelope in a text, and the hint at its key, empty without one."""
    try:
        values = msgspec.json.decode(text, type=dict[str, Any])
        # cosign attaches envelopes without the sigstore bundle around them.
        if "dsseEnvelope" not in values:
            return msgspec.convert(values, Dsse), ""
        bundle = msgspec.convert(values, _SigstoreBundle)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        reason = mid_sentence(str(error) or type(error).__name__)
        expected = "a sigstore bundle with a DSSE envelope"
        raise AttestationInvalid(where, expected=expected, found=f"another form: {reason}") from None
    if bundle.media_type not in _MEDIA_TYPES:
        raise AttestationInvalid(where, expected=f"mediaType `{MEDIA_TYPE}`", found=f"`{bundle.media_type}`")
    material = bundle.verification_material
    if material.public_key is None:
        raise AttestationInvalid(
            where,
            expected="a signature by a key",
            found="one by a certificate" if material.certificate else "no hint at a key",
            hint="lading verifies by keys in files, and asks no transparency log",
        )
    return bundle.dsse_envelope, material.public_key.hint or ""


def _decoded(text: str, where: str) -> bytes:
    try:
        # Without `validate` Python skips other characters, and one signature would have many texts.
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AttestationInvalid(where, expected="base64", found=mid_sentence(str(error))) from None
