"""Signatures of images in a registry, as cosign makes and verifies them; and what their bundles bring along.

https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from lading.errors import KeyInvalid
from lading.image.inspect import inspect
from lading.image.remote import RemoteImage
from lading.oci.referrers import SIGNATURE_KEY, Attached, attach, attestation
from lading.registry.attachments import dsse_envelope
from lading.trust.signing import Author, attest

IMAGE_PREDICATE = "urn:lading:image:v1"
"""The predicate of an image: the bundles in it, each with its digest."""

_KINDS = ("p256", "ed25519")


def sign_image(image: RemoteImage, author: Author) -> str:
    """Sign an image for cosign, and attest which bundles are in it; return its digest.

    Raises `ImageNotFound`, and `KeyInvalid` for a P-384 key, which versions of cosign hash differently.
    """
    key = author.key
    if key.public.kind not in _KINDS:
        hint = "`lading key new --kind p256` makes one"
        expected = "a P-256 or Ed25519 key, as every cosign verifies them"
        raise KeyInvalid("key that signs an image", expected=expected, found="a P-384 key", hint=hint)
    root = image.root()
    repository = image.repository
    # Without the tag: tags move, and the signature is of the digest.
    payload = _simple_signing(f"{repository.host}/{repository.name}", root.digest)
    signature = base64.b64encode(key.sign(payload)).decode()
    attach(repository, root, "sig", [Attached(payload, {SIGNATURE_KEY: signature})])
    # By digest: each platform of an index has the same bundles.
    bundles = {entry.digest: entry.name for each in inspect(image).platforms for entry in each.bundles}
    predicate = {"bundles": [{"name": name, "digest": digest} for digest, name in bundles.items()]}
    name = f"{repository.host}/{repository.name}"
    carry_attestations(image, [attest(name, root.digest, IMAGE_PREDICATE, predicate, author)])
    return root.digest


def carry_attestations(image: RemoteImage, texts: Sequence[str]) -> None:
    """Attach attestations to an image, such as those of the bundles in it: for cosign, and as referrers."""
    envelopes = [envelope for text in texts if (envelope := dsse_envelope(text)) is not None]
    if envelopes:
        attach(image.repository, image.root(), "att", [*map(attestation, envelopes)])


def _simple_signing(name: str, digest: str) -> bytes:
    return msgspec.json.encode(
        {
            "critical": {
                "identity": {"docker-reference": name},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            # cosign writes it also where nothing is annotated.
            "optional": None,
        }
    )
