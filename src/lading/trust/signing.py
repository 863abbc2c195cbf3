"""Makes attestations: a packer signs, others approve or attest what was measured. Stores nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from lading.bundle.manifest import Manifest
from lading.errors import AttestationInvalid, UsageError
from lading.evidence import Evidence
from lading.trust.envelope import seal
from lading.trust.keys import PrivateKey
from lading.trust.statement import (
    EVIDENCE,
    SIGNATURE,
    STAMP,
    plain_statement,
    signature_statement,
    stamp_of,
)


@dataclass(frozen=True)
class Author:
    """Who states something with which key, why, and when: ``now_s`` is a Unix time."""

    key: PrivateKey
    actor: str
    now_s: float
    reason: str = ""


def sign_bundle(manifest: Manifest, digest: str, author: Author) -> str:
    """Return the signature of a bundle, which model-signing verifies over its folder as well."""
    stamp = stamp_of(digest, manifest.name, actor=author.actor, reason=author.reason, now_s=author.now_s)
    return seal(signature_statement(manifest.name, manifest, stamp), author.key)


def attest(name: str, digest: str, predicate_type: str, predicate: dict[str, Any], author: Author) -> str:
    """Return an attestation of any type but a signature about a bundle or an image, by its digest.

    Raises `UsageError` for a signature, and for a predicate with a key that is lading's own;
    `AttestationInvalid` for evidence that is none, is about another bundle, or does not hold.
    """
    # It covers each file by its digest, which takes a manifest and not the content of a predicate.
    if predicate_type == SIGNATURE:
        raise UsageError("predicate", expected="another one than a signature", hint="`lading sign` makes it")
    if STAMP in predicate:
        raise UsageError("predicate", expected=f"no key `{STAMP}`, which lading adds", found="one")
    if predicate_type == EVIDENCE:
        # Checked before it is signed, too: a key should not vouch for what the gate then refuses.
        check_evidence(predicate, digest)
    stamp = stamp_of(digest, name, actor=author.actor, reason=author.reason, now_s=author.now_s)
    return seal(plain_statement(predicate_type, predicate, stamp), author.key)


def check_evidence(predicate: dict[str, Any], digest: str, where: str = "evidence") -> Evidence:
    """Return the evidence in a predicate; raises `AttestationInvalid` unless it holds for this bundle."""
    try:
        evidence = msgspec.convert(predicate.get("evidence"), Evidence)
    except msgspec.ValidationError as error:
        raise AttestationInvalid(where, expected="evidence", found=f"another form: {error}") from None
    # The evidence names its bundle itself, which a copy into another statement does not change.
    if evidence.bundle != digest or not evidence.holds:
        actual = "evidence that it does not" if evidence.bundle == digest else "that of another bundle"
        raise AttestationInvalid(where, expected="evidence that this bundle holds", found=actual)
    return evidence
