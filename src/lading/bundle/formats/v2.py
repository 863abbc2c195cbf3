"""Format 2: what a manifest may say beyond format 1, and the rules for it. Reads no file.

All its keys are optional. One that has its default is not written, and a bundle that needs none of them nor a
file of its own is written as format 1, which every lading reads.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from lading.signature import Signature, Tensor

LOCK_FILE = "environment.lock"
PROFILE_FILE = "profile.json"
CODE, FILES = "code", "files"
FOLDERS = (CODE, FILES)
"""The folders that a bundle may have, one level deep."""

TRUSTED_FILE = f"{FILES}/trusted.txt"
"""Types that a skops file may hold beyond those that do nothing when loaded: somebody's code."""

STEPS = ("code:preprocess", "code:predict", "onnx", "code:postprocess")
"""What a request passes through, in this order; every bundle has exactly one of the two in the middle."""

BUILT_IN = "lading"
"""The module of entries that need no code in the bundle: `lading:skops` loads ``files/model.skops``."""

IGNORABLE = ("range", "set", "integer", "missing", "length", "time")
"""The kinds of rules that follow from a profile."""

# What a file is, by its ending, so that no file is said to be another kind than it is.
_FORMAT_OF_ENDING = {
    "safetensors": "safetensors",
    "skops": "skops",
    "joblib": "joblib",
    "pkl": "pickle",
    "pickle": "pickle",
    "cfg": "text",
    "csv": "text",
    "ini": "text",
    "json": "text",
    "md": "text",
    "toml": "text",
    "txt": "text",
    "yaml": "text",
    "yml": "text",
}
_OTHER_FORMAT = "data"
_UNPICKLED = frozenset(("joblib", "pickle"))

_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,95}\.py")
_ENTRY = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,95}):([A-Za-z_][A-Za-z0-9_.]{0,199})")
_PYTHON = re.compile(r"3\.[1-9][0-9]?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stated rule for the values of one input, or of one of its columns.

    ``at_most`` names another column of the input, or an input of single values, that is never smaller;
    ``pattern`` is a regular expression that a whole text matches (`lading.text_patterns`). ``ignore`` names
    the kinds of rules that follow from the profile and do not hold.
    """

    input: str
    column: str = ""
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str | float, ...] = ()
    pattern: str = ""
    missing: bool = True
    at_most: str = ""
    ignore: tuple[str, ...] = ()


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the value of an input is looked up: ``column`` of ``table``, by the request's column ``key``."""

    table: str
    key: str
    column: str
    default: str | float | None = None
    max_age_s: float | None = None


class Lineage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the model comes from: digests of its data and of its parent bundle, its run, its commit."""

    data: str = ""
    parent: str = ""
    training_run: str = ""
    code_commit: str = ""


class Extended(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of a manifest that format 2 added, and the two on which their rules depend.

    ``python`` is the minor version of the interpreter, ``entry`` the ``module:Class`` that answers, ``steps``
    what a request passes through, ``formats`` how files are stored, ``executes`` what loading runs.
    """

    runtime: str
    signature: Signature
    python: str = ""
    entry: str = ""
    steps: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    executes: bool | Literal["code", "pickle"] = False
    checks: tuple[Check, ...] = ()
    features: dict[str, Feature] = {}
    lineage: Lineage | None = None
    slices: tuple[str, ...] = ()


Broken = tuple[str, str, str]
"""A rule that is broken: the path in the manifest, what is expected there, and what the manifest has."""


def file_formats(names: Iterable[str]) -> tuple[str, ...]:
    """Return how the files of ``files/`` among `names` are stored, sorted, each once."""
    endings = {name.rpartition(".")[2].lower() for name in names if name.startswith(f"{FILES}/")}
    return tuple(sorted({_FORMAT_OF_ENDING.get(ending, _OTHER_FORMAT) for ending in endings}))


def what_loading_executes(names: Iterable[str]) -> bool | Literal["code", "pickle"]:
    """Return what loading a bundle of these files runs: pickles, its own code, or nothing."""
    names = list(names)
    if _UNPICKLED & set(file_formats(names)):
        return "pickle"
    has_code = any(name.startswith(f"{CODE}/") for name in names) or TRUSTED_FILE in names
    return "code" if has_code else False


def is_module(name: str) -> bool:
    """Return whether the name of a file in ``code/`` is one that Python can import."""
    return _MODULE.fullmatch(name) is not None


def broken_rules(manifest: Extended, names: Sequence[str]) -> Iterator[Broken]:
    """Return the rules of format 2 that a manifest with files of these `names` breaks, the first first."""
    return itertools.chain(
        _runtime(manifest, names),
        _code(manifest, names),
        broken_checks(manifest.checks, manifest.signature),
        _features(manifest),
        _lineage(manifest.lineage),
        _slices(manifest),
    )


def _runtime(manifest: Extended, names: Sequence[str]) -> Iterator[Broken]:
    steps = manifest.steps
    if manifest.runtime == "onnx":
        for key in ("python", "entry", "steps", "formats"):
            value = getattr(manifest, key)
            if value:
                yield f"$.{key}", "nothing where `runtime` is `onnx`", f"`{value}`"
        # A lock without code would be installed for nothing, and nobody would look at it.
        extra = [name for name in names if name == LOCK_FILE or name.partition("/")[0] in FOLDERS]
        if extra:
            yield "$.files", "no code and no environment where `runtime` is `onnx`", f"`{extra[0]}`"
        return
    if manifest.runtime != "python":
        yield "$.runtime", "`onnx` or `python`", f"`{manifest.runtime}`"
        return
    if not _PYTHON.fullmatch(manifest.python):
        yield "$.python", "a version of Python such as `3.11`", f"`{manifest.python}`"
    # A step that comes twice is in no order either.
    in_order = tuple(step for step in STEPS if step in steps)
    middle = {"code:predict", "onnx"} & set(steps)
    if steps != in_order or len(middle) != 1 or steps == ("onnx",):
        expected = f"{', '.join(f'`{step}`' for step in STEPS)}, in this order, one of the two in the middle"
        yield "$.steps", expected, str(list(steps))
    for name, needed in ((LOCK_FILE, True), ("model.onnx", "onnx" in steps)):
        if needed and name not in names:
            yield "$.files", f"`{name}`", "none"
    if "onnx" not in steps and "model.onnx" in names:
        yield "$.files", "no `model.onnx` without the step `onnx`", "it"


def _code(manifest: Extended, names: Sequence[str]) -> Iterator[Broken]:
    if manifest.runtime != "python":
        if manifest.executes:
            yield "$.executes", "`false` where `runtime` is `onnx`", f"`{manifest.executes}`"
        return
    entry = _ENTRY.fullmatch(manifest.entry)
    if entry is None:
        yield "$.entry", "`module:Class`", f"`{manifest.entry[:80]}`"
    elif entry[1] != BUILT_IN and f"{CODE}/{entry[1]}.py" not in names:
        yield "$.entry", f"a module in `{CODE}/`", f"`{manifest.entry}`"
    elif entry[1] == BUILT_IN and f"{FILES}/model.{entry[2]}" not in names:
        yield "$.entry", f"`{FILES}/model.{entry[2]}` for `{manifest.entry}`", "no such file"
    formats = file_formats(names)
    if manifest.formats != formats:
        yield "$.formats", str(list(formats)), str(list(manifest.formats))
    executes = what_loading_executes(names)
    # `True == 1`, but neither is `"code"`; the manifest says what its files say, not what it would like to.
    if manifest.executes is not executes and manifest.executes != executes:
        yield "$.executes", f"`{executes or 'false'}`, by its files", f"`{manifest.executes or 'false'}`"


def broken_checks(checks: Sequence[Check], signature: Signature) -> Iterator[Broken]:
    """Return the rules that stated checks for inputs of this `signature` break, the first first."""
    inputs = {tensor.name: tensor for tensor in signature.inputs}
    for at, check in enumerate(checks):
        path = f"$.checks[{at}]"
        tensor = inputs.get(check.input)
        if tensor is None:
            yield f"{path}.input", "the name of an input", f"`{check.input[:80]}`"
            continue
        if check.column and check.column not in tensor.columns:
            yield f"{path}.column", f"a column of `{check.input}`", f"`{check.column[:80]}`"
        if check.at_most and not _is_comparable(check, tensor, inputs):
            expected = f"a column of `{check.input}`, or an input of single values"
            yield f"{path}.at_most", expected, f"`{check.at_most[:80]}`"
        yield from _limits(path, check, tensor)
        yield from _pattern(path, check, tensor)


def _is_comparable(check: Check, tensor: Tensor, inputs: Mapping[str, Tensor]) -> bool:
    """Return whether what ``at_most`` names has one value for each of the check's."""
    if check.column:
        return check.at_most in tensor.columns
    other = inputs.get(check.at_most)
    if other is None or not (tensor.scalar_rows and other.scalar_rows):
        return False
    return (tensor.dtype == "string") == (other.dtype == "string")


def _limits(path: str, check: Check, tensor: Tensor) -> Iterator[Broken]:
    numbers = (check.minimum, check.maximum, *check.allowed)
    if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
        yield path, "finite numbers", "another"
    if check.minimum is not None and check.maximum is not None and check.minimum > check.maximum:
        yield f"{path}.minimum", f"at most {check.maximum}", str(check.minimum)
    is_text = tensor.dtype == "string"
    if is_text and (check.minimum is not None or check.maximum is not None):
        yield path, f"no bounds for texts such as `{check.input}`", "some"
    if any(isinstance(value, str) is not is_text for value in check.allowed):
        yield f"{path}.allowed", "texts" if is_text else "numbers", "another value"
    for kind in check.ignore:
        if kind not in IGNORABLE:
            yield f"{path}.ignore", ", ".join(f"`{known}`" for known in IGNORABLE), f"`{kind[:80]}`"


def _pattern(path: str, check: Check, tensor: Tensor) -> Iterator[Broken]:
    if not check.pattern:
        return
    if tensor.dtype != "string":
        yield f"{path}.pattern", f"no pattern for the numbers of `{check.input}`", "one"
    try:
        # Not kept: RE2 matches the texts (`lading.text_patterns`), and reading a bundle does without it.
        re.compile(check.pattern)
    except (re.error, RecursionError, OverflowError) as error:
        yield f"{path}.pattern", "a regular expression", str(error)


def _features(manifest: Extended) -> Iterator[Broken]:
    names = {tensor.name for tensor in manifest.signature.inputs}
    columns = {column for tensor in manifest.signature.inputs for column in tensor.columns}
    for name, feature in manifest.features.items():
        path = f"$.features.{name}"
        if name not in names | columns:
            yield path, "the name of an input or of a column", f"`{name[:80]}`"
        for key in ("table", "key", "column"):
            text = getattr(feature, key)
            if not text or not text.isprintable():
                yield f"{path}.{key}", "a name", ascii(text)[:80]
        for key in ("default", "max_age_s"):
            value = getattr(feature, key)
            if isinstance(value, float) and not (math.isfinite(value) and (key == "default" or value > 0)):
                yield f"{path}.{key}", "a finite number", str(value)


def _lineage(lineage: Lineage | None) -> Iterator[Broken]:
    if lineage is None:
        return
    for key, pattern in (("data", _DIGEST), ("parent", _DIGEST), ("code_commit", _COMMIT)):
        value = getattr(lineage, key)
        if value and not pattern.fullmatch(value):
            yield f"$.lineage.{key}", "a digest" if pattern is _DIGEST else "a commit", f"`{value[:80]}`"
    if not lineage.training_run.isprintable():
        yield "$.lineage.training_run", "one line of text", ascii(lineage.training_run)[:80]


def _slices(manifest: Extended) -> Iterator[Broken]:
    known: Mapping[str, None] = dict.fromkeys(
        itertools.chain.from_iterable((tensor.name, *tensor.columns) for tensor in manifest.signature.inputs)
    )
    if len(set(manifest.slices)) != len(manifest.slices):
        yield "$.slices", "each name once", str(list(manifest.slices))[:80]
    for name in manifest.slices:
        if name not in known:
            yield "$.slices", "names of inputs or of columns", f"`{name[:80]}`"
