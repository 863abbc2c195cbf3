"""Statements about bundles in the form of in-toto, version 1: what is stated, about which digest, and when.

Verifies no signature. https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from lading.bundle.manifest import MANIFEST_FILE, Manifest
from lading.clock import iso_time, unix_time
from lading.errors import AttestationInvalid, SubjectMismatch, UsageError, mid_sentence
from lading.ref import is_digest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

SIGNATURE = "https://model_signing/signature/v1.0"
"""The predicate of OpenSSF model-signing: every file of the model, with its sha256."""

APPROVAL = "urn:lading:approval:v1"
EVIDENCE = "urn:lading:evidence:v1"
RELEASE = "urn:lading:release:v1"

SHORT_NAMES = {"signature": SIGNATURE, "approval": APPROVAL, "evidence": EVIDENCE, "release": RELEASE}
"""What lading's own predicates are called on the command line and in a policy."""

STAMP = "lading"
"""The key in a predicate under which lading says which bundle it is about, who states it, and when."""

# Far above any model in use; a statement of 16 MB could name a hundred times as many.
_MOST_SUBJECTS = 1000
_MOST_RESOURCES = 100_000


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What lading adds to every predicate that it signs."""

    bundle: str  # the digest
    name: str = ""
    signed_at: str = ""  # ISO 8601
    actor: str = ""
    reason: str = ""


class Subject(msgspec.Struct, frozen=True):
    """Something that a statement is about: its name, and its digests by algorithm."""

    digest: dict[str, str]
    name: str = ""


class _Statement(msgspec.Struct, rename="camel"):
    type: str = msgspec.field(name="_type")
    subject: list[Subject]
    predicate_type: str
    predicate: dict[str, Any] = {}


class _Resource(msgspec.Struct):
    name: str
    algorithm: str
    digest: str


class _ModelSignature(msgspec.Struct):
    serialization: dict[str, Any]
    resources: list[_Resource]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One statement: ``digests`` are those of the bundles or images that it is about.

    ``files`` are the sha256 of the files of a signed bundle, by name; ``signed_at`` is a Unix time, None if
    it is not stated.
    """

    predicate_type: str
    digests: tuple[str, ...]
    name: str
    predicate: dict[str, Any]
    files: dict[str, str] = {}
    signed_at: float | None = None
    actor: str = ""
    reason: str = ""

    @property
    def title(self) -> str:
        """Return the predicate's short name, or its type if lading has none for it."""
        names = {uri: name for name, uri in SHORT_NAMES.items()}
        return names.get(self.predicate_type, self.predicate_type)

    def check_about(self, digest: str, manifest: Manifest | None, where: str) -> None:
        """Raise `SubjectMismatch` unless the statement is about this bundle, and all of its files.

        Of a bundle whose manifest is not at hand the digest alone is compared: it covers the files as well.
        """
        if digest not in self.digests:
            raise SubjectMismatch(
                where,
                expected=f"a statement about `{digest}`",
                found=f"one about `{self.name or 'another'}`, {', '.join(self.digests[:3])}",
                hint="it was made for another bundle, or for another version of this one",
            )
        if manifest is None or not self.files:
            return
        expected = {name: entry.sha256 for name, entry in manifest.files.items()}
        # The manifest does not list itself: its own sha256 is the digest of the bundle.
        expected[MANIFEST_FILE] = digest.removeprefix("sha256:")
        for name in sorted(expected.keys() | self.files.keys()):
            if self.files.get(name) != expected.get(name):
                actual = "another digest of it" if self.files.get(name) else "that it was not signed"
                if name not in expected:
                    actual = "one that the bundle does not have"
                raise SubjectMismatch(where, expected=f"the bundle's file `{name}`", found=actual)


def predicate_uri(text: str) -> str:
    """Return the type of a predicate that is named by its short name or its URI. Raises `UsageError`."""
    if text in SHORT_NAMES:
        return SHORT_NAMES[text]
    # A URI has a scheme (RFC 3986); a word without one is a short name with a slip in it.
    if ":" in text and text.isprintable() and " " not in text and len(text) <= 500:
        return text
    near = difflib.get_close_matches(text, SHORT_NAMES, n=1)
    names = ", ".join(f"`{name}`" for name in SHORT_NAMES)
    hint = f"did you mean `{near[0]}`?" if near else None
    raise UsageError("predicate", expected=f"{names}, or a URI", found=f"`{text}`", hint=hint)


def signature_statement(name: str, manifest: Manifest, stamp: Stamp) -> bytes:
    """Return the statement of model-signing about a bundle's folder, which other verifiers read as well."""
    files = {file: entry.sha256 for file, entry in manifest.files.items()}
    files[MANIFEST_FILE] = stamp.bundle.removeprefix("sha256:")
    # Sorted by name, as model-signing computes the digest over all of them.
    resources = [{"name": file, "algorithm": "sha256", "digest": files[file]} for file in sorted(files)]
    root = _root([resource["digest"] for resource in resources])
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [],
    }
    predicate = {"serialization": serialization, "resources": resources}
    return _statement(Subject({"sha256": root}, name), SIGNATURE, predicate, stamp)


def plain_statement(predicate_type: str, predicate: Mapping[str, Any], stamp: Stamp) -> bytes:
    """Return a statement of any other type about a bundle or an image, by its digest."""
    subject = Subject({"sha256": stamp.bundle.removeprefix("sha256:")}, stamp.name)
    return _statement(subject, predicate_type, predicate, stamp)


def stamp_of(digest: str, name: str, *, actor: str, reason: str, now_s: float) -> Stamp:
    """Return what lading adds to a predicate that is signed now."""
    return Stamp(bundle=digest, name=name, signed_at=iso_time(now_s), actor=actor, reason=reason)


def read_statement(payload: bytes, where: str) -> Statement:
    """Read the payload of an envelope; `where` names it. Raises `AttestationInvalid`."""
    try:
        raw = msgspec.json.decode(payload, type=_Statement)
        stamp = None
        if STAMP in raw.predicate:
            stamp = msgspec.convert(raw.predicate[STAMP], Stamp)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _invalid(where, "a statement of in-toto", _other(error)) from None
    if raw.type != STATEMENT_TYPE:
        raise _invalid(where, f"a statement of type `{STATEMENT_TYPE}`", f"`{raw.type}`")
    if not 1 <= len(raw.subject) <= _MOST_SUBJECTS:
        raise _invalid(where, f"1 to {_MOST_SUBJECTS} subjects", str(len(raw.subject)))
    files: dict[str, str] = {}
    digests: tuple[str, ...]
    if raw.predicate_type == SIGNATURE:
        # The subject of model-signing is a digest over the files, which no registry knows a bundle by.
        files = _signed_files(raw, where)
        digests = (f"sha256:{files[MANIFEST_FILE]}",) if MANIFEST_FILE in files else ()
    else:
        digests = tuple(f"sha256:{subject.digest.get('sha256', '')}" for subject in raw.subject)
        # in-toto allows other algorithms; by those nothing of lading's is named.
        digests = tuple(filter(is_digest, digests))
    if not digests:
        actual = "none" if raw.predicate_type != SIGNATURE else f"no `{MANIFEST_FILE}` among the files"
        raise _invalid(where, "the sha256 of what it is about", actual)
    # Else readers of lading and of in-toto would take it to be about two different things.
    if stamp is not None and stamp.bundle not in digests:
        raise _invalid(where, f"`{STAMP}` to name what the statement is about", f"`{stamp.bundle}`")
    return Statement(
        predicate_type=raw.predicate_type,
        digests=digests,
        name=stamp.name if stamp is not None and stamp.name else raw.subject[0].name,
        predicate={key: value for key, value in raw.predicate.items() if key != STAMP},
        files=files,
        signed_at=_time(stamp, where),
        actor=stamp.actor if stamp is not None else "",
        reason=stamp.reason if stamp is not None else "",
    )


def _signed_files(raw: _Statement, where: str) -> dict[str, str]:
    """Return the sha256 of each file that a model's signature covers."""
    try:
        signed = msgspec.convert(raw.predicate, _ModelSignature)
    except msgspec.MsgspecError as error:
        raise _invalid(where, "the files of a signed model", _other(error)) from None
    method = (signed.serialization.get("method"), signed.serialization.get("hash_type"))
    if method != ("files", "sha256") or any(each.algorithm != "sha256" for each in signed.resources):
        raise _invalid(where, "the sha256 of whole files", "another way of hashing them")
    if len(signed.resources) > _MOST_RESOURCES:
        raise _invalid(where, f"at most {_MOST_RESOURCES:,} files", f"{len(signed.resources):,}")
    files = {each.name: each.digest for each in signed.resources}
    # A name twice could be verified by one digest and read by the other.
    if len(files) != len(signed.resources):
        raise _invalid(where, "each file once", "one name twice")
    if not all(is_digest(f"sha256:{digest}") for digest in files.values()):
        raise _invalid(where, "64 hexadecimal digits for each file", "another text")
    root = _root([each.digest for each in signed.resources])
    if len(raw.subject) != 1 or raw.subject[0].digest.get("sha256") != root:
        raise _invalid(where, "a subject that is the digest of its files", "another digest")
    return files


def _time(stamp: Stamp | None, where: str) -> float | None:
    if stamp is None or not stamp.signed_at:
        return None
    try:
        at = unix_time(stamp.signed_at)
    # `unix_time` may return an infinity as well; both are refused below in one sentence.
    except (ValueError, OverflowError):
        at = math.nan
    if not math.isfinite(at):
        raise _invalid(where, "an ISO 8601 time as `signed_at`", f"`{stamp.signed_at}`")
    return at


def _root(digests: list[str]) -> str:
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def _statement(subject: Subject, predicate_type: str, predicate: Mapping[str, Any], stamp: Stamp) -> bytes:
    return msgspec.json.encode(
        {
            "_type": STATEMENT_TYPE,
            "subject": [subject],
            "predicateType": predicate_type,
            "predicate": {**predicate, STAMP: msgspec.to_builtins(stamp)},
        }
    )


def _other(error: Exception) -> str:
    return f"another form: {mid_sentence(str(error) or type(error).__name__)}"


def _invalid(where: str, expected: str, actual: str) -> AttestationInvalid:
    return AttestationInvalid(where, expected=expected, found=actual)
