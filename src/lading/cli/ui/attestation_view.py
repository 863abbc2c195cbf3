"""How keys and attestations are shown, and what those of a bundle are. Believes nothing that it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui.parameters import FILE, actor_option, current_actor, open_registry
from lading.clock import iso_time
from lading.errors import LadingError
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle import Manifest
    from lading.registry import Registry
    from lading.trust.keys import PublicKey
    from lading.trust.signing import Author

_MOST_SHOWN = 8

key_option = click.option(
    "--key", "key_file", type=FILE, required=True, metavar="KEY.pem", help="Private key that signs."
)
passphrase_option = click.option(
    "--passphrase-file", type=FILE, help="File whose first line decrypts the private key."
)


def signing_options(command: Any) -> Any:
    """Return `command` with the options of those that sign something."""
    for option in (actor_option, passphrase_option):
        command = option(command)
    return command


def author_of(key_file: Path, passphrase_file: Path | None, actor: str | None, reason: str) -> Author:
    """Return who signs now. Raises `KeyInvalid`."""
    import time

    from lading.trust.keys import read_private_key
    from lading.trust.signing import Author

    key = read_private_key(key_file, passphrase_file)
    return Author(key, current_actor(actor), time.time(), reason)


def stated_bundle(bundle: Ref | Path, registry: str | None) -> tuple[Manifest, str, str]:
    """Return the manifest and the digest of what is signed, and how people call it; every byte is checked."""
    if isinstance(bundle, Path):
        from lading.bundle import Bundle

        opened = Bundle.open(bundle)
        return opened.manifest, opened.digest, str(bundle)
    with open_registry(registry) as from_registry:
        version = from_registry.resolve(bundle)
        return from_registry.fetch(version).manifest, version.digest, str(version.ref)


def keep(bundle: Ref | Path, digest: str, texts: Sequence[str], registry: str | None, actor: str) -> str:
    """Keep attestations: of a folder in the file beside it, of a version in the registry; return where."""
    if isinstance(bundle, Path):
        from lading.registry.beside import add_beside

        return str(add_beside(bundle, texts))
    # By digest: a tag may have moved since the bundle was looked at, and the signature is about its bytes.
    with open_registry(registry) as opened:
        version = opened.resolve(Ref(bundle.name, digest=digest))
        for text in texts:
            opened.attest(digest, text, by=actor, version=version)
        return opened.where


def attested_texts(bundle: Ref | Path, digest: str, registry: str | None) -> list[str]:
    """Return the attestations of a bundle: those beside its folder, or those of its registry."""
    if isinstance(bundle, Path):
        from lading.registry.beside import read_beside

        return read_beside(bundle)
    with open_registry(registry) as opened:
        return [row.body for row in opened.attachments.of(digest, "attestation")]


def imported_texts(file: Path) -> list[str]:
    """Return the attestations in a file: one JSON document, or one in each line.

    Raises `AttachmentTooLarge` above 64 MB.
    """
    import msgspec

    from lading.errors import AttachmentTooLarge
    from lading.registry.attachments import MAX_BODY_BYTES
    from lading.registry.beside import one_line

    size = file.stat().st_size
    if size > 4 * MAX_BODY_BYTES:
        most = f"at most {4 * MAX_BODY_BYTES:,} bytes"
        raise AttachmentTooLarge(f"`{file}`", expected=most, found=f"{size:,} bytes")
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        # Other signers write one document over many lines.
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return [line for line in text.split("\n") if line.strip()]
    return [one_line(text)]


def key_json(key: PublicKey) -> dict[str, str]:
    """Return a public key as JSON output has it."""
    return {"kind": key.kind, "id": key.id}


def key_fields(key: PublicKey) -> list[tuple[str, str]]:
    """Return a public key as names and values."""
    return [("kind", key.kind), ("id", key.id)]


def attestation_json(text: str) -> dict[str, Any]:
    """Return what an attestation states as JSON output has it; nobody has verified it here."""
    from lading.trust.attestation import attestation_id, peek

    known: dict[str, Any] = {"id": attestation_id(text)}
    try:
        envelope, statement = peek(text)
    except LadingError as error:
        return {**known, "error": error.message}
    signed_at = iso_time(statement.signed_at) if statement.signed_at is not None else None
    return {
        **known,
        "predicate": statement.predicate_type,
        "key": envelope.hint,
        "signed_at": signed_at,
        "actor": statement.actor,
        "reason": statement.reason,
        "digests": statement.digests,
    }


def attestation_lines(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return attestations as names and values, the first few of them."""
    lines = []
    for text in texts:
        stated = attestation_json(text)
        if "error" in stated:
            lines.append(("attested", stated["error"]))
            continue
        by = f" by {stated['actor']}" if stated["actor"] else ""
        at = f" on {stated['signed_at']}" if stated["signed_at"] else ""
        lines.append(("attested", f"{_title(stated['predicate'])}{by}{at}, key {stated['key'][:16] or '?'}"))
    if len(lines) > _MOST_SHOWN:
        lines[_MOST_SHOWN:] = [("attested", f"{len(lines) - _MOST_SHOWN} more")]
    return lines


def signed_by(registry: Registry, digests: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return by digest the ids of the keys that say to have signed a bundle; nobody has verified it here."""
    attested = {row.digest for row in registry.attachments.listed(digests) if row.kind == "attestation"}
    if not attested:
        return {}
    # Only now: it needs numpy, which takes as long as all the rest of a list.
    from lading.trust.attestation import peek
    from lading.trust.statement import SIGNATURE

    signed: dict[str, tuple[str, ...]] = {}
    for digest in attested:
        keys = []
        for row in registry.attachments.of(digest, "attestation"):
            try:
                envelope, statement = peek(row.body)
            except LadingError:
                continue  # `lading show` says what is wrong with it.
            if statement.predicate_type == SIGNATURE:
                keys.append(envelope.hint)
        signed[digest] = tuple(dict.fromkeys(keys))
    return signed


def _title(predicate: str) -> str:
    from lading.trust.statement import SHORT_NAMES

    return next((name for name, uri in SHORT_NAMES.items() if uri == predicate), predicate)
