"""``bundle.json``: its keys, its canonical bytes and the rules on its values. Reads no other file."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

from lading.bundle.formats import v1, v2
from lading.bundle.formats.v2 import Extended
from lading.errors import (
    DigestMismatch,
    DuplicateEntry,
    FileMissing,
    FormatUnsupported,
    ManifestInvalid,
    ManifestNotCanonical,
    PathUnsafe,
    TooLarge,
    UnknownKey,
)
from lading.parity import Tolerance
from lading.ref import check_name
from lading.signature import BATCH, Tensor

FORMATS = (1, 2)
MANIFEST_FILE = "bundle.json"
MODEL_FILE = "model.onnx"
SAMPLES_FILE = "samples.npz"
REQUIREMENTS_FILE = "requirements.txt"
LOCK_FILE = v2.LOCK_FILE
PROFILE_FILE = v2.PROFILE_FILE

MAX_MANIFEST_BYTES = 8 * 2**20
# Eleven octal digits: what the size field of a ustar header holds.
MAX_FILE_BYTES = 8 * 2**30 - 1
_LIMITS = {
    SAMPLES_FILE: 64 * 2**20,
    REQUIREMENTS_FILE: 4 * 2**20,
    LOCK_FILE: 4 * 2**20,
    PROFILE_FILE: 16 * 2**20,
}
_MOST_CODE_BYTES = 16 * 2**20

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the model was trained; ``packages`` maps distribution names to versions."""

    python: str
    platform: str
    framework: str
    packages: dict[str, str]
    git_commit: str | None = None

    @property
    def origin(self) -> str:
        """Framework, Python and platform in words: ``scikit-learn 1.9.1, Python 3.11.7, linux-x86_64``."""
        # A model of no framework's has Python itself for one.
        return ", ".join(dict.fromkeys((self.framework, f"Python {self.python}", self.platform)))


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The digest, 64 hexadecimal digits, and the length in bytes of one file of the bundle."""

    sha256: str
    size: int


class Draft(Extended, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The part of the manifest that a packer provides; `write_bundle` adds the rest.

    ``labels`` maps the text of a class value to its display name; ``expected_from`` names who computed
    the golden outputs ("scikit-learn 1.9.1").
    """

    name: str
    labels: dict[str, str]
    purpose: str
    owner: str
    description: str
    metrics: dict[str, float]
    tolerance: Tolerance
    expected_from: str
    training: Training


class Manifest(Draft, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The content of ``bundle.json``. ``seal`` is the sha256 of the canonical manifest without that key."""

    format: int
    files: dict[str, FileEntry]
    seal: str

    @property
    def lock_digest(self) -> str:
        """The digest of its environment's lock, empty for a bundle that has none."""
        lock = self.files.get(LOCK_FILE)
        return "" if lock is None else f"sha256:{lock.sha256}"

    @property
    def executes_text(self) -> str:
        """What loading it runs of its own, as text: ``no``, ``code`` or ``pickle``."""
        return str(self.executes or "no")


def canonical_json(value: object) -> bytes:
    """Encode `value` as the format does: keys sorted, no spaces, UTF-8, shortest floats.

    Raises `ManifestInvalid` for NaN, infinities, lone surrogates and what JSON does not have.
    """
    try:
        plain = msgspec.to_builtins(value, str_keys=True)
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise ManifestInvalid(_at("$"), expected="values that JSON can hold", found=str(error)) from None


def seal_manifest(draft: Draft, files: dict[str, FileEntry]) -> Manifest:
    """Return the manifest of `draft` and `files`, sealed and checked against every rule."""
    fields = {name: getattr(draft, name) for name in Draft.__struct_fields__}
    unsealed = Manifest(**fields, format=1, files=files, seal="")
    # Through JSON and back, so that a draft with wrong types is refused here and not by its first reader.
    tree = parse_object(canonical_json(unsealed))
    # The oldest format that can say it, so that servers of yesterday take what needs nothing new.
    if _needs_format_2(unsealed):
        tree["format"] = 2
    manifest = msgspec.structs.replace(_convert(tree), seal=_seal_of(tree))
    _check_values(manifest)
    return manifest


def read_manifest(data: bytes, digest: str | None = None) -> Manifest:
    """Read the bytes of ``bundle.json`` and check every rule; `digest` is the expected one, if any."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise too_large(MANIFEST_FILE, len(data), MAX_MANIFEST_BYTES)
    if digest is not None and manifest_digest(data) != digest:
        raise DigestMismatch(f"`{MANIFEST_FILE}`", expected=f"`{digest}`", found=f"`{manifest_digest(data)}`")
    tree = parse_object(data)
    # Before everything else: a newer format may have other keys. `True` equals 1 but is no number.
    if type(tree.get("format")) is not int or tree["format"] not in FORMATS:
        number = f"`{tree['format']}`" if "format" in tree else "none"
        hint = "a newer lading may read it" if "format" in tree else None
        expected = " or ".join(f"`{each}`" for each in FORMATS)
        raise FormatUnsupported(_at("$.format"), expected=expected, found=number, hint=hint)
    seal = _seal_of(tree)
    if tree["format"] == 1 and (key := v1.unknown_key(tree)) is not None:
        raise UnknownKey(_at("$"), expected="only keys of the format", found=quote(key[:80]))
    manifest = _convert(tree)
    # One sequence of bytes per content, so that the digest of a bundle identifies what it holds.
    _check_canonical(manifest, data)
    if manifest.seal != seal:
        raise DigestMismatch(
            _at("$.seal"),
            expected=f"`{seal}`, the sha256 of the rest",
            found=quote(manifest.seal[:80]),
            hint="the manifest was changed after it was written",
        )
    _check_values(manifest)
    return manifest


def manifest_digest(data: bytes) -> str:
    """Return the bundle digest: the sha256 of the bytes of ``bundle.json``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def size_limit(name: str) -> int:
    """Return the most bytes that the file `name` may have."""
    if name.startswith(f"{v2.CODE}/"):
        return _MOST_CODE_BYTES
    return MAX_MANIFEST_BYTES if name == MANIFEST_FILE else _LIMITS.get(name, MAX_FILE_BYTES)


def too_large(name: str, size: int, limit: int) -> TooLarge:
    """Return the error of a file above the reader's limit."""
    return TooLarge(f"`{name}`", expected=f"at most {limit} bytes", found=f"{size}")


def check_file_name(name: str, where: str, *, folders: tuple[str, ...] = ()) -> None:
    """Check that `name` is one plain name of a file, or one in one of `folders`; raises `PathUnsafe`."""
    folder, slash, plain = name.rpartition("/")
    if not _FILE_NAME.fullmatch(plain) or (slash and folder not in folders):
        raise PathUnsafe(
            where,
            expected="a plain file name: `[A-Za-z0-9_][A-Za-z0-9._-]{0,99}`",
            found=quote(name),
        )
    if folder == v2.CODE and not v2.is_module(plain):
        raise PathUnsafe(
            where, expected="a module in `code/`: `[A-Za-z_][A-Za-z0-9_]*.py`", found=quote(name)
        )


def quote(name: str) -> str:
    """Return a name from a bundle as a message writes it, with control characters escaped."""
    return f"`{name}`" if name.isprintable() else ascii(name)


def parse_object(data: bytes, name: str = MANIFEST_FILE) -> dict[str, Any]:
    """Return the object in the JSON of the file `name`; raises `ManifestInvalid`, `DuplicateEntry`."""

    def refuse_constant(text: str) -> object:
        # Python's decoder also takes the words NaN and Infinity.
        raise ManifestInvalid(f"`{name}`", expected="finite numbers", found=f"`{text}`")

    try:
        unique = partial(_unique_object, f"`{name}` at `$`")
        tree = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=refuse_constant)
    except UnicodeDecodeError as error:
        place = f"another byte at {error.start}"
        raise ManifestInvalid(f"`{name}`", expected="UTF-8", found=place) from None
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"`{name}`", expected="JSON", found=str(error)) from None
    if not isinstance(tree, dict):
        raise ManifestInvalid(f"`{name}` at `$`", expected="an object", found=type(tree).__name__)
    return tree


def _unique_object(where: str, pairs: list[tuple[str, object]]) -> dict[str, object]:
    # JSON readers disagree on which of two equal keys counts.
    tree = dict(pairs)
    if len(tree) != len(pairs):
        _check_unique(where, (key for key, _ in pairs))
    return tree


def _convert(tree: dict[str, Any]) -> Manifest:
    try:
        return msgspec.convert(tree, Manifest, strict=True)
    except (msgspec.ValidationError, OverflowError) as error:
        sentence, _, path = str(error).partition(" - at ")
        where = _at(path.strip("`") or "$")
        # msgspec has one exception class for everything, so its text decides; test_manifest holds it to that.
        if sentence.startswith("Object contains unknown field"):
            key = sentence.removeprefix("Object contains unknown field ")
            raise UnknownKey(where, expected="only keys of the format", found=key) from None
        raise ManifestInvalid(f"{where}: {sentence}") from None


def _check_canonical(manifest: Manifest, data: bytes) -> None:
    canonical = canonical_json(manifest)
    if canonical == data:
        return
    pairs = enumerate(zip(canonical, data, strict=False))
    at = next((at for at, (expected, byte) in pairs if expected != byte), min(len(canonical), len(data)))
    raise ManifestNotCanonical(
        f"`{MANIFEST_FILE}`",
        expected="sorted keys, no spaces, no key left at its default, shortest numbers",
        found=f"other bytes from position {at}",
    )


def _seal_of(tree: dict[str, Any]) -> str:
    rest = {key: value for key, value in tree.items() if key != "seal"}
    return hashlib.sha256(canonical_json(rest)).hexdigest()


def _check_values(manifest: Manifest) -> None:
    check_name(manifest.name, _at("$.name"))
    if manifest.format == 1:
        _require(manifest.runtime == "onnx", "$.runtime", "`onnx`", f"`{manifest.runtime}`")
    for key in ("purpose", "owner", "expected_from"):
        text = getattr(manifest, key)
        _require(bool(text.strip()) and text.isprintable(), f"$.{key}", "one line of text", ascii(text)[:80])
    for key, value in manifest.metrics.items():
        _require(math.isfinite(value), f"$.metrics.{key}", "a finite number", str(value))
    for key in ("rtol", "atol", "max_label_flips"):
        value = getattr(manifest.tolerance, key)
        in_range = math.isfinite(value) and value >= 0
        _require(in_range, f"$.tolerance.{key}", "a finite number, 0 or more", str(value))
    _check_tensors("inputs", manifest.signature.inputs)
    _check_tensors("outputs", manifest.signature.outputs)
    signature = manifest.signature
    has_rows = signature.independent_rows or all(tensor.batched for tensor in signature.inputs)
    _require(has_rows, "$.signature.independent_rows", f"inputs that all have `{BATCH}`", "one without it")
    _check_files(manifest)
    if manifest.format != 1:
        _require(_needs_format_2(manifest), "$.format", "`1`, because nothing here needs another", "`2`")
        for path, expected, actual in v2.broken_rules(manifest, tuple(manifest.files)):
            raise ManifestInvalid(_at(path), expected=expected, found=actual)


def _needs_format_2(manifest: Manifest) -> bool:
    has_files = any(name in (LOCK_FILE, PROFILE_FILE) or "/" in name for name in manifest.files)
    return has_files or v1.unknown_key(msgspec.to_builtins(manifest)) is not None


def _check_tensors(side: str, tensors: tuple[Tensor, ...]) -> None:
    path = f"$.signature.{side}"
    _require(bool(tensors), path, "at least one", "none")
    _check_unique(_at(path), (tensor.name for tensor in tensors))
    for at, tensor in enumerate(tensors):
        _check_tensor(f"{path}[{at}]", tensor)


def _check_tensor(path: str, tensor: Tensor) -> None:
    is_named = bool(tensor.name) and "\0" not in tensor.name
    _require(is_named, f"{path}.name", "a name", ascii(tensor.name))
    for at, size in enumerate(tensor.shape):
        place = f"{path}.shape[{at}]"
        is_size = bool(size) if isinstance(size, str) else size >= 1
        _require(is_size, place, "a name, or a size of 1 or more", f"`{size}`")
        _require(size != BATCH or at == 0, place, f"`{BATCH}` as the first dimension only", f"`{size}`")
    floating = tensor.dtype.startswith("float")
    _require(
        floating or not tensor.allows_nan, f"{path}.allows_nan", "`true` for floats only", f"`{tensor.dtype}`"
    )
    _require(tensor.bound == math.inf, f"{path}.bound", "no such key", f"`{tensor.bound:g}`")
    if tensor.nan_columns:
        _check_nan_columns(f"{path}.nan_columns", tensor)
    if tensor.columns:
        _check_unique(_at(f"{path}.columns"), tensor.columns)
        last = tensor.shape[-1] if tensor.shape else None
        _require(last == len(tensor.columns), f"{path}.columns", f"{last} names", str(len(tensor.columns)))


def _check_nan_columns(path: str, tensor: Tensor) -> None:
    _require(tensor.allows_nan, path, "`allows_nan` as well", "no `allows_nan`")
    width = tensor.shape[1] if len(tensor.shape) == 2 else None
    _require(isinstance(width, int), path, "two dimensions, the last of one size", f"`{tensor}`")
    columns = list(tensor.nan_columns)
    fits = columns == sorted(set(columns)) and columns[0] >= 0 and columns[-1] < int(width or 0)
    # It is left out where it would be all: a reader that does not know the key takes what can do without.
    fits = fits and len(columns) < int(width or 0)
    _require(fits, path, f"some of 0 to {int(width or 0) - 1}, ascending, and not all", str(columns)[:80])


def _check_files(manifest: Manifest) -> None:
    files = manifest.files
    has_model = manifest.format == 1 or manifest.runtime == "onnx"
    for name in v1.REQUIRED_FILES:
        if name not in files and (has_model or name != MODEL_FILE):
            raise FileMissing(_at("$.files"), expected=f"`{name}`", found=", ".join(sorted(files)) or "none")
    folders = () if manifest.format == 1 else v2.FOLDERS
    for name, entry in files.items():
        check_file_name(name, _at("$.files"), folders=folders)
        _require(name != MANIFEST_FILE, "$.files", "every other file", f"`{name}` itself")
        is_hexadecimal = _SHA256.fullmatch(entry.sha256) is not None
        expected = "64 hexadecimal digits"
        _require(is_hexadecimal, f"$.files.{name}.sha256", expected, f"`{entry.sha256[:80]}`")
        _require(entry.size >= 0, f"$.files.{name}.size", "0 or more", str(entry.size))
        if entry.size > size_limit(name):
            raise too_large(name, entry.size, size_limit(name))
    # On a case-insensitive file system two such names would be one file, and a folder cannot be a file.
    taken = {name.partition("/")[0] for name in files if "/" in name}
    _check_unique(_at("$.files"), (name.lower() for name in (*files, MANIFEST_FILE, *taken)))


def _check_unique(where: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DuplicateEntry(where, expected="each name once", found=f"{quote(name)} twice")
        seen.add(name)


def _require(holds: bool, path: str, expected: str, value: str) -> None:
    if not holds:
        raise ManifestInvalid(_at(path), expected=expected, found=value)


def _at(path: str) -> str:
    return f"`{MANIFEST_FILE}` at `{path}`"
