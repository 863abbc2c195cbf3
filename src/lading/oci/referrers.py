"""What refers to a manifest in a repository: signatures and attestations, where cosign looks for them.

Under the tag ``sha256-<hex>.sig`` or ``.att`` that cosign reads, and as a referrer of the manifest: by the
API of distribution 1.1, or where a registry has none, by the index under ``sha256-<hex>``. Signs nothing.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from lading.errors import RegistryUnavailable
from lading.oci import INDEX, MANIFEST, Document, Repository, digest_of

Suffix = Literal["sig", "att"]

DSSE = "application/vnd.dsse.envelope.v1+json"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_KEY = "dev.cosignproject.cosign/signature"
PREDICATE_KEY = "predicateType"

_CONFIG = "application/vnd.oci.image.config.v1+json"
_ARTIFACT_TYPES: dict[Suffix, str] = {"sig": SIMPLE_SIGNING, "att": DSSE}
_MOST_LAYERS = 1000
_MAX_LAYER_BYTES = 16 * 2**20


class Attached(NamedTuple):
    """One signature or attestation: its bytes, and the annotations that its reader needs."""

    data: bytes
    annotations: dict[str, str]


def attestation(envelope: bytes) -> Attached:
    """Return a DSSE envelope as cosign stores it, with the type of its predicate beside it."""
    payload = msgspec.json.decode(base64.b64decode(msgspec.json.decode(envelope)["payload"]))
    return Attached(envelope, {SIGNATURE_KEY: "", PREDICATE_KEY: str(payload["predicateType"])})


def attach(repository: Repository, subject: Document, suffix: Suffix, items: Sequence[Attached]) -> str:
    """Add to what is attached to a manifest, each item once; return the tag that cosign reads.

    Raises `RegistryUnavailable`.
    """
    tag = cosign_tag(subject.digest, suffix)
    old = repository.manifest(tag)
    layers = _layers(repository, old, tag) if old is not None else []
    # One text signed by two people is one blob with two signatures beside it.
    known = {_identity(layer["digest"], layer.get("annotations") or {}) for layer in layers}
    for item in items:
        digest = digest_of(item.data)
        if _identity(digest, item.annotations) in known:
            continue
        repository.put_blob(item.data)
        known.add(_identity(digest, item.annotations))
        layers.append(
            {
                "mediaType": _ARTIFACT_TYPES[suffix],
                "digest": digest,
                "size": len(item.data),
                "annotations": item.annotations,
            }
        )
    config = _config(layers)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": _ARTIFACT_TYPES[suffix],
        "config": {"mediaType": _CONFIG, "digest": repository.put_blob(config), "size": len(config)},
        "layers": layers,
        "subject": _descriptor(subject.media_type or MANIFEST, subject.digest, len(subject.data)),
    }
    data = msgspec.json.encode(manifest, order="sorted")
    if old is None or old.digest != digest_of(data):
        repository.put_manifest(tag, data, MANIFEST)
    if not repository.has_referrers_api(subject.digest):
        # As the specification has clients do it where a registry does not.
        _index(repository, subject.digest, data, suffix, replaces=old)
    return tag


def attached(repository: Repository, digest: str, suffix: Suffix) -> list[Attached]:
    """Return what is attached to a manifest under cosign's tag, checked against its digests.

    Raises `RegistryUnavailable`.
    """
    tag = cosign_tag(digest, suffix)
    document = repository.manifest(tag)
    items = []
    for layer in _layers(repository, document, tag) if document is not None else ():
        with repository.open_blob(layer["digest"]) as source:
            data = source.read(_MAX_LAYER_BYTES + 1)
        if len(data) > _MAX_LAYER_BYTES:
            raise repository.transport.error(
                f"read `{tag}`", f"a layer of more than {_MAX_LAYER_BYTES:,} bytes"
            )
        items.append(Attached(data, dict(layer.get("annotations") or {})))
    return items


def detach(repository: Repository, digest: str) -> None:
    """Remove what is attached to a manifest that is gone, as far as the registry deletes at all."""
    for tag in (cosign_tag(digest, "sig"), cosign_tag(digest, "att"), digest.replace(":", "-")):
        # A registry that deletes nothing keeps it; nobody looks for it any more.
        with contextlib.suppress(RegistryUnavailable):
            document = repository.manifest(tag)
            if document is not None:
                repository.delete_manifest(document.digest)


def cosign_tag(digest: str, suffix: Suffix) -> str:
    """Return the tag under which cosign looks for what is attached to a manifest."""
    return f"{digest.replace(':', '-')}.{suffix}"


def _identity(digest: str, annotations: Mapping[str, str]) -> tuple[str, str]:
    return digest, annotations.get(SIGNATURE_KEY, "")


def _layers(repository: Repository, document: Document, tag: str) -> list[dict[str, Any]]:
    try:
        layers = msgspec.json.decode(document.data, type=dict[str, Any])["layers"]
        if len(layers) > _MOST_LAYERS:
            raise ValueError(f"{len(layers):,} layers")
        return [{**layer, "digest": str(layer["digest"])} for layer in layers]
    except (KeyError, TypeError, ValueError) as error:
        raise repository.transport.error(f"read `{tag}`", f"no manifest of signatures ({error})") from error


def _config(layers: Sequence[dict[str, Any]]) -> bytes:
    # Tools that take it for an image find one without a platform, and as many layers as there are.
    rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    return msgspec.json.encode({"architecture": "", "os": "", "config": {}, "rootfs": rootfs}, order="sorted")


def _index(
    repository: Repository, subject: str, data: bytes, suffix: Suffix, *, replaces: Document | None
) -> None:
    tag = subject.replace(":", "-")
    document = repository.manifest(tag)
    entries: list[dict[str, Any]] = []
    if document is not None:
        try:
            entries = list(msgspec.json.decode(document.data, type=dict[str, Any])["manifests"])
        except (KeyError, TypeError, ValueError) as error:
            raise repository.transport.error(f"read `{tag}`", f"no index of referrers ({error})") from error
    gone = replaces.digest if replaces is not None else ""
    entry = {
        **_descriptor(MANIFEST, digest_of(data), len(data)),
        "artifactType": _ARTIFACT_TYPES[suffix],
    }
    kept = [each for each in entries if each.get("digest") not in (gone, entry["digest"])]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*kept, entry]}
    repository.put_manifest(tag, msgspec.json.encode(index, order="sorted"), INDEX)


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}
