"""Keys, attestations and trust policies for tests."""

from __future__ import annotations

import functools
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from lading.bundle import Bundle
from lading.trust.envelope import seal
from lading.trust.keys import KeyKind, PrivateKey, new_key, public_path, read_private_key
from lading.trust.signing import Author, attest, sign_bundle
from lading.trust.statement import APPROVAL, plain_statement, signature_statement, stamp_of


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="lading-test-keys-")


def key_of(name: str, kind: KeyKind = "p256") -> PrivateKey:
    """Return the key of somebody, the same each time."""
    return _key(name, kind)


@functools.cache
def _key(name: str, kind: KeyKind) -> PrivateKey:
    path = Path(_folder().name) / f"{name}-{kind}.pem"
    new_key(kind, path)
    return read_private_key(path)


def private_file(name: str, kind: KeyKind = "p256") -> Path:
    key_of(name, kind)
    return Path(_folder().name) / f"{name}-{kind}.pem"


def public_file(name: str, kind: KeyKind = "p256") -> Path:
    return public_path(private_file(name, kind))


def author(name: str = "ci", kind: KeyKind = "p256", *, days_ago: float = 0.0) -> Author:
    return Author(key_of(name, kind), name, time.time() - days_ago * 86_400)


def signature(bundle: Bundle, name: str = "ci", kind: KeyKind = "p256", **options: Any) -> str:
    return sign_bundle(bundle.manifest, bundle.digest, author(name, kind, **options))


def statement(bundle: Bundle, predicate: str = APPROVAL, name: str = "ann", **content: Any) -> str:
    return attest(bundle.manifest.name, bundle.digest, predicate, content, author(name))


def payload(bundle: Bundle) -> bytes:
    """Return what a signature of a bundle signs."""
    stamp = stamp_of(bundle.digest, bundle.manifest.name, actor="ci", reason="", now_s=time.time())
    return signature_statement(bundle.manifest.name, bundle.manifest, stamp)


def plain_payload(bundle: Bundle, predicate: str) -> bytes:
    stamp = stamp_of(bundle.digest, bundle.manifest.name, actor="ci", reason="", now_s=time.time())
    return plain_statement(predicate, {}, stamp)


def sealed(content: bytes, name: str = "ci", kind: KeyKind = "p256") -> str:
    return seal(content, key_of(name, kind))


def changed(text: str, **dsse: Any) -> str:
    """Return an attestation with other fields of its DSSE envelope."""
    values = msgspec.json.decode(text)
    values["dsseEnvelope"].update(dsse)
    return msgspec.json.encode(values).decode()


def policy_file(folder: Path, rules: str = "", *, keys: str = "ci:packer ann:approver") -> Path:
    """Write a trust policy with the keys ``name:role`` into a folder; by default it asks for a signature."""
    lines = []
    for word in keys.split():
        name, _, roles = word.partition(":")
        named = ", ".join(f'"{role}"' for role in roles.split(",") if role)
        lines.append(f'[key.{name}]\nfile = "{public_file(name)}"\nroles = [{named}]\n')
    path = folder / "trust.toml"
    path.write_text("\n".join(lines) + "\n" + (rules or '[[model]]\nnames = ["*"]\nallow = "code"\n'))
    return path
