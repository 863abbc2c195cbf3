"""Keys in PEM files: Ed25519, and ECDSA over P-256 and P-384, each with the hash of its size.

Keeps no secrets, and knows no formats of what is signed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from lading.errors import KeyInvalid, missing_extra, one_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    AnyPublicKey = Ed25519PublicKey | EllipticCurvePublicKey
    AnyPrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

KeyKind = Literal["ed25519", "p256", "p384"]
KINDS: tuple[KeyKind, ...] = get_args(KeyKind)

# How SEC 2 names the curves that NIST calls P-256 and P-384.
_CURVES: dict[str, KeyKind] = {"secp256r1": "p256", "secp384r1": "p384"}
_WORDS = "an Ed25519 key, or an ECDSA key over P-256 or P-384"
# An encrypted key in PEM has less than a kilobyte; the rest is room for comments around it.
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies; ``id`` is the sha256 of its PEM form, as ``sha256sum ci.pub`` prints it.

    Model-signing writes it beside a signature, so that a reader knows which key it needs.
    """

    kind: KeyKind
    id: str
    pem: str
    _key: AnyPublicKey

    @property
    def short_id(self) -> str:
        """Return the digits by which people know it."""
        return self.id[:16]

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether the private half of this key has signed the message."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519

        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, ec.ECDSA(_hash_of(self.kind)))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, repr=False)
class PrivateKey:
    """A key that signs."""

    public: PublicKey
    _key: AnyPrivateKey

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message: 64 bytes for Ed25519, DER for ECDSA."""
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519

        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, ec.ECDSA(_hash_of(self.public.kind)))


def read_public_key(path: Path | str) -> PublicKey:
    """Read a public key from a PEM file. Raises `KeyInvalid`, and `ExtraMissing` without `cryptography`."""
    path = Path(path)
    data = _read(path)
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    # Refused although the public half could be computed: it does not belong on a server.
    if b"PRIVATE KEY-----" in data:
        hint = f"`openssl pkey -in {path} -pubout` writes the public half"
        raise _invalid(path, "a public key", "a private key, which belongs on no machine that verifies", hint)
    try:
        return _public(path, serialization.load_pem_public_key(data))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _invalid(path, "a public key in PEM", one_line(error) or "another form") from None


def read_private_key(path: Path | str, passphrase_file: Path | None = None) -> PrivateKey:
    """Read a private key from a PEM file, decrypted with the first line of another file, if one is named.

    Raises `KeyInvalid`, and `ExtraMissing` without `cryptography`.
    """
    path = Path(path)
    data = _read(path)
    passphrase = None
    if passphrase_file is not None:
        # Editors end the line, some as Windows does, and no passphrase is meant to end in that.
        passphrase = _read(passphrase_file).split(b"\n", 1)[0].rstrip(b"\r")
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(data, passphrase)
    except TypeError:
        # How the library says that there is a passphrase too many, or one too few.
        if passphrase is None:
            hint = "name the file that holds its passphrase with `--passphrase-file`"
            raise _invalid(path, "a passphrase", "none, and the key is encrypted", hint) from None
        raise _invalid(path, "an encrypted key", "one without a passphrase", "leave the file out") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        doubt = "is it the passphrase of this key?" if passphrase is not None else None
        raise _invalid(path, "a private key in PEM", one_line(error) or "another form", doubt) from None
    public = _public(path, key.public_key())
    return PrivateKey(public, key)  # type: ignore[arg-type]  # `_public` has refused every other kind


def new_key(kind: KeyKind, path: Path, passphrase: bytes | None = None) -> PublicKey:
    """Write a new private key to `path`, for its owner's eyes alone, and its public half to `path`.pub.

    Raises `KeyInvalid` if either file exists: a key that is lost cannot be made again.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key: AnyPrivateKey
    if kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = ec.generate_private_key(ec.SECP256R1() if kind == "p256" else ec.SECP384R1())
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    public = _public(path, key.public_key())
    beside = public_path(path)
    # Both before either is written: half a pair would be left over otherwise.
    for file in (path, beside):
        if file.exists():
            raise _invalid(file, "a name that is free", "a file", "choose another name")
    try:
        _write(path, secret, 0o600)
        _write(beside, public.pem.encode(), 0o644)
    except OSError as error:
        raise _invalid(path, "a place to write", _reason(error)) from error
    return public


def public_path(path: Path) -> Path:
    """Return where the public half of a private key is written: ``ci.pem`` beside ``ci.pub``."""
    return path.with_suffix(".pub")


def key_file(path: Path) -> Path:
    """Return the file of a key, links followed within its own folder. Raises `KeyInvalid` for others.

    A link out of the folder would let anyone who may write there choose the key. Kubernetes mounts secrets as
    links within one folder, which are followed.
    """
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = _reason(error) if isinstance(error, OSError) else "links that lead in a circle"
        raise _invalid(path, "a file that can be read", reason) from None
    if not target.is_relative_to(path.parent.resolve()):
        hint = "name the file that the link leads to, or copy it"
        raise _invalid(path, "a file, or a link within its folder", "a symbolic link out of it", hint)
    if not target.is_file():
        raise _invalid(path, "a file", "a folder or a device")
    return target


def _read(path: Path) -> bytes:
    try:
        with key_file(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _invalid(path, "a file that can be read", _reason(error)) from None
    if len(data) > _MOST_BYTES:
        raise _invalid(path, f"a key of at most {_MOST_BYTES:,} bytes", "a larger file")
    return data


def _write(path: Path, data: bytes, mode: int) -> None:
    # O_EXCL: nothing that exists is overwritten, and no link is followed.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
        file.write(data)
        file.flush()
        # Some file systems cannot sync, and the key is written all the same.
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())


def _public(path: Path, key: object) -> PublicKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    kind: KeyKind | None = None
    if isinstance(key, ed25519.Ed25519PublicKey):
        kind = "ed25519"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        kind = _CURVES.get(key.curve.name)
    if kind is None:
        curve = str(getattr(getattr(key, "curve", None), "name", ""))
        name = f"one over {curve}" if curve else f"a key of another kind, {type(key).__name__.strip('_')}"
        raise _invalid(path, _WORDS, name, "`lading key new` makes one")
    assert isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey)
    # Encoded again, so that the id does not depend on line ends or text around the key in its file.
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(kind, hashlib.sha256(pem).hexdigest(), pem.decode(), key)


def _hash_of(kind: KeyKind) -> hashes.HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    # As model-signing and sigstore pair them.
    return hashes.SHA384() if kind == "p384" else hashes.SHA256()


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra("keys and signatures", "trust", error) from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _invalid(path: Path, expected: str, actual: str, hint: str | None = None) -> KeyInvalid:
    return KeyInvalid(f"key `{path}`", expected=expected, found=actual, hint=hint)
