"""Whether the keys that somebody names have signed a bundle; for that nothing of it is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lading.cli.ui.attestation_view import attestation_json, attested_texts, imported_texts, stated_bundle
from lading.errors import LadingError, PolicyNotMet

if TYPE_CHECKING:
    from lading.bundle import Manifest
    from lading.ref import Ref


class Signed(NamedTuple):
    """What a key has signed, for people and as JSON."""

    text: str
    json: dict[str, object]


def check_signers(
    bundle: Ref | Path, key_files: Sequence[Path], files: Sequence[Path], registry: str | None
) -> list[Signed]:
    """Return the signature of each key. Raises the `TrustError` by which one is missing or does not count."""
    manifest, digest, title = stated_bundle(bundle, registry)
    texts = attested_texts(bundle, digest, registry)
    for file in files:
        texts += imported_texts(file)
    return [_signature(path, texts, manifest, digest, title) for path in key_files]


def _signature(path: Path, texts: Sequence[str], manifest: Manifest, digest: str, title: str) -> Signed:
    from lading.trust.attestation import verify
    from lading.trust.keys import read_public_key
    from lading.trust.statement import SIGNATURE

    key = read_public_key(path)
    refused: list[LadingError] = []
    stated: list[str] = []
    for text in texts:
        try:
            # With this key alone: the sentence has to say which of several keys is missing.
            attestation = verify(text, [key], digest, manifest)
        except LadingError as error:
            refused.append(error)
            continue
        if attestation.statement.predicate_type == SIGNATURE:
            values = attestation_json(text)
            at = f" on {values['signed_at']}" if values["signed_at"] else ""
            line = f"signed by `{path}` ({key.kind} key {key.short_id}…){at}"
            return Signed(line, {"key_file": str(path), **values})
        stated.append(attestation.statement.title)
    where = f"`{title}`"
    if len(refused) == 1 and not stated:
        # With several, most are other people's, who signed it rightly with keys of their own.
        (only,) = refused
        raise type(only)(f"{where}, {only.where}", expected=only.expected, found=only.found, hint=only.hint)
    reasons = "; ".join(error.message for error in refused[:3])
    raise PolicyNotMet(
        where,
        expected=f"a signature by the key {key.short_id}… in `{path}`",
        found=f"its {', '.join(stated)}" if stated else f"none among {len(texts)}" if texts else "none",
        hint=reasons or f"`lading sign {title} --key KEY.pem` makes one",
    )
