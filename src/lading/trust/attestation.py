"""Attestations: statements whose signature a known key has verified. Judges nothing that they state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from lading.bundle.manifest import Manifest
from lading.errors import SignatureInvalid, SignerUnknown
from lading.trust.envelope import Envelope, read_envelope
from lading.trust.keys import PublicKey
from lading.trust.statement import Statement, read_statement


@dataclass(frozen=True)
class Attestation:
    """A verified statement, the key that signed it, and the sha256 of its text."""

    id: str
    statement: Statement
    key: PublicKey


def name_of(text: str) -> str:
    """Return how messages name the attestation with this text: by the first digits of its sha256."""
    # Cut before it is hashed: the text may be of any size, and the name is for people alone.
    start = text[: 1 << 20].encode(errors="surrogatepass")
    return f"attestation `{hashlib.sha256(start).hexdigest()[:12]}`"


def attestation_id(text: str) -> str:
    """Return the sha256 of an attestation's text, by which a catalog keeps it."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def verify(
    text: str, keys: Sequence[PublicKey], digest: str, manifest: Manifest | None = None
) -> Attestation:
    """Return the statement in `text` if one of the `keys` signed it, and if it is about the bundle `digest`.

    With the `manifest`, every file that was signed is compared as well. Raises `AttachmentTooLarge`,
    `AttestationInvalid`, `SignerUnknown`, `SignatureInvalid` and `SubjectMismatch`.
    """
    where = name_of(text)
    envelope = read_envelope(text, where)
    key = _signer(envelope, keys, where)
    statement = read_statement(envelope.payload, where)
    statement.check_about(digest, manifest, where)
    return Attestation(attestation_id(text), statement, key)


def peek(text: str) -> tuple[Envelope, Statement]:
    """Read an attestation that nobody has verified: to show it, never to believe it.

    Raises `AttachmentTooLarge` and `AttestationInvalid`.
    """
    where = name_of(text)
    envelope = read_envelope(text, where)
    return envelope, read_statement(envelope.payload, where)


def _signer(envelope: Envelope, keys: Sequence[PublicKey], where: str) -> PublicKey:
    # The hint only says where to begin: it is not signed, and anybody may have written it.
    hinted = [key for key in keys if envelope.hint == key.id]
    # Others as well: a copy of the key may have been written in another form of PEM.
    for key in (*hinted, *(key for key in keys if key not in hinted)):
        if key.verifies(envelope.message, envelope.signature):
            return key
    if hinted:
        raise SignatureInvalid(
            where,
            expected=f"a signature by the key {hinted[0].short_id}, which it names",
            found="one that this key did not make over these bytes",
            hint="it was changed after it was signed, or copied with another signature",
        )
    named = f"the key with the hint {envelope.hint[:16]}" if envelope.hint else "a key that it does not name"
    count = "one key" if len(keys) == 1 else f"one of {len(keys)} keys"
    raise SignerUnknown(where, expected=f"a signature by {count} that counts here", found=f"one by {named}")
