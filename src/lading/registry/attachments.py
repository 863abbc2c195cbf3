"""What is attached to bundles and images outside their digests: attestations, SBOMs, scans.

Stores texts by the digest that they are about, and judges none of them: ``trust`` does.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from lading.errors import AttachmentTooLarge, AttestationInvalid, InvalidReference, mid_sentence
from lading.ref import is_digest
from lading.registry.records import Attachment, AttachmentKind

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog

MAX_BODY_BYTES = 16 * 2**20
"""The longest text that is stored: a row is read as a whole, by every server that loads the bundle."""


ENVELOPE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""The media type of attestations."""


class Attachments:
    """The attachments in a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._rows = catalog.attachments

    def add(self, digest: str, kind: AttachmentKind, body: str, *, media_type: str, actor: str) -> Attachment:
        """Attach a text to a digest, once; return it with its id, the sha256 of its UTF-8 bytes.

        Raises `AttachmentTooLarge` for more than 16 MB, `InvalidReference` for what is no digest.
        """
        attachment = make_attachment(digest, kind, body, media_type=media_type, actor=actor)
        self._rows.add(attachment)
        return attachment

    def of(self, digest: str, kind: AttachmentKind | None = None) -> list[Attachment]:
        """Return the attachments of a digest in the order of adding, the first thousand."""
        return self._rows.of(digest, kind)

    def listed(self, digests: Collection[str]) -> list[Attachment]:
        """Return the attachments of many digests without their bodies, in the order of adding."""
        return self._rows.listed(digests)

    def remove(self, attachment: Attachment) -> bool:
        """Remove an attachment; return whether it existed."""
        return self._rows.remove(attachment.digest, attachment.kind, attachment.id)


def envelopes(attachments: Attachments, digest: str) -> list[bytes]:
    """Return the DSSE envelopes of the attestations of a digest, those that have one."""
    rows = attachments.of(digest, "attestation")
    return [envelope for row in rows if (envelope := dsse_envelope(row.body)) is not None]


class _Dsse(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[dict[str, str]]


def dsse_envelope(text: str) -> bytes | None:
    """Return the envelope within a sigstore bundle, or a bare one; None without one that can be read."""
    try:
        values = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        raw = values.get("dsseEnvelope", text.encode())
        dsse = msgspec.json.decode(raw, type=_Dsse)
        # Its reader looks for a predicate's type.
        msgspec.json.decode(base64.b64decode(dsse.payload), type=_Predicate)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    # DSSE leaves `keyid` out or in; the envelopes of cosign itself have it, and empty.
    signatures = [{"keyid": each.get("keyid", ""), "sig": each.get("sig", "")} for each in dsse.signatures]
    envelope = {"payloadType": dsse.payload_type, "payload": dsse.payload, "signatures": signatures}
    return msgspec.json.encode(envelope)


class _Predicate(msgspec.Struct, rename="camel"):
    predicate_type: str


def json_object(text: str) -> str:
    """Return a text that is a JSON object; raises `AttestationInvalid` for anything else."""
    if len(text) > MAX_BODY_BYTES:
        raise AttachmentTooLarge("attestation", expected=f"at most {MAX_BODY_BYTES:,} bytes", found="more")
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        actual = f"another form: {mid_sentence(str(error))}"
        raise AttestationInvalid("attestation", expected="a JSON object", found=actual) from None
    return text


def make_attachment(
    digest: str, kind: AttachmentKind, body: str, *, media_type: str, actor: str
) -> Attachment:
    """Return a text as an attachment of a digest; raises as `Attachments.add`."""
    if not is_digest(digest):
        raise InvalidReference(f"digest `{digest}`", expected="`sha256:` and 64 hexadecimal digits")
    data = body.encode()
    if len(data) > MAX_BODY_BYTES:
        raise AttachmentTooLarge(
            f"{kind} of `{digest}`",
            expected=f"at most {MAX_BODY_BYTES:,} bytes",
            found=f"{len(data):,} bytes",
        )
    # Of the text alone: the same one about two digests has one id, and two rows.
    identity = hashlib.sha256(data).hexdigest()
    return Attachment(digest=digest, kind=kind, id=identity, actor=actor, media_type=media_type, body=body)
